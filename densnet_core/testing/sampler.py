"""Conformance suite for geometry samplers.

A plugin's test subclasses ``SamplerTests`` and says how to make the sampler::

    class TestMySampler(SamplerTests):
        def make_sampler(self, **options: object) -> Sampler:
            return MySampler(MyOptions(**options))

It starts from ethanol held by springs (``densnet_core.testing.springs``), which have a harmonic reference and a backend
for the samplers that need one. A sampler of a certain molecule sets ``structure``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest

from densnet_core.errors import DenSNetError
from densnet_core.sampling.base import MoleculeSampler, Sampler, SamplingContext
from densnet_core.sampling.checks import defect
from densnet_core.structures import Array, Structure
from densnet_core.testing.springs import ETHANOL, spring_factory, spring_reference
from densnet_core.testing.suites import ConformanceSuite


class SamplerTests(ConformanceSuite):
    """What every sampler must do. Subclasses give ``make_sampler``; pytest finds the rest."""

    maker = "make_sampler"
    structure: ClassVar[Structure] = ETHANOL
    """The molecule to start from."""
    count: ClassVar[int] = 6
    """Geometries that are asked for, of samplers with an option ``count``."""

    @abstractmethod
    def make_sampler(self, **options: Any) -> Sampler:
        """A new sampler with the options under test; the suite gives ``count`` and ``seed``, where there are such."""

    def sampler(self, count: int | None = None, seed: int = 1) -> Sampler:
        wanted = {"count": count or self.count, "seed": seed}
        return self.make_sampler(**{name: value for name, value in wanted.items() if name in self._known})

    @cached_property
    def _known(self) -> set[str]:
        """Names of the sampler's options."""
        return set(getattr(type(self.make_sampler().options), "model_fields", ()))

    def context(self, sampler: Sampler, stream: int = 0) -> SamplingContext:
        """What a run would lend to it."""
        return SamplingContext(
            harmonic=spring_reference(self.structure) if sampler.needs_harmonic else None,
            factory=spring_factory(self.structure) if sampler.needs_backend else None,
            stream=stream,
        )

    def sample(self, count: int | None = None, seed: int = 1, stream: int = 0) -> list[Structure]:
        sampler = self.sampler(count, seed)
        return sampler.sample(self.structure, self.context(sampler, stream))

    def displacements(self, frames: list[Structure]) -> list[Array]:
        return [frame.positions - self.structure.positions for frame in frames]

    def test_equal_seeds_give_equal_geometries(self) -> None:
        sampler = self.sampler()
        first, second = (sampler.sample(self.structure, self.context(sampler)) for _ in range(2))
        assert hashes(first) == hashes(second), "the same sampler gave other geometries at its second call"
        assert hashes(self.sample()) == hashes(first), "another sampler of the same options gave other geometries"

    def test_random_numbers_have_a_seed(self) -> None:
        if not self.sampler().random:
            return  # it draws no random numbers
        assert "seed" in self._known, "a sampler with random = True has an option seed"

    def test_another_seed_gives_other_geometries(self) -> None:
        if not self.sampler().random or "seed" not in self._known:
            return  # it has no seed that matters
        assert hashes(self.sample(seed=1)) != hashes(self.sample(seed=2))

    def test_every_start_has_random_numbers_of_its_own(self) -> None:
        """``stream`` counts the starting geometries: displaced alike, they would hold no more than one of them does."""
        if not self.sampler().moves_atoms:
            return  # it does not begin at the geometry that it is given
        first, second = (self.displacements(self.sample(stream=stream)) for stream in (0, 1))
        if not self.sampler().random:
            np.testing.assert_array_equal(first, second, "random = False, and yet the stream decides something")
            return
        shared = [one for one in first if any(one.shape == two.shape and np.allclose(one, two) for two in second)]
        # A scan of few angles may meet some of them twice; the start itself is a displacement of zero.
        assert len(shared) < len(first), "the streams 0 and 1 of one seed give the same displacements"

    def test_streams_are_not_seeds(self) -> None:
        """Random numbers from ``seed + stream`` repeat those of a run with the next seed."""
        if not self.sampler().moves_atoms or not self.sampler().random or "seed" not in self._known:
            return  # it has no seed that matters, or no streams
        assert hashes(self.sample(seed=1, stream=1)) != hashes(self.sample(seed=2, stream=0))

    def test_it_makes_as_many_as_it_is_asked_for(self) -> None:
        if "count" not in self._known:
            return  # it has no option count
        for count in (1, self.count):
            sampler = self.sampler(count)
            context = self.context(sampler)
            made = len(sampler.sample(self.structure, context))
            assert 1 <= made <= count
            # What a sampler makes from a description may come out alike; displaced geometries do not.
            if sampler.moves_atoms:
                assert made + len(context.refused) >= count, "geometries are missing that nobody refused"

    def test_geometries_differ(self) -> None:
        frames = self.sample()
        assert len(set(hashes(frames))) == len(frames)

    def test_geometries_are_intact(self) -> None:
        """``densnet_core.sampling.checks.defect`` finds nothing: broken ones are refused by the sampler itself."""
        frames = self.sample(count=5 * self.count)
        assert frames
        for index, frame in enumerate(frames):
            start = frame if isinstance(self.sampler(), MoleculeSampler) else self.structure
            fault = defect(frame, start)
            assert fault is None, f"geometry {index}: {fault}"

    def test_atoms_are_kept(self) -> None:
        if isinstance(self.sampler(), MoleculeSampler):
            return  # it makes molecules of its own
        for frame in self.sample():
            np.testing.assert_array_equal(frame.numbers, self.structure.numbers)

    @pytest.mark.parametrize(("charge", "unpaired"), [(1, 1), (-1, 1), (0, 2)], ids=["cation", "anion", "triplet"])
    def test_charge_and_multiplicity_are_kept(self, charge: int, unpaired: int) -> None:
        """A sampler may refuse a charge or a spin; it may not lose it."""
        state = replace(self.structure, charge=self.structure.charge + charge, multiplicity=unpaired + 1)
        sampler = self.sampler()
        try:
            frames = sampler.sample(state, self.context(sampler))
        except DenSNetError:
            return
        found = {(frame.charge, frame.multiplicity) for frame in frames}
        assert found == {(state.charge, state.multiplicity)}

    def test_the_start_is_left_alone(self) -> None:
        before = self.structure.positions.copy()
        self.sample()
        np.testing.assert_array_equal(self.structure.positions, before)

    def test_the_context_may_be_absent(self) -> None:
        sampler = self.sampler()
        if sampler.needs_backend or sampler.needs_harmonic:
            with pytest.raises(DenSNetError):
                sampler.sample(self.structure)
        else:
            assert hashes(sampler.sample(self.structure)) == hashes(self.sample())


def hashes(frames: list[Structure]) -> list[bytes]:
    """What distinguishes the geometries."""
    return [frame.content_hash() for frame in frames]
