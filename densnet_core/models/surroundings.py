"""How far a geometry is from those that a model was trained on: distances of atoms, and the surroundings of each atom.

Nothing here depends on the model: surroundings are described by invariants of the neighbours' positions, and an atom is
as far away as the nearest atom of its element in the training data, on the scale of the distances that training frames
have from each other. What is measured of it stands in ``science/extrapolation.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.elements import symbol
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]
CUTOFF: Final = 8.0
"""Bohr; farther neighbours are no part of an atom's surroundings."""
CENTERS: Final = np.geomspace(1.0, 6.0, 14)
"""Bohr; of the Gaussians in the logarithm of the distance, as wide as they are apart."""
L_MAX: Final = 2
FRAMES: Final = 1000
"""Of the training data, evenly drawn, whose surroundings are compared."""
REPRESENTATIVES: Final = 300
"""Training atoms of an element that are kept, each as far as can be from those before it."""
FEWEST_FRAMES: Final = 10
"""Fewer say nothing of how much ordinary frames differ."""
ORDINARY: Final = 0.95
"""Part of the training frames that keeps to the limits, each compared with the others."""
SLACK: Final = 0.05
"""Relative; distances so little outside those seen are none of interest."""


def descriptors(structure: Structure, elements: Sequence[int]) -> Array:
    """Invariants of the surroundings of each atom, (n_atoms, n_descriptors); smooth in the positions.

    For every element the neighbours' density in Gaussians of the log distance times harmonics: its l = 0 part, and of
    every pair of elements the products of the l = 1 and l = 2 parts, summed over m (the power spectrum of Bartok,
    Kondor and Csanyi, Phys. Rev. B 87, 184115 (2013), diagonal in the radial functions). The same for a mirror image.
    """
    vectors = structure.positions[None] - structure.positions[:, None]
    distances = np.linalg.norm(vectors, axis=-1)
    np.fill_diagonal(distances, 2.0 * CUTOFF)
    inside = np.minimum(distances / CUTOFF, 1.0)
    radial = np.exp(-0.5 * (np.log(distances[..., None] / CENTERS) / np.log(CENTERS[1] / CENTERS[0])) ** 2)
    radial *= 0.5 * (1.0 + np.cos(np.pi * inside))[..., None]
    directions = torch.from_numpy(vectors / distances[..., None])
    angular = [harmonics.numpy() for harmonics in solid_harmonics(directions, L_MAX)]
    parts = []
    expanded: dict[int, list[Array]] = {}
    for z in elements:
        chosen = structure.numbers == z
        expanded[z] = [np.einsum("ijn,ijm->inm", radial[:, chosen], one[:, chosen]) for one in angular]
        parts.append(expanded[z][0][..., 0])
    for one, other in combinations_with_replacement(elements, 2):
        parts += [(expanded[one][l_] * expanded[other][l_]).sum(-1) for l_ in range(1, L_MAX + 1)]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Distances:
    """The range of distances in training data, bohr.

    Parameters
    ----------
    smallest : mapping of (int, int) to float
        Of every pair of elements, the smaller atomic number first.
    farthest : mapping of int to float
        Of every element the largest distance of an atom to its nearest neighbour; absent where it has none.
    """

    smallest: Mapping[tuple[int, int], float]
    farthest: Mapping[int, float]

    @classmethod
    def of(cls, structures: Iterable[Structure]) -> Distances:
        smallest: dict[tuple[int, int], float] = {}
        farthest: dict[int, float] = {}
        for structure in structures:
            own = _of_structure(structure)
            for pair, (distance, _, _) in own[0].items():
                smallest[pair] = min(distance, smallest.get(pair, np.inf))
            for z, (distance, _) in own[1].items():
                farthest[z] = max(distance, farthest.get(z, 0.0))
        return cls(dict(sorted(smallest.items())), dict(sorted(farthest.items())))

    def joined(self, other: Distances) -> Distances:
        """The range of two sets of data together."""
        smallest, farthest = dict(self.smallest), dict(self.farthest)
        for pair, distance in other.smallest.items():
            smallest[pair] = min(distance, smallest.get(pair, np.inf))
        for z, distance in other.farthest.items():
            farthest[z] = max(distance, farthest.get(z, 0.0))
        return Distances(smallest, farthest)

    def outside(self, structure: Structure) -> list[str]:
        """What of a structure's distances is outside this range, in words."""
        near, far = _of_structure(structure)
        said = []
        for pair, (distance, i, j) in near.items():
            names = "-".join(symbol(z) for z in pair)
            if pair not in self.smallest:
                said.append(f"no training frame has a pair {names} (atoms {i + 1} and {j + 1})")
            elif distance < (1.0 - SLACK) * self.smallest[pair]:
                said.append(
                    f"{names} (atoms {i + 1} and {j + 1}) {_angstrom(distance)}, in training at least "
                    f"{_angstrom(self.smallest[pair])}"
                )
        for z, (distance, i) in far.items():
            if distance > (1.0 + SLACK) * self.farthest.get(z, 0.0):
                seen = f"at most {_angstrom(self.farthest[z])}" if z in self.farthest else "it had no neighbour"
                said.append(
                    f"{symbol(z)} (atom {i + 1}) {_angstrom(distance)} from its nearest atom, in training {seen}"
                )
        return said

    def to_dict(self) -> dict[str, Any]:
        return {
            "smallest_bohr": {"-".join(map(str, pair)): value for pair, value in self.smallest.items()},
            "farthest_nearest_neighbour_bohr": {str(z): value for z, value in self.farthest.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Distances:
        smallest = {}
        for name, value in data["smallest_bohr"].items():
            one, other = name.split("-")
            smallest[int(one), int(other)] = float(value)
        return cls(smallest, {int(z): float(v) for z, v in data["farthest_nearest_neighbour_bohr"].items()})


Near = dict[tuple[int, int], tuple[float, int, int]]
Far = dict[int, tuple[float, int]]


def _of_structure(structure: Structure) -> tuple[Near, Far]:
    """Smallest distance of each pair of elements with its atoms; largest distance to a nearest neighbour likewise."""
    if structure.n_atoms == 1:
        return {}, {}
    distances = np.linalg.norm(structure.positions[None] - structure.positions[:, None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    near: Near = {}
    far: Far = {}
    kinds = np.unique(structure.numbers).tolist()
    for z in kinds:
        own = np.flatnonzero(structure.numbers == z)
        nearest = distances[own].min(axis=1)
        far[z] = (float(nearest.max()), int(own[nearest.argmax()]))
    for pair in combinations_with_replacement(kinds, 2):
        rows, columns = (np.flatnonzero(structure.numbers == z) for z in pair)
        block = distances[np.ix_(rows, columns)]
        i, j = np.unravel_index(block.argmin(), block.shape)
        if np.isfinite(block[i, j]):
            near[pair] = (float(block[i, j]), int(rows[i]), int(columns[j]))
    return near, far


def _angstrom(bohr: float) -> str:
    return f"{bohr * BOHR_TO_ANGSTROM:.2f} angstrom"


@dataclass(frozen=True, eq=False)
class Kind:
    """The surroundings of the training atoms of one element.

    Parameters
    ----------
    scale : (n_descriptors,)
        How much each descriptor varies.
    atoms : (n_representatives, n_descriptors)
        Representative atoms, in units of ``scale``.
    limit : float
        Of the distance to the nearest of them that an ordinary atom keeps to.
    """

    scale: Array
    atoms: Array
    limit: float

    def distances(self, values: Array) -> Array:
        """(n, n_representatives) of atoms with descriptors (n, n_descriptors)."""
        return _distances(values / self.scale, self.atoms)


class Surroundings:
    """Surroundings of the atoms of training data, by element.

    Parameters
    ----------
    elements : tuple of int
        That descriptors distinguish.
    kinds : mapping of int to Kind
    """

    def __init__(self, elements: tuple[int, ...], kinds: Mapping[int, Kind]) -> None:
        self.elements, self.kinds = elements, dict(kinds)

    @classmethod
    def of(cls, structures: Sequence[Structure]) -> Surroundings | None:
        """Of training frames; None if they are too few to say how much ordinary ones differ."""
        if len(structures) < FEWEST_FRAMES:
            return None
        places = np.unique(np.linspace(0, len(structures) - 1, FRAMES).round().astype(int))
        chosen = [structures[int(i)] for i in places]
        elements = tuple(sorted({int(z) for one in chosen for z in one.numbers}))
        values = [descriptors(one, elements) for one in chosen]
        kinds, apart = {}, {}
        for z in elements:
            frame = np.concatenate([np.full(int((s.numbers == z).sum()), i) for i, s in enumerate(chosen)])
            own = np.concatenate([value[s.numbers == z] for value, s in zip(values, chosen, strict=True)])
            scale = _scale(own)
            scaled = own / scale
            kept = farthest_points(scaled, REPRESENTATIVES)
            distances = _distances(scaled, scaled[kept])
            distances[frame[:, None] == frame[kept][None]] = np.inf
            nearest = np.full(len(chosen), 0.0)
            np.maximum.at(nearest, frame, distances.min(axis=1))
            apart[z] = nearest
            kinds[z] = (scale, scaled[kept])
        return cls(elements, _with_limits(kinds, apart))

    def scores(self, structure: Structure) -> Array:
        """(n_atoms,) distance of each atom from the nearest training atom of its element; above one it is unusual.

        Infinite for all of them if there is an element that the training data lack.
        """
        found = np.full(structure.n_atoms, np.inf)
        if not set(structure.numbers.tolist()) <= set(self.elements):
            return found
        values = descriptors(structure, self.elements)
        for z, kind in self.kinds.items():
            own = structure.numbers == z
            if own.any():
                found[own] = kind.distances(values[own]).min(axis=1) / kind.limit
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the arrays are ``tensors``."""
        return {"elements": list(self.elements), "limits": {str(z): kind.limit for z, kind in self.kinds.items()}}

    def tensors(self) -> dict[str, Tensor]:
        """Scales and representative atoms of each element, float32."""
        found = {}
        for z, kind in self.kinds.items():
            found[f"{z}.scale"] = torch.tensor(kind.scale, dtype=torch.float32)
            found[f"{z}.atoms"] = torch.tensor(kind.atoms, dtype=torch.float32)
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Surroundings:
        kinds = {}
        for z, limit in data["limits"].items():
            scale, atoms = (tensors[f"{z}.{name}"].to(torch.float64).numpy() for name in ("scale", "atoms"))
            kinds[int(z)] = Kind(scale, atoms, float(limit))
        return cls(tuple(map(int, data["elements"])), kinds)


def _with_limits(kinds: Mapping[int, tuple[Array, Array]], apart: Mapping[int, Array]) -> dict[int, Kind]:
    """Limits in proportion to how far atoms of an element usually are apart, such that the part ``ORDINARY`` of the
    frames keeps to all of them."""
    usual = {}
    for z, nearest in apart.items():
        finite = nearest[np.isfinite(nearest) & (nearest > 0.0)]
        usual[z] = float(np.median(finite)) if finite.size else 1.0
    relative = np.max([nearest / usual[z] for z, nearest in apart.items()], axis=0)
    finite = relative[np.isfinite(relative)]
    limit = max(float(np.quantile(finite, ORDINARY)) if finite.size else 1.0, 1.0)
    return {z: Kind(scale, atoms, usual[z] * limit) for z, (scale, atoms) in kinds.items()}


def _scale(values: Array) -> Array:
    """(n_descriptors,) standard deviations, with a floor that keeps what never varied from counting without end."""
    spread = values.std(axis=0)
    return np.asarray(np.maximum(spread, max(0.01 * float(spread.max()), 1e-6)))


def _distances(one: Array, other: Array) -> Array:
    squares = (one**2).sum(-1)[:, None] + (other**2).sum(-1)[None] - 2.0 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def farthest_points(points: Array, count: int) -> NDArray[np.int64]:
    """Indices of at most ``count`` points (n, n_dimensions), each the farthest from those before it; the first is the
    one farthest from the mean, and points that coincide are taken once."""
    first = int(((points - points.mean(axis=0)) ** 2).sum(-1).argmax())
    kept = [first]
    nearest = _distances(points, points[first : first + 1])[:, 0]
    while len(kept) < min(count, len(points)):
        following = int(nearest.argmax())
        if nearest[following] <= 1e-6:
            break
        kept.append(following)
        nearest = np.minimum(nearest, _distances(points, points[following : following + 1])[:, 0])
    return np.array(kept)
