"""Does a model notice geometries unlike those it was trained on? Rates of flagged frames of three molecules.

    python science/extrapolation.py WORK_FOLDER DATA_FOLDER [water ethanol ethanethiol]

DATA_FOLDER holds ``water100``, ``ethanol`` and ``ethanethiol`` (shared/data). Water learns from 100 frames and is asked
for its 100 validation frames and for stretched, bent and hot ones, which are labelled with PySCF at the same level.
Ethanol learns from two thirds of the colder anti frames and is asked for the rest of these, and for hot anti and for
gauche frames; ethanethiol likewise, at which nobody looked while descriptors and limits were chosen.
Prints how many frames are flagged, of the ordinary ones and of the others whose force error (root mean square over the
frame) exceeds five times the median of the ordinary ones. What is finished in WORK_FOLDER is not done again; about
fifteen minutes on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densnet_core import train
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.labels import label_into, open_store
from densnet_core.workflow.stores import backend_factory, default_executor

LEVEL = "PBE/aug-cc-pVDZ"
NETWORK = {"backbone_options": {"channels": 16, "layers": 2, "l_max_edge": 2}}
Frames = list[tuple[Structure, NDArray[np.float64]]]
"""Structures and their forces in hartree/bohr."""


def main() -> None:
    folder, data = Path(sys.argv[1]), Path(sys.argv[2])
    for name in sys.argv[3:] or ("water", "ethanol", "ethanethiol"):
        model, parts = water(folder, data) if name == "water" else rotors(name, folder, data)
        report(name, model, parts)


def water(folder: Path, data: Path) -> tuple[DenSNet, dict[str, Frames]]:
    learned, held_out = (dict(np.load(data / "water100" / f"{part}.npz")) for part in ("train", "valid"))
    model = trained(learned, folder / "water", 10)
    odd = {name: labelled(folder / f"water-{name}.zarr", structures) for name, structures in odd_waters().items()}
    return model, {"ordinary": frames_of(held_out), **odd}


def odd_waters() -> dict[str, list[Structure]]:
    """Stretched (one or both bonds 1.15 to 1.6 angstrom), bent (32 to 48, 160 to 178 degrees), hot (0.15 angstrom)."""
    random = np.random.default_rng(7)
    found: dict[str, list[Structure]] = {"stretched": [], "bent": [], "hot": []}
    for index in range(20):
        lengths = [random.uniform(1.15, 1.6), random.uniform(1.15, 1.6) if index % 2 else 0.97]
        found["stretched"].append(bent_water(*lengths, 104.5))
        angle = random.uniform(32.0, 48.0) if index % 2 else random.uniform(160.0, 178.0)  # training: 52 to 155
        found["bent"].append(bent_water(*random.normal(0.97, 0.02, 2), angle))
        minimum = bent_water(0.97, 0.97, 104.5)
        moved = minimum.positions + random.normal(0.0, 0.15, (3, 3)) / BOHR_TO_ANGSTROM
        found["hot"].append(minimum.with_positions(moved))
    return found


def bent_water(one: float, other: float, degrees: float) -> Structure:
    half = np.deg2rad(degrees) / 2
    ends = [[one * np.sin(half), one * np.cos(half), 0.0], [-other * np.sin(half), other * np.cos(half), 0.0]]
    return Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], *ends]) / BOHR_TO_ANGSTROM)


def labelled(path: Path, structures: list[Structure]) -> Frames:
    factory = backend_factory("pyscf", LevelOfTheory.parse(LEVEL))
    with open_store(path, factory, "pyscf") as store:
        label_into(store, factory, structures, default_executor())
    with ReferenceStore.open(path) as store:
        return [(store.structure(i), store.result(i, labels=("forces",)).forces) for i in range(len(store))]


def rotors(name: str, folder: Path, data: Path) -> tuple[DenSNet, dict[str, Frames]]:
    """Ethanol or ethanethiol, whose conformers differ in the torsion about C-O or C-S."""
    arrays = dict(np.load(data / name / "train.npz"))
    anti = np.abs(hydroxyl_torsion(arrays["positions_angstrom"])) > 120.0
    energies = (arrays["energy_hartree"] - arrays["energy_hartree"].min()) * HARTREE_TO_EV
    cold = anti & (energies < np.quantile(energies[anti], 0.7))
    chosen = np.flatnonzero(cold)
    np.random.default_rng(0).shuffle(chosen)
    learned, ordinary = chosen[: len(chosen) * 2 // 3], chosen[len(chosen) * 2 // 3 :]
    model = trained({name: values[learned] for name, values in arrays.items()}, folder / name, 5)
    frames = frames_of(arrays)
    parts = {"ordinary": ordinary, "hot": np.flatnonzero(anti & ~cold), "gauche": np.flatnonzero(~anti)}
    return model, {name: [frames[i] for i in indices] for name, indices in parts.items()}


def hydroxyl_torsion(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) angle C-C-O-H in degrees of molecules C C O H6 or C C S H6."""
    oxygen = positions[:, 2]
    distances = np.linalg.norm(positions - oxygen[:, None], axis=-1)[0]
    near = int(np.argmin(distances[:2]))
    hydrogen = 3 + int(np.argmin(distances[3:]))
    first, second = positions[:, near] - positions[:, 1 - near], oxygen - positions[:, near]
    third = positions[:, hydrogen] - oxygen
    normals = np.cross(first, second), np.cross(second, third)
    axis = second / np.linalg.norm(second, axis=-1)[:, None]
    sine = (np.cross(*normals) * axis).sum(-1)
    return np.degrees(np.arctan2(sine, (normals[0] * normals[1]).sum(-1)))


