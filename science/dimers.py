"""What the Coulomb interaction of predicted densities gains: water dimers, 2.5 to 10 angstrom apart.

    python science/dimers.py FOLDER [--frames 240] [--seeds 0 1 2] [--steps 1000 5000]

Pairs of published water geometries, turned at random, their oxygens at distances drawn evenly from 2.5 to 10 angstrom,
labelled with PBE/aug-cc-pVDZ (1.5 CPU seconds each). Trained on single molecules and five sixths of the dimers; errors
on the others, by distance:

coulomb, 5 A (3.5, 2.5) : with ``long_range = "coulomb"``, whole from so many angstrom on.
none : the same network without, the control.
no density, other density : that of 2.5, whose interaction is computed from none, or with the charges, dipoles
    and quadrupoles of other dimers' atoms; what is lost shows that the energy reads the density.

What is finished is not done again, and a killed run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from data_sets import table

from densnet_core.config.load import load_config
from densnet_core.density.multipoles import Multipoles
from densnet_core.models import long_range
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure, write_xyz
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run

WATER = Path(__file__).parent / "systems" / "water"
USUAL = "coulomb, 2.5 A"
"""What the model does if nothing else is asked for."""
NEAREST = {(1, 1): 1.7, (1, 8): 1.5, (8, 8): 2.4}
"""Angstrom between atoms of different molecules."""
OPTIONS = {
    "coulomb, 5 A": 'long_range = "coulomb", long_range_angstrom = 5.0',
    "coulomb, 3.5 A": 'long_range = "coulomb", long_range_angstrom = 3.5',
    "coulomb, 2.5 A": 'long_range = "coulomb", long_range_angstrom = 2.5',
    "none": 'long_range = "none"',
}
RANGES = ((2.5, 4.0), (4.0, 5.0), (5.0, 7.0), (7.0, 10.0))


def turned(positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """About the oxygen, by a random rotation."""
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return (positions - positions[0]) @ rotation.T


def dimers(number: int) -> list[Structure]:
    """Pairs of the published geometries, atoms O H H O H H."""
    generator = np.random.default_rng(0)
    with np.load(WATER / "labels-1.npz") as file:
        molecules, numbers = file["positions_angstrom"], file["numbers"]
    numbers = np.tile(numbers if numbers.ndim == 1 else numbers[0], 2)
    found: list[Structure] = []
    while len(found) < number:
        one, other = (turned(molecules[i], generator) for i in generator.choice(len(molecules), 2, replace=False))
        other = other + np.array([generator.uniform(RANGES[0][0], RANGES[-1][1]), 0.0, 0.0])
        distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
        allowed = np.array([[NEAREST[tuple(sorted((int(a), int(b))))] for b in numbers[3:]] for a in numbers[:3]])
        if (distances > allowed).all():
            found.append(Structure(numbers, np.concatenate([one, other]) / BOHR_TO_ANGSTROM))
    return found


def labelled(folder: Path, number: int) -> Path:
    """The store of the dimers."""
    frames, file = folder / "dimers.xyz", folder / "dimers.toml"
    write_xyz(frames, dimers(number))
    first = folder / "dimer.xyz"
    write_xyz(first, dimers(1))
    lines = [
        "schema = 1",
        'output = "dimers"',
        "[system]",
        f'geometry = "{first.name}"',
        "[sampling]",
        'method = "file"',
        f'path = "{frames.name}"',
        "[reference]",
        'backend = "pyscf"',
        'method = "PBE"',
        'basis = "aug-cc-pVDZ"',
    ]
    file.write_text("\n".join(lines) + "\n")
    path: Path = Run(load_config(file), Reporter()).do("reference")
    return path


def trained(folder: Path, store: Path, kind: str, seed: int, steps: Sequence[int]) -> tuple[DenSNet, list[int]]:
    """A model, and the indices of the dimers that it has not learned from."""
    name = f"{kind.replace(',', '').replace(' ', '-')}-{seed}"
    file = folder / f"{name}.toml"
    lines = [
        "schema = 1",
        f'output = "{name}"',
        "[data]",
        f'stores = ["{store.resolve()}"]',
        f'files = ["{(WATER / "labels-1.npz").resolve()}"]',
        'level = "PBE/aug-cc-pVDZ"',
        "[basis]",
        'name = "densnet-m"',
        "[energy]",
        f"options = {{ {OPTIONS[kind]} }}",
        "[training]",
        f"seed = {seed}",
        "train = 75",
        "validation = 8",
        "test = 17",
        "batch_size = 5",
        f"density = {{ steps = {steps[0]} }}",
        f"energy = {{ steps = {steps[1]} }}",
    ]
    file.write_text("\n".join(lines) + "\n")
    run = Run(load_config(file), Reporter())
    run.do("evaluate")
    with ReferenceStore.open(store) as opened:
        held_out = set(opened.read_document("split")["test"])
        return DenSNet.load(run.folder.model), [
            i for i, content in enumerate(opened.hashes) if content.hex() in held_out
        ]


def errors(model: DenSNet, store: Path, indices: Sequence[int]) -> dict[str, float]:
    """Mean absolute error of the energy by distance of the oxygens, meV, and of the forces, meV/angstrom."""
    with ReferenceStore.open(store) as opened:
        structures = [opened.structure(i) for i in indices]
        labels = [opened.result(i, labels=["energy", "forces"]) for i in indices]
    predictions = model.predict(structures)
    distances = [np.linalg.norm(s.positions[3] - s.positions[0]) * BOHR_TO_ANGSTROM for s in structures]
    both = list(zip(predictions, labels, strict=True))
    energies = 1e3 * HARTREE_TO_EV * np.array([abs(p.energy - r.energy) for p, r in both])
    forces = [np.abs(p.forces - r.forces).mean() for p, r in both]
    found: dict[str, float] = {}
    for low, high in RANGES:
        own = [i for i, distance in enumerate(distances) if low <= distance < high]
        found[f"{low:g} to {high:g} A ({len(own)}), meV"] = float(energies[own].mean())
        if (low, high) in RANGES[2:]:
            found[f"largest {low:g} to {high:g}"] = float(energies[own].max())
    found["forces meV/A"] = float(np.mean(forces) * 1e3 * HARTREE_TO_EV / BOHR_TO_ANGSTROM)
    return found


def with_multipoles(change: object) -> None:
    """Let the interaction read other multipoles than those of the predicted density."""
    own = long_range.atomic_multipoles

    def changed(*arguments: object) -> Multipoles:
        return change(own(*arguments))  # type: ignore[operator,arg-type]

    long_range.atomic_multipoles = changed  # type: ignore[assignment]


def none(multipoles: Multipoles) -> Multipoles:
    return replace(multipoles, **{n: torch.zeros_like(v) for n, v in vars(multipoles).items()})


def of_others(multipoles: Multipoles) -> Multipoles:
    """Those of the dimers before, atom by atom; their orientations are random."""
    return replace(multipoles, **{n: torch.roll(v, 6, 0) for n, v in vars(multipoles).items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs=2, default=[1000, 5000])
    parser.add_argument("--kinds", nargs="+", choices=list(OPTIONS), help="all if not given")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    store = labelled(chosen.folder, chosen.frames)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in chosen.seeds:
        for kind in chosen.kinds or OPTIONS:
            model, indices = trained(chosen.folder, store, kind, seed, chosen.steps)
            rows.setdefault(kind, []).append(errors(model, store, indices))
            if kind == USUAL:
                for name, change in (("no density", none), ("other density", of_others)):
                    own = long_range.atomic_multipoles
                    with_multipoles(change)
                    rows.setdefault(name, []).append(errors(model, store, indices))
                    long_range.atomic_multipoles = own
        table(f"water dimers after seed {seed}", rows)
    table(f"water dimers, {len(chosen.seeds)} seeds", rows)


if __name__ == "__main__":
    main()
