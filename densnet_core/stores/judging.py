"""Labels nobody should believe, found before they are kept: what physics and the frames themselves say of a set.

Net forces and torques vanish on an isolated molecule; energies are near those of its atoms; along the way between two
near frames the forces do the work that their energies differ by, which shows signs, units, and energies and forces of
different levels; and frames that are one geometry have one energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from densnet_core.stores.labels import labels_of
from densnet_core.stores.twins import twin_groups
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]
Frame = tuple[Structure, Any]
"""A structure and its ``ReferenceResult``, which may lack energy or forces."""

LARGEST_NET: Final = 0.02
"""Net force over the sum of the atoms' forces, and net torque likewise. Grids of common quality leave 1e-4 to 1e-3."""
SMALL_FORCE: Final = 1e-3
"""Hartree/bohr; smaller sums of forces are noise whatever the forces are."""
ENERGY_RANGE: Final = (0.8, 1.25)
"""Total energy over that of statistical neutral atoms; molecules of common elements lie between 0.97 and 1.09."""
NEAR: Final = 0.6 / BOHR_TO_ANGSTROM
"""Bohr; frames so near (root of the summed squares) that forces and energy difference can be compared."""
FEWEST_PAIRS: Final = 8
SMALLEST_RISE: Final = 1e-6
"""Hartree; energies that differ less say nothing of forces."""
SLOPE: Final = (0.8, 1.25)
CORRELATION: Final = 0.7
SMALLEST_MISFIT: Final = 0.02
"""Hartree; of the energy difference of two near frames and the work of their forces. Typical for pairs: 1e-3."""
MISFITS: Final = 15.0
"""In units of the misfit that a quarter of the pairs keep below."""
TWIN_ENERGY: Final = 1e-4
"""Hartree; energies of one geometry differ by less."""
LARGEST_TWINS: Final = 0.1
"""Part of a set that may be repetitions."""
FRAMES: Final = 2000
"""Of one kind that are compared with each other, evenly drawn."""
_FACTORS: Final = {
    -1.0: "the forces are gradients: their sign is wrong",
    BOHR_TO_ANGSTROM: "forces given per bohr are read as per angstrom, or positions in bohr as in angstrom",
    1.0 / BOHR_TO_ANGSTROM: "forces given per angstrom are read as per bohr, or positions in angstrom as in bohr",
    EV_PER_ANGSTROM: "forces in eV/angstrom are read as hartree/bohr",
    1.0 / EV_PER_ANGSTROM: "forces in hartree/bohr are read as eV/angstrom, or energies in eV as hartree",
    HARTREE_TO_EV: "energies in hartree are read as eV, or forces in eV as hartree",
    1.0 / HARTREE_TO_EV: "energies in eV are read as hartree, or forces in hartree as eV",
    23.0605: "forces in kcal/mol are read as eV, or energies in eV as kcal/mol",
    1.0 / 23.0605: "energies in kcal/mol are read as eV, or forces in eV as kcal/mol",
    627.5095: "forces in kcal/mol are read as hartree, or energies in hartree as kcal/mol",
    1.0 / 627.5095: "energies in kcal/mol are read as hartree, or forces in hartree as kcal/mol",
}


def judge(frames: Sequence[Frame]) -> list[str]:
    """What is suspicious in labelled frames, a sentence with figures each; nothing if all is as it should be."""
    energies = {i: float(r.energy) for i, (_, r) in enumerate(frames) if "energy" in labels_of(r)}
    forces = {i: np.asarray(r.forces) for i, (_, r) in enumerate(frames) if "forces" in labels_of(r)}
    structures = [structure for structure, _ in frames]
    return [
        *_net(structures, forces),
        *_scale_of_energies(structures, energies),
        *_work(structures, energies, forces),
        *_repetitions(structures, energies),
    ]


def statistical_energy(structure: Structure) -> float:
    """Sum of the energies of statistical neutral atoms, hartree.

    E(Z) = -0.7687 Z^(7/3) + Z^2/2 - 0.2699 Z^(5/3), the Thomas-Fermi energy with the corrections of Scott and of
    Schwinger (Phys. Rev. A 24, 2353 (1981)); within 1 % of the atoms from carbon on, 8 % below hydrogen.
    """
    z = structure.numbers.astype(np.float64)
    return float((-0.7687 * z ** (7 / 3) + z**2 / 2 - 0.2699 * z ** (5 / 3)).sum())


