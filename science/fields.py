"""What the density gives in an electric field: energies and forces of water against PBE in the same fields.

    python science/fields.py FOLDER MODEL ... [--geometries ../shared/data/water100/valid.npz] [--count 20]

Geometries that the models have not learned from, each in fields of 0.002, 0.005 and 0.01 hartree/(e bohr) in a random
direction (0.01 are 5.1e9 V/m), labelled with PBE/aug-cc-pVDZ; some 4 CPU seconds each. None of the models has seen a
field. MODEL are the models of several seeds, whose mean and spread are printed, of

order 1 : ``in_field``, E - F . mu with the dipole of the predicted density.
order 2 : of models that predict the response to a field (``[density] options = { response = true }``), also
    - 1/2 F . alpha . F.
control : the same model, whose energy does not know the density and so not the field.
another density : E - F . mu with the dipole that the model predicts of the next geometry.

What is labelled is not labelled again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Literal

import numpy as np
from data_sets import table

from densnet_core import load_model
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.fields import in_field
from densnet_core.reference.level import LevelOfTheory
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

LEVEL = "PBE/aug-cc-pVDZ"
STRENGTHS = (0.002, 0.005, 0.01)


def geometries(path: Path, count: int) -> list[Structure]:
    with np.load(path, allow_pickle=False) as file:
        pairs = zip(file["numbers"][:count], file["positions_angstrom"][:count], strict=True)
        return [Structure(numbers, positions / BOHR_TO_ANGSTROM) for numbers, positions in pairs]


def labels(folder: Path, structures: list[Structure], strength: float) -> list[dict[str, list[float]]]:
    """Field, energy and forces of each geometry, atomic units."""
    path = folder / f"labels-{strength}.json"
    found = json.loads(path.read_text()) if path.exists() else []
    manager, random = get_manager(), np.random.default_rng(round(1e4 * strength))
    component = manager.find(Kind.REFERENCE, "pyscf")
    for index, structure in enumerate(structures):
        direction = random.normal(size=3)
        field = (strength * direction / np.linalg.norm(direction)).tolist()
        if index < len(found):
            continue
        options = manager.options(component, {"electric_field": field}, where="science/fields.py")
        result = manager.load(component)(LevelOfTheory.parse(LEVEL), options).compute(structure)
        found.append({"field": field, "energy": float(result.energy), "forces": result.forces.tolist()})
        path.write_text(json.dumps(found))
    return list(found)


def errors(
    model_path: str, structures: list[Structure], known: list[dict[str, list[float]]]
) -> dict[str, dict[str, float]]:
    """Mean absolute errors of a model with, without, and with another density."""
    model = load_model(model_path)
    plain = model.predict(structures)
    orders: tuple[Literal[1, 2], ...] = (1, 2) if "polarizability" in model.outputs else (1,)
    found: dict[str, list[tuple[float, float]]] = {}
    for index, (structure, label) in enumerate(zip(structures, known, strict=True)):
        field = np.array(label["field"])
        within = [in_field(model, field, order=order).predict([structure])[0] for order in orders]
        other = plain[(index + 1) % len(plain)].dipole
        sides = {
            **{f"order {order}": (one.energy, one.forces) for order, one in zip(orders, within, strict=True)},
            "control": (plain[index].energy, plain[index].forces),
            "another density": (plain[index].energy - float(other @ field), None),
        }
        for name, (energy, forces) in sides.items():
            force = np.nan if forces is None else float(np.abs(forces - np.array(label["forces"])).mean())
            found.setdefault(name, []).append((abs(energy - label["energy"]), force))
    means = {name: np.mean(values, axis=0) for name, values in found.items()}
    return {
        name: {"energy meV": 1e3 * HARTREE_TO_EV * energy, "forces meV/A": 1e3 * EV_PER_ANGSTROM * force}
        for name, (energy, force) in means.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--geometries", type=Path, default=Path("../shared/data/water100/valid.npz"))
    parser.add_argument("--count", type=int, default=20)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    structures = geometries(chosen.geometries, chosen.count)
    for strength in STRENGTHS:
        known = labels(chosen.folder, structures, strength)
        rows: dict[str, list[dict[str, float]]] = {}
        for model in chosen.models:
            for name, values in errors(model, structures, known).items():
                rows.setdefault(name, []).append(values)
        table(f"{len(structures)} geometries, field {strength} hartree/(e bohr), {len(chosen.models)} models", rows)


if __name__ == "__main__":
    main()
