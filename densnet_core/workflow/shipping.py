"""Trained models made ready to be carried by a distribution, and what is told of those that are carried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.shipped import CHECKS, ShippedModel
from densnet_core.stores.molecules import structure_record
from densnet_core.stores.packages import read_package

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
    """The last part of every absolute path, in keys and texts."""
    if isinstance(value, dict):
        return {_without_paths(key): _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


@dataclass(frozen=True)
class ModelCard:
    """What a shipped model says of itself.

    Parameters
    ----------
    name, summary, distribution : str
    path : Path
    document : mapping
        Of its package.
    """

    name: str
    summary: str
    distribution: str
    path: Path
    document: Mapping[str, Any]

    @property
    def formulas(self) -> dict[str, dict[str, Any]]:
        """Errors on held-out frames by formula."""
        found: dict[str, dict[str, Any]] = self.document["metrics"].get("held_out", {}).get("formulas", {})
        return found


def model_cards(manager: Manager | None = None) -> tuple[list[ModelCard], list[str]]:
    """The shipped models that are installed, read without torch; and in words what is wrong with others, or lacking."""
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
            shipped: type[ShippedModel] = manager.load(component)
            path = shipped.path()
            document = _document(path)
        except DenSNetError as error:
            problems.append(f"{component.name}: {error}")
        else:
            where = str(manager.origin(component).distribution)
            cards.append(ModelCard(component.name, component.summary, where, path, document))
    return cards, problems


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_package(path)[0])
    except (ValueError, RecursionError) as error:
        raise DataError(f"The model.json of {path} is no JSON: {error}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("metrics"), dict):
        raise DataError(f"The model.json of {path} is not that of a model.")
    return document