def _net(structures: Sequence[Structure], forces: dict[int, Array]) -> list[str]:
    """Frames on which the forces push or turn the molecule as a whole."""
    found = []
    for name in ("force", "torque"):
        worst, bad = (0.0, 0.0, -1), 0
        for index, force in forces.items():
            arms = structures[index].positions - structures[index].positions.mean(axis=0)
            terms = force if name == "force" else np.cross(arms, force)
            sizes = np.linalg.norm(force, axis=1) * (1.0 if name == "force" else np.linalg.norm(arms, axis=1))
            net, total = float(np.linalg.norm(terms.sum(axis=0))), float(sizes.sum())
            extent = 1.0 if name == "force" else max(float(np.linalg.norm(arms, axis=1).max()), 1.0)
            if net > LARGEST_NET * total and net > SMALL_FORCE * extent:
                bad += 1
                worst = max(worst, (net / total, net, index))
        if bad:
            unit = "hartree/bohr" if name == "force" else "hartree"
            hint = (
                "forces on an isolated molecule sum to zero"
                if name == "force"
                else "forces of another orientation than the positions, or of another order of the atoms, look so"
            )
            found.append(
                f"A net {name} on {bad} of {len(forces)} frames: up to {worst[0]:.0%} of the sum of its parts "
                f"({worst[1]:.3g} {unit}, frame {worst[2]}); {hint}."
            )
    return found


def _scale_of_energies(structures: Sequence[Structure], energies: dict[int, float]) -> list[str]:
    """Energies that are no total energies of all electrons in hartree."""
    ratios = {i: energy / statistical_energy(structures[i]) for i, energy in energies.items()}
    bad = {i: ratio for i, ratio in ratios.items() if not ENERGY_RANGE[0] < ratio < ENERGY_RANGE[1]}
    if not bad:
        return []
    index = max(bad, key=lambda i: abs(np.log(max(abs(bad[i]), 1e-12))))
    structure = structures[index]
    return [
        f"The energy of {len(bad)} of {len(energies)} frames is no total energy: {energies[index]:.6g} hartree for "
        f"{structure.formula} (frame {index}), whose atoms have about {statistical_energy(structure):.5g}. Another "
        "unit, energies relative to atoms or to a minimum, or of valence electrons alone look so."
    ]


@dataclass(frozen=True)
class Neighbours:
    """Two near frames of one molecule.

    Parameters
    ----------
    first, second : int
        Indices of the frames.
    rise : float
        Energy of the second minus that of the first, hartree.
    work : float
        What the forces, averaged over both frames, say of that, hartree; right to third order in the way.
    length : float
        Of the way between them (root of the summed squares of the displacements), bohr.
    """

    first: int
    second: int
    rise: float
    work: float
    length: float

    @property
    def misfit(self) -> float:
        return abs(self.rise - self.work)


def neighbours(
    structures: Sequence[Structure], energies: Mapping[int, float], forces: Mapping[int, Array]
) -> list[Neighbours]:
    """Near frames that have energies and forces, of every frame the nearest two that are near enough."""
    found = []
    for i, j in _near_pairs(structures, [i for i in energies if i in forces]):
        step, turn = _way(structures[i], structures[j])
        work = -0.5 * float(((forces[i] + forces[j] @ turn) * step).sum())
        found.append(Neighbours(i, j, energies[j] - energies[i], work, float(np.linalg.norm(step))))
    return found


def off_surface(pairs: Sequence[Neighbours]) -> list[Neighbours]:
    """Pairs whose energies do not belong to one surface, the worst first."""
    if not pairs:
        return []
    limit = max(SMALLEST_MISFIT, MISFITS * float(np.quantile([pair.misfit for pair in pairs], 0.25)))
    return sorted((pair for pair in pairs if pair.misfit > limit), key=lambda pair: -pair.misfit)


