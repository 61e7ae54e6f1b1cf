"""Trajectories as files of other programs: extended XYZ, and DCD; each file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError, InputError
from densnet_core.plugins.quantity import Quantity
from densnet_core.stores.dcd import DCDWriter
from densnet_core.stores.exporting import BLOCK, whole_file
from densnet_core.stores.extxyz import write_extxyz
from densnet_core.stores.labels import partial_result
from densnet_core.stores.table import REPAIR
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOHR_TO_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]
FORMATS: Final = ".xyz or .extxyz (extended XYZ) or .dcd (DCD)"
FILES: Final = 64
"""Replicas whose files are open at once; the trajectory is gone through again for the next ones."""
_VELOCITIES: Final = {"velocities": Quantity("velocities", "angstrom/fs", "atom", 1, False, False)}


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame of all replicas: atomic units, velocities None where the store has none."""

    step: int
    positions: Array
    potential_energy: float
    kinetic_energy: float
    velocities: Array | None
    dipoles: Array | None


def export_trajectory(store: TrajectoryStore, file: Path, every: int = 1, replica: int | None = None) -> list[Path]:
    """Write the frames of a trajectory; the suffix of the file says the format.

    Parameters
    ----------
    store : TrajectoryStore
    file : Path
    every : int
        Take every so-many-th frame, beginning with the first.
    replica : int or None
        The one that is written, from 0. None: all, those of several in files of their own, ``NAME-0.xyz``, ...

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the format is not known, there is no such replica, or no frame.
    DataError
        If a frame is damaged, or frames of a DCD file would not be at equal times.
    ResourceError
        If a file cannot be written.
    """
    suffix, indices = file.suffix.lower(), range(0, len(store), every)
    if suffix not in (".xyz", ".extxyz", ".dcd"):
        raise InputError(f"{file}: {store.path} is a trajectory; the suffix must be {FORMATS}.")
    if not indices:
        raise InputError(f"{store.path} holds no frames.")
    if replica is not None and not 0 <= replica < store.n_replicas:
        raise InputError(
            f"{store.path} has {store.n_replicas} replicas, counted from 0; there is no replica {replica}."
        )
    replicas = range(store.n_replicas) if replica is None else [replica]
    files = [file if len(replicas) == 1 else file.with_name(f"{file.stem}-{one}{file.suffix}") for one in replicas]
    write = _write_dcd if suffix == ".dcd" else _write_xyz
    for first in range(0, len(replicas), FILES):
        write(store, indices, dict(zip(replicas[first : first + FILES], files[first : first + FILES], strict=True)))
    return files


def _write_dcd(store: TrajectoryStore, indices: range, files: dict[int, Path]) -> None:
    store.check_regular()
    steps = store.steps[indices.start : indices.stop : indices.step].tolist()
    interval = steps[1] - steps[0] if len(steps) > 1 else int(store.stage["record_every"])
    time_step = float(store.stage["time_step"]) * ATOMIC_TIME_TO_FEMTOSECOND
    with ExitStack() as stack:
        writers = {}
        for replica, file in files.items():
            out = stack.enter_context(stack.enter_context(whole_file(file)).open("wb"))
            title = f"DenSNet: {store.structure.formula}, replica {replica}"
            writers[replica] = DCDWriter(
                out, store.structure.n_atoms, len(indices), steps[0], interval, time_step, title
            )
        for frame in _frames(store, indices):
            for replica, writer in writers.items():
                writer.write(frame.positions[replica] * BOHR_TO_ANGSTROM)


def _write_xyz(store: TrajectoryStore, indices: range, files: dict[int, Path]) -> None:
    with ExitStack() as stack:
        outs = {
            replica: stack.enter_context(stack.enter_context(whole_file(file)).open("w", encoding="utf-8"))
            for replica, file in files.items()
        }
        for frame in _frames(store, indices):
            for replica, out in outs.items():
                _write_xyz_frame(store, frame, replica, out)


def _write_xyz_frame(store: TrajectoryStore, frame: _Frame, replica: int, out: TextIO) -> None:
    labels: dict[str, Any] = {}
    keys = {
        "step": str(frame.step),
        "time": repr(frame.step * float(store.stage["time_step"]) * ATOMIC_TIME_TO_FEMTOSECOND),
        "time_unit": "fs",
        "replica": str(replica),
    }
    # The store has sums over the replicas, which are the energies of one molecule only if there is one.
    of_all = "" if store.n_replicas == 1 else "_of_all_replicas"
    keys |= {f"kinetic_energy{of_all}": repr(frame.kinetic_energy * HARTREE_TO_EV)}
    keys |= {f"kinetic_energy{of_all}_unit": "eV"}
    if of_all:
        keys |= {f"potential_energy{of_all}": repr(frame.potential_energy * HARTREE_TO_EV)}
        keys |= {f"potential_energy{of_all}_unit": "eV"}
    else:
        labels["energy"] = frame.potential_energy
    if frame.dipoles is not None:
        labels["dipole"] = frame.dipoles[replica]
    more = {}
    if frame.velocities is not None:
        more["velocities"] = frame.velocities[replica] * (BOHR_TO_ANGSTROM / ATOMIC_TIME_TO_FEMTOSECOND)
    structure = store.structure.with_positions(frame.positions[replica])
    write_extxyz(out, [(structure, partial_result(labels, more=more))], _VELOCITIES, **keys)


def _frames(store: TrajectoryStore, indices: range) -> Iterator[_Frame]:
    """Frames in their order, each against its checksum; ``DataError`` at one that is damaged."""
    table = store.frame_table
    dipoles = store.dipoles()
    end = store.restart()
    for start in range(0, indices.stop, BLOCK):
        chosen = [index for index in range(start, min(start + BLOCK, indices.stop)) if index in indices]
        if not chosen:
            continue
        block = table.block(chosen[0], chosen[-1] + 1)
        for index in chosen:
            rows = block[index - chosen[0]]
            if not table.is_sound(rows):
                raise DataError(f"Frame {index} of {store.path} is damaged; {REPAIR}")
            step = int(rows["steps"])
            yield _Frame(
                step,
                rows["positions"],
                float(rows["potential_energy"]),
                float(rows["kinetic_energy"]),
                end.velocities if end is not None and end.step == step else None,
                dipoles[index] if np.isfinite(dipoles[index]).all() else None,
            )
