"""Trained models made ready to be carried by a distribution, and what is told of those that are carried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from densnet_core.errors import DenSNetError, InputError
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.shipped import CHECKS, ShippedModel
from densnet_core.stores.molecules import structure_record
from densnet_core.stores.packages import read_document

N_CHECKS: Final = 3


def pack(model: Path, store: Path, target: Path, name: str) -> None:
    """A model package of one file for others: without the paths of this machine, with frames to check it by.

    Parameters
    ----------
    model : Path
        A finished model with errors on held-out frames (``densnet train``, ``densnet run``).
    store : Path
        Labelled frames; up to three that the model has not learned from become its checks.
    target : Path
        The zip file, replaced if it is there.
    name : str
        What the model is called.

    Raises
    ------
    InputError
        The file is to have another suffix, the model has no errors on held-out frames, or the store no frame that it
        has not learned from.
    """
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.stores.reference import ReferenceStore
    from densnet_core.workflow.evaluation import frames_to_evaluate

    if target.suffix != ".zip":
        raise InputError(f"A packed model is a zip file; {target.name} has another suffix.")
    trained = DenSNet.load(model)
    if not trained.document["metrics"].get("held_out"):
        raise InputError(f"{model} says no errors on held-out frames; 'densnet run' on its configuration adds them.")
    with ReferenceStore.open(store) as opened:
        frames, _ = frames_to_evaluate(trained, opened, "auto")
        structures = [opened.structure(index) for index in frames[:N_CHECKS]]
    checks = [
        {
            "structure": structure_record(structure),
            "energy": prediction.energy,
            "forces": prediction.forces.tolist(),
            "dipole": prediction.dipole.tolist(),
        }
        for structure, prediction in zip(structures, trained.predict(structures), strict=True)
    ]
    trained.document = {**_without_paths(trained.document), "name": name, CHECKS: checks}
    trained.save(target)


def _without_paths(value: Any) -> Any:
    """The last part of every path that leads out of the folder, in keys and texts; equal keys are numbered."""
    if isinstance(value, dict):
        found: dict[Any, Any] = {}
        for key, inner in value.items():
            name, number = _without_paths(key), 2
            while name in found:
                name, number = f"{_without_paths(key)} ({number})", number + 1
            found[name] = _without_paths(inner)
        return found
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    outside = isinstance(value, str) and (Path(value).is_absolute() or value.startswith(".."))
    return Path(value).name if outside else value


FIGURES: Final = {
    "forces_mae_mev_per_angstrom": ("forces", "mae_mev_per_angstrom"),
    "energy_mae_mev": ("energy", "mae_mev"),
    "density_nmae_model_vs_fit_percent": ("density", "nmae_model_vs_fit_percent"),
    "density_nmae_model_vs_reference_percent": ("density", "nmae_model_vs_reference_percent"),
    "dipole_mae_debye": ("dipole", "mae_debye"),
}
"""Errors that a card has of each molecule, and where a package keeps them."""


def model_cards(manager: Manager | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """What the shipped models that are installed say of themselves, as plain data with the units in the keys.

    They are read without torch. The second list says in words what is wrong with others, or lacking.
    """
    manager = manager or get_manager()
    cards, problems = [], []
    components = manager.components(Kind.MODEL)
    for name in sorted(set(manager.registry.names(Kind.MODEL)) - {component.name for component in components}):
        try:
            manager.find(Kind.MODEL, name)
        except DenSNetError as error:
            problems.append(str(error).removesuffix("."))
    for component in components:
        try:
            cards.append(_card(component, manager))
        except DenSNetError as error:
            problems.append(f"{component.name}: {error}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            problems.append(f"{component.name}: its package or its class is malformed: {error!r}")
    return cards, problems


def _card(component: Component, manager: Manager) -> dict[str, Any]:
    shipped: type[ShippedModel] = manager.load(component)
    path = shipped.path()
    document = json.loads(read_document(path))
    return {
        "name": component.name,
        "summary": component.summary,
        "distribution": str(manager.origin(component).distribution),
        "path": str(path),
        "level_of_theory": str(document["level_of_theory"]),
        "basis": str(document["basis"]["name"]),
        "training_frames": int(document["metrics"]["training_frames"]),
        "held_out": {
            str(formula): {"frames": int(errors["frames"])}
            | {name: _figure(errors, part, figure) for name, (part, figure) in FIGURES.items()}
            for formula, errors in document["metrics"]["held_out"]["formulas"].items()
        },
    }


def _figure(errors: Mapping[str, Any], part: str, figure: str) -> float | None:
    return float(errors[part][figure]) if part in errors else None