def _work(structures: Sequence[Structure], energies: Mapping[int, float], forces: Mapping[int, Array]) -> list[str]:
    """Energy differences of near frames against the work of their forces along the way between them."""
    pairs = neighbours(structures, energies, forces)
    if len(pairs) >= FEWEST_PAIRS and np.std([pair.rise for pair in pairs]) > SMALLEST_RISE:
        # the error of the work grows with the third power of the way
        near = sorted(pairs, key=lambda pair: pair.length)[: max(FEWEST_PAIRS, len(pairs) // 2)]
        work, rise = (np.array([getattr(pair, name) for pair in near]) for name in ("work", "rise"))
        scale = float(work @ rise / max(float(rise @ rise), 1e-30))
        correlation = float(work @ rise / np.sqrt(max(float((work @ work) * (rise @ rise)), 1e-60)))
        if abs(correlation) < CORRELATION:
            return [
                f"Forces and energies of {len(near)} pairs of near frames do not belong together: the work of the "
                f"forces and the differences of the energies correlate by {correlation:.2f}, where 1 is right."
            ]
        if not SLOPE[0] < scale < SLOPE[1]:
            return [
                f"The forces do {scale:.3g} times the work that the energies of {len(near)} pairs of near frames "
                f"differ by, where 1 is right{_guess(scale)}."
            ]
    if not (bad := off_surface(pairs)):
        return []
    worst = bad[0]
    return [
        f"{len(bad)} of {len(pairs)} pairs of near frames are on different surfaces: the energies of frames "
        f"{worst.first} and {worst.second} differ by {worst.rise:.4f} hartree, their forces do the work "
        f"{worst.work:.4f}. Energies of another level of theory or another electronic state look so."
    ]


def _guess(scale: float) -> str:
    for factor, meaning in _FACTORS.items():
        for sign in (1.0, -1.0) if factor > 0.0 else (1.0,):
            if abs(scale / (sign * factor) - 1.0) < 0.12:
                return f"; it looks as if {meaning}" + (", and their sign is that of gradients" if sign < 0 else "")
    return ""


def _near_pairs(structures: Sequence[Structure], indices: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of frames of the same atoms in the same order that are near each other, of each frame the nearest two."""
    kinds: dict[tuple[bytes, int, int], list[int]] = {}
    for i in indices:
        one = structures[i]
        kinds.setdefault((one.numbers.tobytes(), one.charge, one.multiplicity), []).append(i)
    pairs: dict[tuple[int, int], None] = {}
    for members in kinds.values():
        if structures[members[0]].n_atoms == 1 or len(members) < 2:
            continue
        chosen = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, FRAMES).round().astype(int))]
        distances = np.array([pdist(structures[i].positions) for i in chosen])
        _, nearest = cKDTree(distances).query(distances, k=min(3, len(chosen)))
        for i, others in zip(chosen, nearest, strict=True):
            for j in (chosen[k] for k in others):
                if i != j and np.linalg.norm(_way(structures[i], structures[j])[0]) < NEAR:
                    pairs[min(i, j), max(i, j)] = None
    return list(pairs)


def _way(one: Structure, other: Structure) -> tuple[Array, Array]:
    """Displacements (n_atoms, 3) from one molecule to the other, turned onto it, and the rotation (3, 3) of rows."""
    first, second = (s.positions - s.positions.mean(axis=0) for s in (one, other))
    left, _, right = np.linalg.svd(second.T @ first)
    turn = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return second @ turn - first, turn


def _repetitions(structures: Sequence[Structure], energies: dict[int, float]) -> list[str]:
    """Frames that are others turned, mirrored or with like atoms exchanged."""
    groups = twin_groups(structures)
    found = []
    for group in groups:
        known = [i for i in group if i in energies]
        if known and (spread := float(np.ptp([energies[i] for i in known]))) > TWIN_ENERGY:
            found.append(
                f"Frames {', '.join(map(str, known[:5]))} are one geometry (turned, mirrored or with like atoms "
                f"exchanged) and their energies differ by {spread:.3g} hartree."
            )
            break
    repeated = sum(len(group) - 1 for group in groups)
    if repeated > LARGEST_TWINS * len(structures):
        first = ", ".join(map(str, groups[0][:5]))
        found.append(
            f"{repeated} of {len(structures)} frames repeat others turned, mirrored or with like atoms exchanged "
            f"(frames {first})."
        )
    return found
