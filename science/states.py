"""One model for several charges and multiplicities at the same geometries: OH and NH2 in four states, CN in two.

    python science/states.py WORK_FOLDER [SEED ...]

PBE/def2-SVP with PySCF; 16 to 20 geometries each, of which every fourth is held out in all states. Prints the errors of
held-out frames per molecule and state, and of the energies between states at one geometry. What is finished in
WORK_FOLDER is not done again; about ten minutes on one core, then three for each further seed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from densnet_core.basis.library import basis_by_name
from densnet_core.datasets.dataset import Dataset
from densnet_core.datasets.stored import dataset_of
from densnet_core.density.method import FitMethod
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.training import LoopOptions, Plan, Stage, train_model
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.labels import fit_into, label_into, open_store
from densnet_core.workflow.stores import backend_factory, default_executor

LEVEL = LevelOfTheory.parse("PBE/def2-SVP")
STATES = {
    "OH": ((-1, 1), (0, 2), (1, 3), (1, 1)),
    "NH2": ((-1, 1), (0, 2), (1, 3), (1, 1)),
    # The labels of CN+ are not one surface: of the singlet one SCF in 16 ends 1.6 eV above its neighbours and one does
    # not converge, and in the triplet two states cross.
    "CN": ((-1, 1), (0, 2)),
}
CHOICE = NetworkChoice("equivariant", "e3nn", {}, {"channels": 24, "layers": 2, "l_max_edge": 3})
STEPS = {"density": 2000, "energy": 3000}


def geometries() -> Iterator[tuple[str, list[int], np.ndarray]]:
    """Name, atomic numbers and positions (angstrom)."""
    for distance in np.linspace(0.85, 1.30, 16):
        yield "OH", [8, 1], np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    for distance in np.linspace(1.05, 1.40, 16):
        yield "CN", [6, 7], np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    random = np.random.default_rng(3)
    for _ in range(20):
        one, other = random.uniform(0.95, 1.15, 2)
        half = np.deg2rad(random.uniform(95.0, 125.0)) / 2
        ends = [[one * np.sin(half), one * np.cos(half), 0.0], [-other * np.sin(half), other * np.cos(half), 0.0]]
        yield "NH2", [7, 1, 1], np.array([[0.0, 0.0, 0.0], *ends])


def structures() -> list[tuple[str, int, Structure]]:
    """Name, number of the geometry, structure; all states of a geometry one after another."""
    found = []
    for index, (name, numbers, positions) in enumerate(geometries()):
        for charge, multiplicity in STATES[name]:
            found.append(
                (name, index, Structure(np.array(numbers), positions / BOHR_TO_ANGSTROM, charge, multiplicity))
            )
    return found


def datasets(folder: Path) -> tuple[Dataset, Dataset, DensitySpecification, AtomicPrior]:
    """Training and held-out frames, labelled and fitted in WORK_FOLDER."""
    basis = basis_by_name("densnet-s", (1, 6, 7, 8))
    factory, executor = backend_factory("pyscf", LEVEL), default_executor()
    every = structures()
    with open_store(folder / "states.zarr", factory, "pyscf") as store:
        failures = label_into(store, factory, [s for _, _, s in every], executor, lambda done, what: None)
        for structure, error in failures:
            print(f"left out: {structure.formula} {structure.charge:+d} {structure.multiplicity}: {error}")
        fit = fit_into(store, factory, basis, FitMethod(), executor)
        known = [(index, s) for _, index, s in every if s.content_hash() in store]
        parts = [
            [s.content_hash().hex() for index, s in known if (index % 4 == 2) == held_out] for held_out in (False, True)
        ]
        labels = ("density", "dipole", "energy", "forces")
        train, test = (dataset_of(store, hashes, labels, {"density": fit}) for hashes in parts)
        prior = AtomicPrior.from_dict(fit.prior)
    return train, test, DensitySpecification(basis, "coulomb", basis.elements, states=train.states), prior


def errors(folder: Path, seed: int) -> dict[tuple[str, int, int], dict[str, float]]:
    """Errors of held-out frames by molecule, charge and multiplicity."""
    train, test, specification, prior = datasets(folder)
    stages = {name: [Stage(LoopOptions(steps, 5e-3))] for name, steps in STEPS.items()}
    plan = Plan(**stages, batch_size=16, seed=seed)
    model = train_model(train, test, specification, prior, plan, (CHOICE, CHOICE), folder=folder / f"seed{seed}")
    outputs = model.evaluate(test.graph(range(len(test)), model.cutoff), ("energy", "forces"))
    found = outputs["energy"].numpy()
    wanted = np.array([float(test.value("energy", i)) for i in range(len(test))])
    forces = torch.split(outputs["forces"], [s.n_atoms for s in test.structures])
    names = {s.content_hash(): (name, index) for name, index, s in structures()}
    places = {(*names[s.content_hash()], s.charge, s.multiplicity): i for i, s in enumerate(test.structures)}
    result: dict[tuple[str, int, int], dict[str, list[float]]] = {}
    for i, structure in enumerate(test.structures):
        name, geometry = names[structure.content_hash()]
        neutral = places[name, geometry, *STATES[name][1]]
        own = result.setdefault((name, structure.charge, structure.multiplicity), {})
        own.setdefault("energy", []).append(abs(found[i] - wanted[i]) * 1e3 * HARTREE_TO_EV)
        force = np.abs(forces[i].numpy() - test.value("forces", i)).mean() * 1e3 * EV_PER_ANGSTROM
        own.setdefault("force", []).append(float(force))
        own.setdefault("gap", []).append((wanted[i] - wanted[neutral]) * HARTREE_TO_EV)
        gap_error = (found[i] - found[neutral]) - (wanted[i] - wanted[neutral])
        own.setdefault("gap error", []).append(abs(gap_error) * 1e3 * HARTREE_TO_EV)
    return {state: {what: float(np.mean(values)) for what, values in own.items()} for state, own in result.items()}


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [int(word) for word in sys.argv[2:]] or [0]
    runs = [errors(folder, seed) for seed in seeds]
    print(f"held-out frames, {len(seeds)} seeds (mean, and standard deviation over seeds)")
    print("molecule charge multiplicity | energy meV | forces meV/A | E - E(neutral) eV, its error meV")
    for state in runs[0]:
        rows = {what: [run[state][what] for run in runs] for what in runs[0][state]}
        text = {what: f"{np.mean(values):.2f} ({np.std(values):.2f})" for what, values in rows.items()}
        name, charge, multiplicity = state
        print(
            f"{name:>4} {charge:+d} {multiplicity} | {text['energy']} | {text['force']} | "
            f"{np.mean(rows['gap']):+.4f}, {text['gap error']}"
        )


if __name__ == "__main__":
    main()
