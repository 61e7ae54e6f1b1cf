"""Vibrations of one molecule with a model or a reference backend, without a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.config.vibrations import VibrationOptions
from densnet_core.errors import DataError, InputError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.shipped import model_path
from densnet_core.potentials.single_points import single_points
from densnet_core.reference.checks import check_structure
from densnet_core.reference.level import LevelOfTheory
from densnet_core.spectra.harmonic import finite_differences
from densnet_core.spectra.optimise import Calculate, energy_and_gradient, optimise
from densnet_core.spectra.vibrations import Vibrations, vibrations
from densnet_core.stores.molecules import structure_record
from densnet_core.structures import Structure
from densnet_core.workflow.folder import RunFolder, key_of
from densnet_core.workflow.keys import code_of, weights_digest
from densnet_core.workflow.labels import calculator, open_store
from densnet_core.workflow.observables import refuse_unlike
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.stores import backend_factory, default_executor
from densnet_core.workflow.vibration_files import FILES, compared, read_modes, summary, write_vibrations

Record = dict[str, Any]

_CHANGE_NO_CALCULATION: Final = {"temperature", "pressure", "symmetry_number", "width"}


def vibrations_of_model(
    path: Path,
    structure: Structure,
    options: VibrationOptions,
    output: Path,
    reporter: Reporter,
    *,
    strict: bool = False,
    compare: Path | None = None,
) -> Record:
    """Vibrations of a molecule with a trained model, written into a folder; what is printed of them.

    With Raman activities, if the model predicts polarizabilities.

    Parameters
    ----------
    path : Path
        The model.
    output : Path
        The folder; what of another molecule, source or setting lies in it is set aside.
    strict : bool
        Refuse a geometry unlike those that the model was trained on.
    compare : Path or None
        ``modes.json`` of another source.

    Raises
    ------
    InputError
        The model does not know the molecule, or its geometry with ``strict``, or Raman activities are asked for that
        it cannot give.
    ConvergenceError
        The optimisation does not converge.
    """
    path = model_path(path)
    model = DenSNet.load(path)
    model.check([structure])
    if options.raman and "polarizability" not in model.outputs:
        raise InputError(
            f"{path} predicts no polarizabilities, so it has no Raman activities. Train a model with [density] options "
            "= { response = true }."
        )
    source = {"kind": "model", "path": str(path.absolute()), **model.metadata()}
    other = None if compare is None else read_modes(compare, structure)
    folder, key = RunFolder(output), _key(structure, options.model_copy(update={"raman": False}), weights_digest(path))

    def unlike(geometry: Structure) -> Record:
        found = model.extrapolation([geometry])
        if strict:
            refuse_unlike(model, found)
        return {"extrapolation": {"score": found[0].score, "reasons": list(found[0].reasons)}}

    with folder.locked():
        _claim(folder, key, reporter)
        calculate = single_points(model, reporter.task("calculations", 0), polarizabilities=True)
        found, more = _located(calculate, structure, options, unlike)
        return _written(found, {"source": source, **more}, folder, options, other)


def vibrations_of_backend(
    backend: str,
    level: LevelOfTheory,
    structure: Structure,
    options: VibrationOptions,
    output: Path,
    reporter: Reporter,
    *,
    compare: Path | None = None,
) -> Record:
    """The same at a level of theory; every calculation is kept in a store there as soon as it ends.

    Killed and called again, it computes what is not there yet.

    Raises
    ------
    InputError, PluginError
        There is no such backend, or it cannot compute the molecule.
    ConvergenceError
        An SCF or the optimisation does not converge.
    """
    manager = get_manager()
    component = manager.find(Kind.REFERENCE, backend)
    factory = backend_factory(backend, level)
    if options.raman:
        factory = replace(factory, properties=("polarizability",))
    check_structure(structure, factory.make().orbital_basis(np.unique(structure.numbers)))
    other = None if compare is None else read_modes(compare, structure)
    folder = RunFolder(output)
    key = _key(structure, options, backend, str(level), code_of(component, manager))
    store_path = output / f"{slug(backend, level)}{'-polarizability' if options.raman else ''}.zarr"
    with folder.locked():
        _claim(folder, key, reporter)
        with open_store(store_path, factory, backend) as store:
            calculate = calculator(store, factory, default_executor(), reporter.task("calculations", 0))
            found, _ = _located(calculate, structure, options, lambda geometry: {})
            if options.raman and found.harmonic.polarizability_derivatives is None:
                raise DataError(f"{store_path} has frames without a polarizability; remove it to have them made again.")
            source = {"kind": "backend", "name": backend, "level_of_theory": str(level), "versions": store.versions}
        return _written(found, {"source": source}, folder, options, other) | {"store": str(store_path)}


def slug(backend: str, level: LevelOfTheory) -> str:
    """Backend and level of theory as part of a file name."""
    return f"{backend}-{level}".replace("/", "-").replace(" ", "_")


def _located(
    calculate: Calculate, structure: Structure, options: VibrationOptions, judge: Callable[[Structure], Record]
) -> tuple[Vibrations, Record]:
    """Vibrations at the minimum, or where the molecule is, and what ``judge`` says of that geometry."""
    if options.optimise:
        structure = optimise(
            calculate, structure, max_force=options.max_force, max_calculations=options.max_calculations
        )
    judgement = judge(structure)
    _, gradient = energy_and_gradient(calculate, structure)
    harmonic = finite_differences(calculate, structure, displacement=options.displacement)
    found = vibrations(
        harmonic,
        float(np.abs(gradient).max()),
        temperature=options.temperature,
        pressure=options.pressure,
        symmetry_number=options.symmetry_number,
    )
    return found, judgement


def _written(
    found: Vibrations, more: Record, folder: RunFolder, options: VibrationOptions, other: Record | None
) -> Record:
    record = {**summary(found), **more}
    if other is not None:
        record["comparison"] = compared(found, other)
    return write_vibrations(found, record, folder.root, options.width, other)


def _key(structure: Structure, options: VibrationOptions, *source: Any) -> str:
    # keys of before there was such an option have none
    without = _CHANGE_NO_CALCULATION if options.raman else _CHANGE_NO_CALCULATION | {"raman"}
    settings = options.model_dump(mode="json", exclude=without)
    return key_of(structure_record(structure), settings, *source)


def _claim(folder: RunFolder, key: str, reporter: Reporter) -> None:
    """Set aside what another molecule, source or setting left in the folder."""
    aside = [moved for name in FILES if (moved := folder.own(folder.root / name, key)) is not None]
    if aside:
        names = ", ".join(path.name for path in aside)
        reporter.note(f"Results of another molecule, source or setting are kept as {names} in {folder.root}.")