def trained(arrays: dict[str, NDArray[np.float64]], folder: Path, batch_size: int) -> DenSNet:
    names = ("numbers", "positions_angstrom", "energy_hartree", "forces_hartree_per_angstrom", "mo_coeff_occupied")
    n_frames = len(arrays["numbers"])
    training = {
        "train": n_frames - 11,
        "validation": 10,
        "test": 1,
        "batch_size": batch_size,
        "density": {"steps": 600},
        "energy": {"steps": 2500},
    }
    sections = {"density": NETWORK, "training": training, "basis": {"name": "densnet-s"}}
    return train({name: arrays[name] for name in names}, LEVEL, folder, **sections)


def frames_of(arrays: dict[str, NDArray[np.float64]]) -> Frames:
    return [
        (Structure(numbers, positions / BOHR_TO_ANGSTROM), forces * BOHR_TO_ANGSTROM)
        for numbers, positions, forces in zip(
            arrays["numbers"], arrays["positions_angstrom"], arrays["forces_hartree_per_angstrom"], strict=True
        )
    ]


def report(name: str, model: DenSNet, parts: dict[str, Frames]) -> None:
    """Print the rates of one molecule."""
    errors = {part: force_errors(model, frames) for part, frames in parts.items()}
    unlike = {part: np.array(flags(model, frames)) for part, frames in parts.items()}
    large = 5.0 * float(np.median(errors["ordinary"]))
    print(f"{name}: median force error of ordinary frames {large / 5:.1f} meV/angstrom")
    for part, flagged in unlike.items():
        bad = errors[part] > large
        print(
            f"  {part:<10} {len(bad):4d} frames, flagged {flagged.mean():4.0%}; error above five medians "
            f"{bad.sum():4d}, of these flagged {flagged[bad].mean() if bad.any() else float('nan'):4.0%}"
        )
    others = [part for part in parts if part != "ordinary"]
    bad = np.concatenate([errors[part] > large for part in others])
    flagged = np.concatenate([unlike[part] for part in others])
    print(
        f"  ordinary frames flagged {unlike['ordinary'].mean():.1%}, others with large errors {flagged[bad].mean():.1%}"
    )


def flags(model: DenSNet, frames: Frames) -> list[bool]:
    return [bool(one.reasons) for one in model.extrapolation([structure for structure, _ in frames])]


def force_errors(model: DenSNet, frames: Frames) -> NDArray[np.float64]:
    """(n,) root mean square over the components of each frame, meV/angstrom."""
    found = model.predict([structure for structure, _ in frames])
    errors = [np.sqrt(np.mean((one.forces - forces) ** 2)) for one, (_, forces) in zip(found, frames, strict=True)]
    return np.array(errors) * EV_PER_ANGSTROM * 1e3


if __name__ == "__main__":
    main()
