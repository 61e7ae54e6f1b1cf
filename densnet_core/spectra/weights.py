"""Weights of conformers: as given, or from their energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.units import BOLTZMANN

Array = NDArray[np.float64]


def shares(weights: Sequence[float | None], what: str) -> Array | None:
    """Weights that add up to one; None where none was given.

    Parameters
    ----------
    weights : sequence of float or None
    what : str
        What they are of, for messages: ``"trajectories"``.

    Raises
    ------
    InputError
        Some have one and some have none, or one is no positive number.
    """
    given = [weight for weight in weights if weight is not None]
    if not given:
        return None
    if len(given) < len(weights):
        raise InputError(f"{len(given)} of {len(weights)} {what} have a weight; give FILE=WEIGHT for all or for none.")
    if not all(np.isfinite(weight) and weight > 0 for weight in given):
        raise InputError(f"Weights of {what} must be positive, not {', '.join(f'{weight:g}' for weight in given)}.")
    return np.asarray(given) / sum(given)


def boltzmann(energies: Sequence[float], temperature: float) -> Array:
    """Populations of states of these energies, hartree, at a temperature in kelvin; they add up to one."""
    values = np.asarray(energies, dtype=np.float64)
    factors = np.exp(-(values - values.min()) / (BOLTZMANN * temperature))
    return np.asarray(factors / factors.sum())
