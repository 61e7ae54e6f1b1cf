"""Where the dynamics of a run starts: replicas in the heat bath, then replicas whose modes have the right energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from densnet_core.config.dynamics import MDSection
from densnet_core.errors import ConvergenceError
from densnet_core.md.base import MDEngine
from densnet_core.md.equipartition import PIECES, Directions, thermal_replicas
from densnet_core.md.rigid import is_linear
from densnet_core.md.velocities import remove_overall_motion, thermal_velocities
from densnet_core.potentials.base import Potential
from densnet_core.potentials.single_points import single_points
from densnet_core.spectra.harmonic import HarmonicReference, finite_differences, normal_modes
from densnet_core.spectra.optimise import optimise
from densnet_core.stores.dynamics import MDStage, MDState
from densnet_core.structures import Structure
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, HARTREE_TO_EV
from densnet_core.workflow.harmonic import harmonic_record
from densnet_core.workflow.reporter import Reporter

HARMONIC: Final = "harmonic"
"""The document of a production trajectory with the harmonic vibrations of the model that moved it."""
START: Final = "start"
"""The document of a production trajectory that says what energies its modes started with."""
PIECE_FS: Final = 250.0
PIECES_OF_HEATING: Final = 8
"""A piece is no longer than this part of the heating."""
SAMPLE_FS: Final = 2.0
_MAX_FORCE: Final = 1e-5


def thermal_start(structures: Sequence[Structure], temperature: float, seed: int) -> MDState:
    """Replicas of a molecule at its minimum, with Maxwell-Boltzmann velocities."""
    positions, masses = (np.array([getattr(one, name) for one in structures]) for name in ("positions", "masses"))
    linear = is_linear(structures[0].masses, structures[0].positions)
    return MDState(0, positions, thermal_velocities(masses, positions, temperature, seed, linear=linear))


def without_rotation(state: MDState, minimum: Structure) -> MDState:
    """The start of a production run: no overall translation and rotation of any replica."""
    masses, linear = minimum.masses, is_linear(minimum.masses, minimum.positions)
    return MDState(0, state.positions, remove_overall_motion(state.velocities, masses, state.positions, linear))


def model_harmonic(potential: Potential, structure: Structure) -> HarmonicReference:
    """Minimum, Hessian and dipole derivatives of a potential with dipoles, from the minimum near a geometry.

    Raises
    ------
    ConvergenceError
        There is none that the optimisation finds.
    """
    calculate = single_points(potential)
    return finite_differences(calculate, optimise(calculate, structure, max_force=_MAX_FORCE))


def even_start(
    md: MDSection,
    engine: MDEngine,
    potential: Potential,
    minimum: Structure,
    heated: MDState,
    stage: MDStage,
    outputs: tuple[str, ...],
    reporter: Reporter,
) -> tuple[MDState, dict[str, Any]]:
    """Where production starts, from the end of the heating, and documents that say it.

    Without heating, for an atom, or for a molecule whose modes are not found, it is that end without rotation.

    Parameters
    ----------
    minimum : Structure
        Near the minimum of the potential.
    stage : MDStage
        Production.
    outputs : tuple of str
        What production records, if the engine can.
    """
    start = without_rotation(heated, minimum)
    piece = _piece(md, stage)
    if piece is None or minimum.n_atoms == 1:
        return start, {}
    try:
        harmonic = model_harmonic(potential, minimum)
    except ConvergenceError as error:
        reporter.note(
            f"The modes of the model are not known, so their energies are left as the bath gave them: {error}"
        )
        return start, {}
    modes = normal_modes(harmonic)
    linear = is_linear(minimum.masses, minimum.positions)
    directions = Directions(harmonic.structure, modes.eigenvectors, linear)
    advance = reporter.task("energies of the modes", PIECES * piece.n_steps)
    molecules = [minimum] * md.replicas
    engine.prepare(potential, molecules, stage)
    found = thermal_replicas(
        engine,
        potential,
        molecules,
        start,
        piece,
        directions,
        outputs if engine.records_outputs else (),
        lambda done: advance(done, "steps at most"),
    )
    record = {
        "method": "velocities along each normal mode multiplied by one factor for all replicas",
        "pieces": found.pieces,
        "piece_femtosecond": piece.n_steps * piece.time_step * ATOMIC_TIME_TO_FEMTOSECOND,
        "mode_temperatures_kelvin": found.temperatures.tolist(),
        "mode_kinetic_energies_ev": (found.kinetic_energies * HARTREE_TO_EV).tolist(),
    }
    return found.state, {START: record, HARMONIC: harmonic_record(harmonic)}


def _piece(md: MDSection, stage: MDStage) -> MDStage | None:
    """What is run to see the energies; its length depends on the heating and not on the production, which may grow."""
    n_steps = round(min(PIECE_FS, md.nvt_ps * 1000.0 / PIECES_OF_HEATING) / md.time_step_fs)
    if n_steps < 1:
        return None
    every = min(max(1, round(SAMPLE_FS / md.time_step_fs)), n_steps)
    return MDStage("nve", n_steps - n_steps % every, stage.time_step, md.temperature, stage.friction, every, md.seed)
