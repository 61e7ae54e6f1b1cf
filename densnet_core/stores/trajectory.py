"""The store of a molecular-dynamics stage: recorded frames of all replicas and the state to restart from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError, InputError
from densnet_core.stores.arrays import Column
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.derived import DERIVED, read_derived, write_derived
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.folder import FRAMES, StoreFolder, checked_name, groups_in
from densnet_core.stores.labels import unit_of
from densnet_core.stores.molecules import structure_from, structure_record
from densnet_core.stores.records import read_group, write_group
from densnet_core.stores.restart import (
    LOST,
    create_restart,
    drop_unused_slots,
    last_step,
    read_restart,
    write_restart,
)
from densnet_core.stores.table import Table
from densnet_core.structures import Structure

Array = NDArray[np.float64]
CHUNK_BYTES: Final = 512 * 1024
DIPOLES: Final = "dipoles"
"""The derived array (n_frames, n_replicas, 3) of dipoles that were computed after the dynamics, e bohr."""
_OBSERVABLE: Final = "observable_"


class TrajectoryStore(StoreFolder):
    """Frames of ``n_replicas`` copies of one molecule, atomic units.

    A commit adds frames and replaces the restart state together, so that after any interruption the state is the one
    at the end of the last frame. Opened for reading, it shows the frames committed at that moment.
    """

    kind = "trajectory"

    def __init__(self, path: Path, lock: WriterLock | None) -> None:
        super().__init__(path, lock)
        try:
            self.structure = structure_from(self.attributes["structure"])
            self.n_replicas = int(self.attributes["n_replicas"])
            self.stage: dict[str, Any] = dict(self.attributes["stage"])
            self.provenance: dict[str, Any] = dict(self.attributes["provenance"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"The root attributes of {path} are damaged: {error!r}.") from error
        self.frame_table = Table(
            self.zarr,
            FRAMES,
            _columns(self.n_replicas, self.structure.n_atoms),
            lock,
            sweep=lambda attributes: drop_unused_slots(self.zarr, attributes.get("restart")),
        )
        last_step(self.frame_table.attributes.get("restart"))
        self._tables.append(self.frame_table)

    @classmethod
    def create(
        cls,
        path: str | Path,
        structure: Structure,
        n_replicas: int,
        stage: MDStage,
        provenance: Mapping[str, Any],
    ) -> Self:
        """Create an empty store and open it for writing.

        Parameters
        ----------
        path : path
        structure : Structure
            The molecule; its positions are those of reference, not of a frame.
        n_replicas : int
        stage : MDStage
            The stage recorded (its fields go into the store; times in atomic units).
        provenance : mapping
            Plain JSON: model, engine, versions.

        Raises
        ------
        DataError
            If the folder is not empty or cannot be written.
        """
        if n_replicas < 1:
            raise InputError(f"A trajectory needs at least one replica, not {n_replicas}.")

        def build(zarr_store: DurableStore, lock: WriterLock) -> dict[str, Any]:
            cls._make_parts(zarr_store, lock, n_replicas, structure.n_atoms)
            return {
                "structure": structure_record(structure),
                "n_replicas": int(n_replicas),
                "stage": asdict(stage),
                "provenance": dict(provenance),
                "units": "Hartree atomic units, temperature in kelvin; every array names its own",
            }

        return cls._create(path, build)

    @staticmethod
    def _make_parts(zarr_store: DurableStore, lock: WriterLock, n_replicas: int, n_atoms: int) -> None:
        create_restart(zarr_store, n_replicas, n_atoms)
        write_group(Path(zarr_store.root) / DERIVED, {})
        Table.create(zarr_store, FRAMES, _columns(n_replicas, n_atoms), lock, {"restart": None})

    def _make_parts_again(self, zarr_store: DurableStore, lock: WriterLock) -> None:
        self._make_parts(zarr_store, lock, self.n_replicas, self.structure.n_atoms)

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "reading"
        return (
            f"TrajectoryStore({str(self.path)!r}: {len(self)} frames of {self.n_replicas} x {self.structure.formula}, "
            f"{self.stage.get('ensemble', '?')}, {mode})"
        )

    # Writing

    def append(self, frames: MDFrames) -> None:
        """Add a block of frames with their observables and replace the restart state, in one commit.

        Raises
        ------
        InputError
            If a shape is wrong, a value is not finite, or the steps do not follow those already stored. Nothing is
            written then.
        """
        self._writer()
        self._check(frames)
        self.frame_table.make_untidy()
        restart = write_restart(self.zarr, self.frame_table.attributes.get("restart"), frames.end)
        rows = [
            {
                "steps": np.asarray(step, np.int64),
                "positions": np.asarray(positions, np.float64),
                "potential_energy": np.asarray(potential, np.float64),
                "kinetic_energy": np.asarray(kinetic, np.float64),
            }
            for step, positions, potential, kinetic in zip(
                frames.steps, frames.positions, frames.potential_energy, frames.kinetic_energy, strict=True
            )
        ]
        names = {_OBSERVABLE + name: np.asarray(values, np.float64) for name, values in frames.observables.items()}
        for name, values in names.items():
            for row, value in zip(rows, values, strict=True):
                row[name] = value[None]
        new = [_observable(name, values.shape[1:]) for name, values in names.items() if name not in self._recorded()]
        self.frame_table.append(rows, new, restart=restart)

    def lengthen(self, stage: MDStage) -> None:
        """Let the store be of a stage that differs from the one it was made for by more steps.

        Raises
        ------
        DataError
            The stages differ in anything else.
        """
        wanted = asdict(stage)
        if self.stage == wanted:
            return
        if {**self.stage, "n_steps": 0} != {**wanted, "n_steps": 0} or stage.n_steps < int(self.stage["n_steps"]):
            raise DataError(
                f"{self.path} is of another stage of dynamics: {self.stage}, not {wanted}. Give another path."
            )
        self._update_root(stage=wanted)
        self.stage = wanted

    def set_array(self, name: str, values: NDArray[Any], unit: str, meaning: str = "") -> None:
        """Keep a quantity derived from the frames, replacing an earlier one of that name, in one commit.

        Parameters
        ----------
        name : str
        values : (n_frames, ...) array of real numbers
            For example dipoles (n_frames, n_replicas, 3).
        unit : str
        meaning : str
            Shape and meaning, for people.

        Raises
        ------
        InputError
            If there is not one row per frame or a value is not finite.
        """
        self._writer()
        values = np.asarray(values)
        if values.ndim < 1 or len(values) != len(self):
            raise InputError(f"{name} needs a row for each of the {len(self)} frames; its shape is {values.shape}.")
        write_derived(self.zarr, checked_name(name), values, unit, meaning)

    # Reading

    def observable_names(self) -> list[str]:
        """What was recorded with the frames by the call that gave their forces, sorted."""
        return sorted(name.removeprefix(_OBSERVABLE) for name in self._recorded())

    def observable(self, name: str) -> Array:
        """(n_frames, ...) an observable of ``observable_names``; NaN in frames that were recorded without it.

        Raises
        ------
        DataError
            If none of that name was recorded; the message lists those that were.
        """
        column = self._recorded().get(_OBSERVABLE + name)
        if column is None:
            known = ", ".join(self.observable_names()) or "none"
            raise DataError(f"{self.path} has no observable {name!r}; it has: {known}.")
        has = np.diff(self.frame_table.whole(f"{column.name}_offsets")) > 0
        values = np.full((len(self), *column.shape), np.nan)
        values[has] = self.frame_table.read_uncached(column.name, 0, self.frame_table.rows_of(column.name))
        return values

    def observable_unit(self, name: str) -> str:
        """Unit of an observable."""
        return self._recorded()[_OBSERVABLE + name].unit

    def dipoles(self) -> Array:
        """(n_frames, n_replicas, 3) e bohr, recorded with the forces or computed afterwards; NaN: there is none."""
        found = np.full((len(self), self.n_replicas, 3), np.nan)
        if "dipole" in self.observable_names():
            found = self.observable("dipole")
        later = self.array(DIPOLES) if DIPOLES in self.array_names() else found[:0]
        found[: len(later)] = np.where(np.isnan(found[: len(later)]), later, found[: len(later)])
        return found

    @property
    def recorded_columns(self) -> tuple[Column, ...]:
        """The columns of the observables."""
        return tuple(self._recorded().values())

    def _recorded(self) -> dict[str, Column]:
        return {
            name: one for name, one in self.frame_table.columns.items() if name.startswith(_OBSERVABLE) and one.optional
        }

    @property
    def steps(self) -> NDArray[np.int64]:
        """(n_frames,) steps since the start of the stage."""
        return np.array(self.frame_table.whole("steps"))

    @property
    def potential_energy(self) -> Array:
        """(n_frames,) potential energy, sum over the replicas, hartree."""
        return np.array(self.frame_table.whole("potential_energy"))

    @property
    def kinetic_energy(self) -> Array:
        """(n_frames,) kinetic energy, sum over the replicas, hartree."""
        return np.array(self.frame_table.whole("kinetic_energy"))

    def positions(self, frames: slice | None = None) -> Array:
        """(n, n_replicas, n_atoms, 3) positions of a slice of the frames (all if not given), bohr.

        Read from the disk at every call, so that a long trajectory can be gone through in blocks.
        """
        start, stop, stride = (frames or slice(None)).indices(len(self))
        if stride < 1:
            raise InputError(f"Frames are read forwards; the stride {stride} is not positive.")
        return self.frame_table.read_uncached("positions", start, max(stop, start))[::stride]

    def check_regular(self) -> None:
        """Refuse a trajectory with a gap where an analysis needs frames at equal times.

        Raises
        ------
        DataError
            Naming the steps between which frames are missing, as after a repair.
        """
        steps = self.steps
        gaps = np.flatnonzero(np.diff(steps) != np.diff(steps[:2]).sum())
        if gaps.size:
            raise DataError(
                f"{self.path} has no frames between the steps {steps[gaps[0]]} and {steps[gaps[0] + 1]}; a repair may "
                "have taken them out. Run the dynamics anew."
            )

    def restart(self) -> MDState | None:
        """The state at the end of the last frame; None before the first commit.

        Raises
        ------
        DataError
            If the stored state is damaged.
        """
        record = self.frame_table.attributes.get("restart")
        return None if record is None else read_restart(self.zarr, record)

    def array(self, name: str) -> NDArray[Any]:
        """A quantity stored by ``set_array``, (n_frames at that time, ...).

        Raises
        ------
        DataError
            If there is none of that name; the message lists those there are.
        """
        if name not in self.array_names():
            known = ", ".join(self.array_names()) or "none"
            raise DataError(f"{self.path} has no array {name!r}; it has: {known}.")
        return read_derived(self.zarr, name)

    def array_unit(self, name: str) -> str:
        """Unit of a quantity stored by ``set_array``."""
        return str(read_group(self.path / DERIVED / checked_name(name)).get("unit", "?"))

    def array_names(self) -> list[str]:
        """Names of the quantities stored by ``set_array``."""
        return groups_in(self.path / DERIVED)

    def info(self) -> dict[str, Any]:
        """Plain summary of the store for ``densnet data info --json``; keys name their units."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "format_version": self.attributes["format_version"],
            "frames": len(self),
            "replicas": self.n_replicas,
            "formula": self.structure.formula,
            "stage": self.stage,
            "last_step": last_step(self.frame_table.attributes.get("restart")),
            "observables": {name: self.observable_unit(name) for name in self.observable_names()},
            "arrays": {name: self.array_unit(name) for name in self.array_names()},
            "provenance": self.provenance,
            "documents": self.document_names(),
            "size_bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
        }

    def _check(self, frames: MDFrames) -> None:
        n_frames = len(frames.steps)
        shape = (self.n_replicas, self.structure.n_atoms, 3)
        expected = {
            "steps": (frames.steps, (n_frames,)),
            "positions": (frames.positions, (n_frames, *shape)),
            "potential_energy": (frames.potential_energy, (n_frames,)),
            "kinetic_energy": (frames.kinetic_energy, (n_frames,)),
            "end.positions": (frames.end.positions, shape),
            "end.velocities": (frames.end.velocities, shape),
        }
        for name, recorded in frames.observables.items():
            if not (name.isascii() and name.isidentifier()):
                raise InputError(f"An observable is named by letters, digits and _, not {name!r}.")
            known = self._recorded().get(_OBSERVABLE + name)
            one = np.shape(recorded)[1:] if known is None else known.shape
            expected[f"observable {name}"] = (recorded, (n_frames, *one))
        for name, (values, wanted) in expected.items():
            if np.shape(values) != wanted:
                raise InputError(f"{name} of the frames must have shape {wanted}, not {np.shape(values)}.")
            if not np.isfinite(values).all():
                raise InputError(f"{name} of the frames is not finite; the dynamics has failed before.")
        record = self.frame_table.attributes.get("restart")
        if record is not None and LOST in record:
            self.restart()  # says that there is nothing to continue from
        step = last_step(record)
        last = -1 if step is None else step
        steps = [int(step) for step in frames.steps]
        # A first block may start at step 0 or later; a later block only after the state stored with the last one.
        if any(after <= before for before, after in zip([last, *steps], steps, strict=False)):
            raise InputError(
                f"Steps must ascend from {last + 1} on (the store is at step {last}); found {steps[:5]}..."
            )
        if frames.end.step < max([last, *steps]):
            raise InputError(f"The end state is at step {frames.end.step}, before the last frame of its block.")


def _observable(name: str, shape: tuple[int, ...]) -> Column:
    """An optional column: a frame has one row of it, or none."""
    rows = max(1, CHUNK_BYTES // (8 * max(1, int(np.prod(shape)))))
    meaning = f"(n_frames with it, {', '.join(map(str, shape))}); of all replicas, by the call that gave the forces"
    return Column(name, "<f8", unit_of(name.removeprefix(_OBSERVABLE)), meaning, shape, name, min(rows, 4096))


def _columns(n_replicas: int, n_atoms: int) -> tuple[Column, ...]:
    shape = (n_replicas, n_atoms, 3)
    energy = "(n_frames,); {} energy, sum over the replicas"
    rows = max(1, CHUNK_BYTES // (8 * n_replicas * n_atoms * 3))
    return (
        Column("steps", "<i8", "1", "(n_frames,); time steps since the start of the stage", chunk_rows=4096),
        Column("positions", "<f8", "bohr", "(n_frames, n_replicas, n_atoms, 3)", shape, chunk_rows=rows),
        Column("potential_energy", "<f8", "hartree", energy.format("potential"), chunk_rows=4096),
        Column("kinetic_energy", "<f8", "hartree", energy.format("kinetic"), chunk_rows=4096),
    )
