"""Samplers with one mistake each, and one without: what the suite for samplers is tested on."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from densnet_core.options import Options
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import defect
from densnet_core.sampling.distinct import on_hash_grid
from densnet_core.structures import Array, Structure


class RattleOptions(Options):
    """Options of all of them."""

    count: int = Field(default=10, ge=1, description="Number of geometries.")
    width: float = Field(default=0.05, gt=0, description="Standard deviation per coordinate, bohr.")
    seed: int = Field(default=0, ge=0, description="Seed.")


class Rattle(Sampler):
    """Independent displacements, checked: as it should be."""

    options: RattleOptions

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng((self.options.seed, context.stream))

    def steps(self, structure: Structure, random: np.random.Generator) -> Array:
        return random.normal(0.0, self.options.width, structure.positions.shape)

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        context = context or SamplingContext()
        random = self.generator(context)
        taken: list[Structure] = []
        while len(taken) < self.options.count:
            geometry = on_hash_grid(self.moved(structure, self.steps(structure, random)))
            fault = defect(geometry, structure)
            if fault is None:
                taken.append(geometry)
            else:
                context.refused.add(fault)
        return taken

    def moved(self, structure: Structure, steps: Array) -> Structure:
        return structure.with_positions(structure.positions + steps)


class WithoutSeed(Rattle):
    """Other random numbers every time."""

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng()


class IgnoresSeed(Rattle):
    """The same random numbers whatever the seed."""

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng((0, context.stream))


class KeepsItsGenerator(Rattle):
    """Goes on drawing where the last call ended."""

    def __init__(self, options: RattleOptions) -> None:
        super().__init__(options)
        self.kept = np.random.default_rng((options.seed, 0))

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return self.kept


class IgnoresStream(Rattle):
    """Displaces every start alike."""

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng(self.options.seed)


class AddsStreamToSeed(Rattle):
    """The second start has the random numbers of the next seed."""

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng(self.options.seed + context.stream)


class LosesCharge(Rattle):
    """Makes neutral singlets (or doublets) of everything."""

    def moved(self, structure: Structure, steps: Array) -> Structure:
        return Structure(structure.numbers, structure.positions + steps, 0, 1 + int(structure.numbers.sum()) % 2)


class LosesMultiplicity(Rattle):
    """Keeps the charge and takes the lowest spin."""

    def moved(self, structure: Structure, steps: Array) -> Structure:
        low = 1 + structure.n_electrons % 2
        return Structure(structure.numbers, structure.positions + steps, structure.charge, low)


class IgnoresCount(Rattle):
    """A hundred, whatever is asked for."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        many = type(self.options)(count=100, seed=self.options.seed)
        return Rattle(many).sample(structure, context)


class LosesGeometries(Rattle):
    """Leaves every second geometry out and does not say so."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        return super().sample(structure, context)[::2]


class BreaksMolecules(Rattle):
    """Takes what it drew without a look at it."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        random = self.generator(context or SamplingContext())
        return [
            structure.with_positions(structure.positions + random.normal(0.0, 0.5, structure.positions.shape))
            for _ in range(self.options.count)
        ]


class RepeatsItself(Rattle):
    """The first geometry again and again."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        return super().sample(structure, context)[:1] * self.options.count


class SortsAtoms(Rattle):
    """Atoms in the order of their numbers."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        order = np.argsort(structure.numbers, kind="stable")
        return [
            Structure(frame.numbers[order], frame.positions[order], frame.charge, frame.multiplicity)
            for frame in super().sample(structure, context)
        ]


class MovesTheStart(Rattle):
    """Displaces the array that it was given."""

    def moved(self, structure: Structure, steps: Array) -> Structure:
        moved = super().moved(structure, steps)
        structure.positions += 1e-3
        return moved


class NeedsTheContext(Rattle):
    """Cannot do without."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        return super().sample(structure, SamplingContext(stream=context.stream))  # type: ignore[union-attr]


class OptionsWithoutSeed(Options):
    """Only a count."""

    count: int = Field(default=10, ge=1, description="Number of geometries.")
    width: float = Field(default=0.05, gt=0, description="Standard deviation per coordinate, bohr.")


class HasNoSeed(Rattle):
    """Random numbers that nobody can change."""

    def generator(self, context: SamplingContext) -> np.random.Generator:
        return np.random.default_rng((0, context.stream))


BROKEN = {
    WithoutSeed: "test_equal_seeds_give_equal_geometries",
    IgnoresSeed: "test_another_seed_gives_other_geometries",
    KeepsItsGenerator: "test_equal_seeds_give_equal_geometries",
    IgnoresStream: "test_every_start_has_random_numbers_of_its_own",
    AddsStreamToSeed: "test_streams_are_not_seeds",
    LosesCharge: "test_charge_and_multiplicity_are_kept[cation]",
    LosesMultiplicity: "test_charge_and_multiplicity_are_kept[triplet]",
    IgnoresCount: "test_it_makes_as_many_as_it_is_asked_for",
    LosesGeometries: "test_it_makes_as_many_as_it_is_asked_for",
    BreaksMolecules: "test_geometries_are_intact",
    RepeatsItself: "test_geometries_differ",
    SortsAtoms: "test_atoms_are_kept",
    MovesTheStart: "test_the_start_is_left_alone",
    NeedsTheContext: "test_the_context_may_be_absent",
    HasNoSeed: "test_random_numbers_have_a_seed",
}
"""Each with the test that it fails."""
