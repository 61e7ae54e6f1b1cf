"""How far a spectrum is from one of more replicas: standard errors, and whether it is even."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
UNEVEN: Final = 0.6
"""A band whose standard error is a larger part of its absorption, meant over the band, is no average over an ensemble
yet: replicas stand beside each other in it."""
STRONG: Final = 0.02
"""Bands with a smaller part of the intensity of a spectrum do not make it uneven."""


def standard_error(values: Array, expected: Array | None = None, groups: Sequence[int] | None = None) -> Array | None:
    """Standard error of the mean of values over replicas; None of fewer than two.

    Parameters
    ----------
    values : (n_replicas, ...)
    expected : (n_replicas,) or None
        What each replica should have relative to the mean, such as the energies that its mode started with, of which
        the mean is right by construction. Then what is left is the spread about the values so expected, if that is
        less: the jackknife of the ratio of both means (Cochran, Sampling Techniques, section 6.17).
    groups : sequence of int or None
        Numbers of replicas of each trajectory where there are several, in order: only the spread within each counts,
        since the trajectories differ by what they are of (stratified sampling: Cochran, section 5.3). None, too, of a
        trajectory of one replica.

    Returns
    -------
    (...) or None
    """
    sizes = [len(values)] if groups is None else list(groups)
    if min(sizes) < 2:
        return None
    variance, start = np.zeros(values.shape[1:]), 0
    for size in sizes:
        part = slice(start, start + size)
        own = None if expected is None else expected[part]
        variance = variance + (size / len(values)) ** 2 * _variance_of_mean(values[part], own)
        start += size
    return np.asarray(np.sqrt(variance))


def _variance_of_mean(values: Array, expected: Array | None) -> Array:
    """(...) variance of the mean over replicas that are alike; ``expected`` may be nothing in all of them."""
    n = len(values)
    mean = values.mean(axis=0)
    squares = ((values - mean) ** 2).sum(axis=0)
    if expected is not None and expected.any():
        shares = expected / expected.sum()
        weights = (1.0 - 1.0 / n) / (1.0 - shares)
        left = np.multiply.outer(weights, np.ones_like(mean)) * (values - n * np.multiply.outer(shares, mean))
        squares = np.minimum(squares, (left**2).sum(axis=0))
    return np.asarray(squares / (n * (n - 1)))


def uneven_warning(bands: dict[float, float], n_replicas: int) -> str | None:
    """A sentence where replicas are too few for the shapes of bands.

    Parameters
    ----------
    bands : mapping
        Position in cm^-1 of each strong band to the part of its absorption that its standard error is.
    n_replicas : int
        Of several trajectories together; 1 if one of them has no more.
    """
    if n_replicas < 2:
        return (
            "The spectrum is uneven: it is of one replica of a geometry, whose modes have one energy each, and has no "
            "standard error. Take more ([md] replicas)."
        )
    worst = {position: part for position, part in bands.items() if part > UNEVEN}
    if not worst:
        return None
    named = ", ".join(f"{position:.0f} cm-1 ({part:.0%})" for position, part in worst.items())
    needed = ceil(n_replicas * (max(worst.values()) / UNEVEN) ** 2)
    return (
        f"The spectrum is uneven: with {n_replicas} replicas the standard error of the absorption is more than "
        f"{UNEVEN:.0%} of it in the band at {named}. Peaks there may be single replicas; the integrated intensity has "
        f"its own error. [md] replicas = {needed} is the least that makes the shape even."
    )
