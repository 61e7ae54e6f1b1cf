"""Dynamics of a run: heating, production at constant energy, and the dipoles of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from densnet_core import __version__
from densnet_core.config.dynamics import MDSection
from densnet_core.errors import InputError
from densnet_core.md.base import MDEngine
from densnet_core.md.runner import run_stage
from densnet_core.md.watch import Watch
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.shipped import model_path
from densnet_core.potentials.threads import torch_threads
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.stores.molecules import structure_record
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND
from densnet_core.workflow.folder import RunFolder, has_store, key_of
from densnet_core.workflow.keys import code_of, weights_digest
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.thermal import even_start, thermal_start

HEATING_RECORD_STEPS = 100
OF_SPECTRUM = "dipole"
"""What production records with its frames, for the spectrum."""
BLOCK_STEPS = 400
"""Steps between commits: what a killed run does again at most."""


def production_stage(md: MDSection) -> MDStage:
    """The piece at constant energy."""
    return _stage(md, "nve", md.nve_ps, md.record_every)


def heating_stage(md: MDSection) -> MDStage:
    """The piece in the heat bath; few frames are recorded, because each costs one more evaluation of the forces."""
    return _stage(md, "nvt", md.nvt_ps, HEATING_RECORD_STEPS)


def _stage(md: MDSection, ensemble: str, picoseconds: float, record_every: int) -> MDStage:
    n_steps = round(picoseconds * 1000.0 / md.time_step_fs)
    record_every = max(1, min(record_every, n_steps))
    return MDStage(
        ensemble,
        n_steps - n_steps % record_every,
        md.time_step_fs / ATOMIC_TIME_TO_FEMTOSECOND,
        md.temperature,
        md.friction_per_ps * ATOMIC_TIME_TO_FEMTOSECOND / 1000.0,
        record_every,
        md.seed,
    )


def heat_and_run(
    md: MDSection,
    engine: MDEngine,
    potential: Potential,
    minimum: Structure,
    paths: tuple[Path, Path],
    provenance: Mapping[str, Any],
    reporter: Reporter,
) -> None:
    """Heating and production of replicas of a molecule with dipoles, each piece into a store or from where it stopped.

    Parameters
    ----------
    paths : pair of Path
        The stores of both pieces. A production that is too short is extended; one that is too long is set aside.
    provenance : mapping
        What the stores say about how they came about.
    """
    outputs = to_record(md, engine, potential)
    molecules, (heating, production) = [minimum] * md.replicas, paths
    provenance = {**provenance, "densnet-core": __version__}
    _set_longer_aside(production, production_stage(md), reporter)
    with torch_threads(1):
        run = partial(
            integrate, engine=engine, potential=potential, structures=molecules, provenance=provenance, strict=md.strict
        )
        state, stage = thermal_start(molecules, md.temperature, md.seed), heating_stage(md)
        if stage.n_steps:
            state = run(heating, stage=stage, start=state, description="heating", reporter=reporter)
        stage = production_stage(md)
        documents: dict[str, Any] = {}
        if not _begun(production):
            state, documents = even_start(md, engine, potential, minimum, state, stage, outputs, reporter)
        run = partial(run, description="production", documents=documents, outputs=outputs)
        run(production, stage=stage, start=state, reporter=reporter)
        add_dipoles(production, potential, reporter)


def to_record(md: MDSection, engine: MDEngine, potential: Potential) -> tuple[str, ...]:
    """The outputs of the potential that production records; asked before anything is set aside.

    Raises
    ------
    InputError
        The potential has no output that is to be recorded, or the engine records none.
    """
    if unknown := sorted(set(md.record) - potential.outputs):
        known = ", ".join(sorted(potential.outputs))
        raise InputError(f"record: the model gives no {', '.join(unknown)}; it gives {known}.")
    if md.record and not engine.records_outputs:
        raise InputError(
            f"record: the engine {md.engine!r} does not record {', '.join(md.record)} by the call that gives the "
            "forces. Take the engine torch or ase, or the route 'python' of openmm."
        )
    return tuple(dict.fromkeys([OF_SPECTRUM, *md.record]))


def _begun(path: Path) -> bool:
    """Whether there is a trajectory to go on with."""
    if not has_store(path):
        return False
    with TrajectoryStore.open(path) as store:
        return store.restart() is not None


def _set_longer_aside(path: Path, stage: MDStage, reporter: Reporter) -> None:
    if not has_store(path):
        return
    with TrajectoryStore.open(path) as store:
        n_steps = int(store.steps[-1]) if len(store) else 0
    if n_steps > stage.n_steps:
        aside = path.with_name(f"{path.stem}-{n_steps}-steps{path.suffix}")
        while aside.exists():
            aside = aside.with_name(f"{aside.stem}-older{path.suffix}")
        path.rename(aside)
        reporter.note(f"{path.name} is longer than asked for and is kept as {aside}.")


def integrate(
    path: Path,
    engine: MDEngine,
    potential: Potential,
    structures: Sequence[Structure],
    stage: MDStage,
    start: MDState,
    provenance: Mapping[str, Any],
    description: str,
    reporter: Reporter,
    strict: bool = False,
    documents: Mapping[str, Mapping[str, Any]] | None = None,
    outputs: tuple[str, ...] = (),
) -> MDState:
    """Run a stage into a trajectory store, or continue the one that is there; returns the end.

    Frames unlike those that the potential was made from are told, or with ``strict`` end it.

    ``structures`` are replicas of one molecule: the store keeps one set of masses. ``documents`` are kept with it,
    and so are ``outputs`` of the potential if the engine can record them.
    """
    molecule = structures[0]
    if not all(np.array_equal(other.masses, molecule.masses) for other in structures):
        raise InputError(f"Replicas of {molecule.formula} with other isotopes need a trajectory of their own.")
    if has_store(path):
        store = TrajectoryStore.open(path, writable=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        store = TrajectoryStore.create(path, molecule, len(structures), stage, dict(provenance))
    with store:
        store.lengthen(stage)
        for name, document in (documents or {}).items():
            store.write_document(name, document)
        advance = reporter.task(description, stage.n_steps)
        watch = Watch(potential, structures, store.append, reporter.note, strict)
        end = run_stage(
            engine,
            potential,
            structures,
            stage,
            start,
            watch,
            store.restart(),
            lambda done: advance(done, "steps"),
            max(1, BLOCK_STEPS // stage.record_every),
            outputs if engine.records_outputs else (),
        )
        watch.end()
        return end


def add_dipoles(path: Path, potential: Potential, reporter: Reporter) -> None:
    """Dipoles of the frames that were recorded without, from the predicted density, kept with the trajectory."""
    with TrajectoryStore.open(path, writable=True) as store:
        dipoles = store.dipoles()
        missing = np.flatnonzero(~np.isfinite(dipoles).all(axis=(1, 2)))
        if not missing.size:
            return
        advance = reporter.task("dipoles of the predicted densities", missing.size)
        bound = BoundPotential(potential, [store.structure] * store.n_replicas)
        bound.compile_for(missing.size)
        for first in range(missing[0], len(store), BLOCK_STEPS):
            part = store.positions(slice(first, first + BLOCK_STEPS))
            for place in missing[(missing >= first) & (missing < first + len(part))]:
                dipoles[place] = bound.evaluate(part[place - first], ("dipole",))["dipole"]
            advance(int((missing < first + len(part)).sum()), "frames")
        store.set_array(DIPOLES, dipoles, "e bohr", "(n_frames, n_replicas, 3) dipole moment of each replica")


def run_model(path: Path, structure: Structure, md: MDSection, output: Path, reporter: Reporter) -> Path:
    """Dynamics of a molecule with a model, without a configuration; the path of the production trajectory.

    A second call goes on where the first was killed, and extends the trajectory if it is to be longer; what belongs to
    another model, molecule or setting is set aside.

    Parameters
    ----------
    path : Path
        The model, or the name of a shipped one.
    output : Path
        The directory of both trajectories.
    """
    manager, folder = get_manager(), RunFolder(output)
    path = model_path(path)
    model = DenSNet.load(path)
    component = manager.find(Kind.MD_ENGINE, md.engine)
    options = manager.options(component, md.options, where="md.options")
    engine = manager.load(component)(options)
    settings = md.model_dump(mode="json", exclude={"nve_ps"})
    key = key_of(weights_digest(path), structure_record(structure), settings, code_of(component, manager))
    provenance = {"model": str(path.absolute()), "engine": {"name": md.engine, **options.model_dump(mode="json")}}
    to_record(md, engine, model)
    with folder.locked():
        for place in (folder.heating, folder.production):
            if (aside := folder.own(place, key)) is not None:
                reporter.note(f"{place.name} of another model, molecule or setting is kept as {aside}.")
        heat_and_run(md, engine, model, structure, (folder.heating, folder.production), provenance, reporter)
    return folder.production
