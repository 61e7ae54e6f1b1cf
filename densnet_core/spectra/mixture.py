"""One spectrum of several trajectories with weights: of conformers that do not change into each other, or of reruns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.spectra.infrared import Spectrum

Array = NDArray[np.float64]


def mixture(spectra: Sequence[Spectrum], weights: Sequence[float] | Array) -> Spectrum:
    """The weighted mean of spectra; within a trajectory every replica counts the same.

    The replicas of the result are those of all trajectories, multiplied so that their plain mean is that weighted one.
    Its temperature is the weighted mean; its length that of the shortest trajectory.

    Parameters
    ----------
    spectra : sequence of Spectrum
        With their replicas, and of the same frame spacing, time step, window and width.
    weights : sequence of float
        They add up to one.

    Raises
    ------
    InputError
        The spectra are not at the same wavenumbers.
    """
    first = spectra[0]
    settings = [one.settings for one in spectra]
    alike = {(s.frame_spacing, s.time_step, s.window, s.width, s.temperature_kind) for s in settings}
    if len(alike) > 1 or any(one.wavenumbers.shape != first.wavenumbers.shape for one in spectra):
        raise InputError(
            "Spectra are averaged only of trajectories with the same time step and the same steps between frames."
        )
    groups = [np.atleast_2d(one.absorption if one.replicas is None else one.replicas) for one in spectra]
    sizes = tuple(len(one) for one in groups)
    factors = [weight * sum(sizes) / size for weight, size in zip(weights, sizes, strict=True)]
    replicas = np.concatenate([factor * one for factor, one in zip(factors, groups, strict=True)])
    together = replace(
        first.settings,
        temperature=float(np.dot(weights, [s.temperature for s in settings])),
        n_frames=min(s.n_frames for s in settings),
        n_replicas=sum(sizes),
    )
    return Spectrum(first.wavenumbers, replicas.mean(axis=0), together, replicas, sizes)


def energies_together(energies: Sequence[Array]) -> Array:
    """(n_replicas, n_modes) of all trajectories: each replica has energy in the modes of its own conformer only.

    Parameters
    ----------
    energies : sequence of (n_replicas, n_modes)
    """
    together = np.zeros((sum(len(one) for one in energies), sum(one.shape[1] for one in energies)))
    row = column = 0
    for one in energies:
        together[row : row + len(one), column : column + one.shape[1]] = one
        row, column = row + len(one), column + one.shape[1]
    return together
