"""A coordinate frame that turns with the molecule."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.structures import Structure

Array = NDArray[np.float64]
DEGENERATE: Final = 1e-4
"""Spreads closer than this part of the largest are taken for equal; rounding turns the axes of others by 1e-12."""


def principal_axes(structure: Structure) -> tuple[Array, Array]:
    """Centre (3,) and orthonormal axes (3, 3), one in a row, by descending spread of the atoms along them.

    The axes are those of sum_A d_A d_A^T over the atoms, d_A being the place of an atom relative to the centre (their
    mean). Where the molecule's symmetry leaves them open, they go through atoms, in the order of the atoms, so the
    frame turns with the molecule whatever its shape. Signs are arbitrary, and so is what no atom decides: everything
    for one atom (the coordinate axes are returned) and the rotation about the axis of a linear molecule.
    """
    centre = structure.positions.mean(axis=0)
    offsets = structure.positions - centre
    spreads, vectors = np.linalg.eigh(offsets.T @ offsets)
    spreads, vectors = spreads[::-1], vectors[:, ::-1].T
    if not spreads[0] > 0.0:
        return centre, np.eye(3)
    axes: list[Array] = []
    start = 0
    for stop in (1, 2, 3):
        if stop == 3 or spreads[stop - 1] - spreads[stop] > DEGENERATE * spreads[0]:
            axes += _through_atoms(vectors[start:stop], offsets) if stop - start > 1 else [vectors[start]]
            start = stop
    return centre, np.array(axes)


def _through_atoms(space: Array, offsets: Array) -> list[Array]:
    """Orthonormal basis of the space that the rows of ``space`` span, along the first of the farthest atoms in it."""
    axes: list[Array] = []
    for _ in range(len(space)):
        projected = offsets @ space.T @ space
        for axis in axes:
            projected -= np.outer(projected @ axis, axis)
        distances = np.linalg.norm(projected, axis=1)
        if distances.max() > DEGENERATE * np.linalg.norm(offsets, axis=1).max():
            chosen = projected[np.flatnonzero(distances > (1.0 - DEGENERATE) * distances.max())[0]]
        else:
            remaining = space - sum((np.outer(space @ axis, axis) for axis in axes), np.zeros_like(space))
            chosen = remaining[np.linalg.norm(remaining, axis=1).argmax()]
        axes.append(chosen / np.linalg.norm(chosen))
    return axes
