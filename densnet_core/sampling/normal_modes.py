"""Geometries of a thermal ensemble in the harmonic approximation."""

from __future__ import annotations

import numpy as np

from densnet_core.errors import InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import Defect, defect
from densnet_core.sampling.config import NormalModeOptions
from densnet_core.sampling.distinct import on_hash_grid
from densnet_core.sampling.refusals import Refusals
from densnet_core.spectra.harmonic import NormalModes, normal_modes
from densnet_core.structures import Structure
from densnet_core.units import BOLTZMANN

_SOFTEST = 5.0  # cm^-1; below, the harmonic displacement is longer than the molecule


class NormalModeSampler(Sampler):
    """Classical Boltzmann displacements along all vibrations of the harmonic reference.

    Every normal coordinate Q is drawn from a normal distribution of variance kT / omega^2, which is the exact
    classical ensemble of the harmonic potential. Geometries in which atoms collide or the molecule comes apart are
    refused and drawn again from the same stream of random numbers, so that equal seeds give equal lists.

    Parameters
    ----------
    options : NormalModeOptions or None
        ``temperature`` in kelvin, ``count`` of geometries, ``seed``; None for the defaults.
    """

    needs_harmonic = True

    def __init__(self, options: NormalModeOptions | None = None) -> None:
        options = options or NormalModeOptions()
        super().__init__(options)
        self.temperature = options.temperature
        self.count = options.count
        self.seed = options.seed

    def check(self, structure: Structure) -> None:
        """``InputError`` for a single atom."""
        if structure.n_atoms == 1:
            raise InputError(f"A single atom ({structure.formula}) has no vibrations to sample.")

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """``count`` different geometries, in the order drawn.

        Raises
        ------
        InputError
            Without a harmonic reference of this molecule, if it is not at a minimum, or if more than half of the
            draws are refused.
        """
        self.check(structure)
        context = context or SamplingContext()
        harmonic = context.harmonic
        if harmonic is None:
            raise InputError("Normal-mode sampling needs the harmonic reference of the molecule; none was given.")
        minimum = harmonic.structure
        if not np.array_equal(minimum.numbers, structure.numbers):
            raise InputError(
                f"The harmonic reference is of {minimum.formula} with atoms in another order or of another kind than "
                f"the molecule to sample, {structure.formula}."
            )
        modes = _checked(normal_modes(harmonic))
        amplitudes = np.sqrt(BOLTZMANN * self.temperature) / modes.frequencies
        generator = np.random.default_rng((self.seed, context.stream))
        accepted: dict[bytes, Structure] = {}
        refused = Refusals()
        while len(accepted) < self.count:
            coordinates = amplitudes * generator.standard_normal(modes.n_modes)
            shift = np.tensordot(coordinates, modes.displacements, axes=1)
            geometry = on_hash_grid(structure.with_positions(minimum.positions + shift))
            reason = defect(geometry, minimum)
            identity = geometry.content_hash()
            if reason is None and identity in accepted:
                reason = Defect("repeated", "equal to an earlier one within 1e-9 bohr")
            if reason is None:
                accepted[identity] = geometry
            else:
                refused.add(reason)
                self._stop_if_hopeless(len(accepted), refused)
        context.refused.add_records(refused.records())
        return list(accepted.values())

    def _stop_if_hopeless(self, n_accepted: int, refused: Refusals) -> None:
        n_refused = len(refused)
        if n_refused >= 20 and n_refused > n_accepted:
            raise InputError(
                f"At {self.temperature:g} K {n_refused} of {n_refused + n_accepted} geometries were refused, for "
                f"example because {refused.example}. Where molecules break, the harmonic approximation does not "
                "hold: lower the temperature, or sample by molecular dynamics."
            )


def _checked(modes: NormalModes) -> NormalModes:
    softest = float(modes.wavenumbers.min())
    if softest < _SOFTEST:
        kind = f"imaginary frequency {-softest:.0f}i" if softest < 0 else f"frequency {softest:.1f}"
        raise InputError(
            f"The harmonic reference has the {kind} cm^-1: it is no minimum, or practically flat. Distort the starting "
            "geometry off its symmetry and optimise again, or converge the optimisation further."
        )
    return modes
