"""The store of labelled frames: geometries with energies, forces, dipoles and occupied orbitals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.density.method import FitMetric, Moment
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import Quantity as FittedQuantity
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.failures import Failure, read_failure, remove_failure, write_failure
from densnet_core.stores.fits import Fit, create_fit_table
from densnet_core.stores.folder import FRAMES, StoreFolder, checked_name, groups_in
from densnet_core.stores.labels import LABELS, MissingLabelError, announced_quantities, partial_result
from densnet_core.stores.layout import (
    COLUMNS,
    FORMAT,
    OF_STRUCTURE,
    FrameTable,
    column_name,
    frame_rows,
    label_name,
    label_values,
    optional_column,
    structure_of,
)
from densnet_core.stores.older import OLDER_COLUMNS, OlderFrameTable
from densnet_core.stores.quantities import common_quantities, quantities_from, quantities_record
from densnet_core.stores.records import write_group
from densnet_core.stores.summary import summary
from densnet_core.stores.table import Frame
from densnet_core.structures import Structure


class ReferenceStore(StoreFolder):
    """Labelled frames of one level of theory, with the density fits made from them.

    >>> with ReferenceStore.create("water.zarr", LevelOfTheory.parse("PBE/def2-SVP"), "pyscf", {}) as store:
    ...     store.set_orbital_basis(backend.orbital_basis(structure.numbers))
    ...     store.append([(structure, backend.compute(structure))])

    Opened for reading, it shows the frames committed at that moment.
    """

    kind = "reference"
    format_versions = (*OLDER_COLUMNS, FORMAT)

    def __init__(self, path: Path, lock: WriterLock | None) -> None:
        super().__init__(path, lock)
        version = self.attributes["format_version"]
        self.frame_table: FrameTable = (
            FrameTable(self.zarr, FRAMES, COLUMNS, lock)
            if version == FORMAT
            else OlderFrameTable(self.zarr, FRAMES, OLDER_COLUMNS[version], lock)
        )
        self._tables.append(self.frame_table)
        self._index: dict[bytes, int] | None = None
        self._fits: dict[str, Fit] = {}
        try:
            level = self.attributes["level_of_theory"]
            self.level = LevelOfTheory(level["method"], level["basis"], level["dispersion"])
            if not all(isinstance(part, str) or part is None for part in level.values()):
                raise ValueError(f"level of theory {level!r}")
            self.backend = str(self.attributes["backend"])
            self.versions: dict[str, str] = dict(self.attributes["versions"])
            programs = self.frame_table.attributes["provenance"]
            if not isinstance(programs, list) or not all(isinstance(program, dict) for program in programs):
                raise ValueError(f"provenance must be a list of tables, not {programs!r}")
            _ = self.quantities
            if self.attributes["orbital_basis"] is not None:
                GaussianBasis.from_dict(self.attributes["orbital_basis"])
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise DataError(f"The root attributes of {path} are damaged: {error!r}.") from error

    @classmethod
    def create(cls, path: str | Path, level: LevelOfTheory, backend: str, versions: Mapping[str, str]) -> Self:
        """Create an empty store and open it for writing.

        Raises
        ------
        DataError
            If the folder is not empty or cannot be written.
        """

        def build(zarr_store: DurableStore, lock: WriterLock) -> dict[str, Any]:
            cls._make_parts(zarr_store, lock)
            return {
                "level_of_theory": {"method": level.method, "basis": level.basis, "dispersion": level.dispersion},
                "backend": backend,
                "versions": dict(versions),
                "orbital_basis": None,
                "units": "Hartree atomic units; every array names its own",
            }

        return cls._create(path, build)

    @staticmethod
    def _make_parts(zarr_store: DurableStore, lock: WriterLock) -> None:
        for part in ("fits", "failures"):
            write_group(Path(zarr_store.root) / part, {})
        FrameTable.create(zarr_store, FRAMES, COLUMNS, lock, {"provenance": [], "quantities": {}})

    def _make_parts_again(self, zarr_store: DurableStore, lock: WriterLock) -> None:
        self._make_parts(zarr_store, lock)

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "reading"
        return f"ReferenceStore({str(self.path)!r}: {len(self)} frames, {self.level}, {self.backend}, {mode})"

    # Writing

    def append(
        self,
        records: Sequence[tuple[Structure, ReferenceResult]],
        quantities: Mapping[str, Quantity] | None = None,
    ) -> None:
        """Append frames with their labels, all in one commit.

        Parameters
        ----------
        records : sequence of (Structure, ReferenceResult)
        quantities : mapping or None
            By name what the labels in ``ReferenceResult.more`` are; None: what the plugins announce.

        Raises
        ------
        InputError
            If a frame is in the store already or twice in ``records``, or a label is not finite, has the wrong shape,
            or is described by nothing or otherwise than in the store. Nothing is written then.
        DataError
            If the store is not open for writing.
        """
        self._writer()
        orbital_basis, labels = self.orbital_basis, {name for _, result in records for name in result.more}
        offered = announced_quantities() if labels and quantities is None else quantities or {}
        used = {name: quantity for name, quantity in offered.items() if name in labels}
        known = common_quantities(str(self.path), self.quantities, used)
        frames = [
            (
                frame_rows(structure, result, orbital_basis, known),
                {str(k): str(v) for k, v in result.provenance.items()},
            )
            for structure, result in records
        ]
        self.adopt(frames, known)

    def adopt(
        self, frames: Sequence[tuple[Frame, Mapping[str, str]]], quantities: Mapping[str, Quantity] | None = None
    ) -> None:
        """Append frames as another store holds them, all in one commit.

        Parameters
        ----------
        frames : sequence of (rows by column, program)
            Rows of ``FrameTable.today``, found sound there, and what computed them; their ``provenance`` is set here.
        quantities : mapping or None
            What the labels beyond the built-in ones are.

        Raises
        ------
        InputError
            If a frame is in the store already or twice in ``frames``. Nothing is written then.
        """
        self._writer()
        provenance: list[dict[str, str]] = list(self.frame_table.attributes["provenance"])
        index = self._hash_index()
        added: dict[bytes, int] = {}
        adopted: list[Frame] = []
        for position, (frame, program) in enumerate(frames):
            key = frame["hash"].tobytes()
            if key in index or key in added:
                where = f"as frame {index[key]}" if key in index else "twice among those to be appended"
                raise InputError(f"The frame {key.hex()[:16]} is in {self.path} already, {where}.")
            added[key] = len(self) + position
            if program not in provenance:
                provenance.append(dict(program))
            adopted.append({**frame, "provenance": np.asarray(provenance.index(dict(program)))})
        there = self.frame_table.columns
        lacking = sorted({name for frame in adopted for name in frame if name not in there and len(frame[name])})
        labels = {label_name(name) for name in lacking}
        added_here = {name: quantity for name, quantity in (quantities or {}).items() if name in labels}
        known = common_quantities(str(self.path), self.quantities, added_here)
        self.frame_table.append(
            adopted,
            [optional_column(name, known) for name in lacking],
            provenance=provenance,
            quantities=quantities_record(known),
        )
        index.update(added)
        for content in added:
            remove_failure(self.path / "failures", content)

    def adopt_failure(self, failure: Failure) -> None:
        """Keep the record of a failure as another store has it."""
        self._writer()
        write_failure(self.path / "failures", failure)

    def set_orbital_basis(self, basis: Basis) -> None:
        """Record the orbital basis of the elements it covers; elements already recorded must have equal shells.

        Raises
        ------
        InputError
            If an element's shells differ from those the store has.
        """
        known = self.orbital_basis
        shells = {} if known is None else {z: known.shells(z) for z in known.elements}
        for z in basis.elements:
            if shells.setdefault(z, basis.shells(z)) != basis.shells(z):
                raise InputError(
                    f"The orbital basis {basis.name!r} of {symbol(z)} differs from the one {self.path} was made with "
                    f"({known.name if known else ''!r}); a store has one orbital basis."
                )
        merged = GaussianBasis(basis.name if known is None else known.name, shells)
        if known is None or merged.elements != known.elements:
            self._update_root(orbital_basis=merged.to_dict())

    def append_failure(self, structure: Structure, error: Exception, seconds: float) -> None:
        """Record that the calculation of a structure failed; a later label of the same structure replaces it."""
        self._writer()
        if structure.content_hash() in self:
            raise InputError(f"Frame {self.index_of(structure.content_hash())} of {self.path} has labels already.")
        failure = Failure(structure, type(error).__name__, str(error), float(seconds))
        write_failure(self.path / "failures", failure)

    # Reading

    @property
    def orbital_basis(self) -> GaussianBasis | None:
        """Basis of the stored orbitals for the elements met so far; None before ``set_orbital_basis``."""
        record = self.attributes["orbital_basis"]
        return None if record is None else GaussianBasis.from_dict(record)

    @property
    def hashes(self) -> list[bytes]:
        """Content hashes (32 bytes each) of the frames, in their order."""
        return list(self._hash_index())

    def __contains__(self, structure_hash: object) -> bool:
        return structure_hash in self._hash_index()

    def index_of(self, structure_hash: bytes) -> int:
        """Index of the frame with this content hash; ``InputError`` if there is none."""
        try:
            return self._hash_index()[structure_hash]
        except KeyError:
            raise InputError(f"{self.path} has no frame with the content hash {structure_hash.hex()}.") from None

    def numbers(self, index: int) -> NDArray[np.int64]:
        """(n_atoms,) atomic numbers of a frame."""
        return np.array(self.frame_table.value("numbers", self._checked(index)), dtype=np.int64)

    def structure(self, index: int) -> Structure:
        """Geometry, charge and multiplicity of a frame, with its isotopes and fragments."""
        table = self.frame_table
        rows = {n: table.value(n, self._checked(index)) for n in ("numbers", "positions", "charge", "multiplicity")}
        return structure_of({**rows, **{name: table.rows(name, index) for name in OF_STRUCTURE}})

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What the labels beyond the built-in ones are, by name; ``DataError`` if the record is damaged."""
        return quantities_from(self.frame_table.attributes.get("quantities", {}))

    def labels(self, index: int) -> tuple[str, ...]:
        """Names of the labels that a frame has."""
        found = {label_name(column) for column in self.frame_table.present(self._checked(index))}
        return (
            *(name for name in LABELS if name in found),
            *sorted(n for n in found if n is not None and n not in LABELS),
        )

    def result(self, index: int, labels: Collection[str] | None = None) -> ReferenceResult:
        """Labels of a frame.

        Parameters
        ----------
        index : int
        labels : collection of str, optional
            Which to read, for example ``("energy", "forces")``; all that the frame has if not given.

        Returns
        -------
        ReferenceResult
            Reading a label that the frame lacks, or that was not asked for, raises ``DataError``.

        Raises
        ------
        DataError
            If a label is asked for that the frame has not.
        """
        present = self.labels(index)
        wanted = present if labels is None else tuple(name for name in present if name in labels)
        if missing := set(labels or ()) - set(present):
            raise MissingLabelError(
                f"Frame {index} of {self.path} has no {', '.join(sorted(missing))}; it has: {', '.join(present)}."
            )
        if {"orbitals", "occupations", "response"} & set(wanted):
            wanted = tuple(name for name in present if name in wanted or name in ("orbitals", "occupations"))
        columns = map(column_name, wanted)
        values = label_values({name: self.frame_table.rows(name, index) for name in columns}, self.quantities)
        more = {name: values.pop(name) for name in wanted if name not in LABELS}
        programs, program = self.frame_table.attributes["provenance"], int(self.frame_table.value("provenance", index))
        provenance = programs[program] if 0 <= program < len(programs) else {}
        return partial_result(values, float(self.frame_table.value("seconds", index)), provenance, more)

    def frames(
        self, indices: Iterable[int], labels: Collection[str] | None = None
    ) -> list[tuple[Structure, ReferenceResult]]:
        """Structures and results of many frames, see ``structure`` and ``result``; chunks are read once."""
        return [(self.structure(index), self.result(index, labels)) for index in map(int, indices)]

    def failures(self) -> list[Failure]:
        """Failed calculations whose structure has not been labelled since."""
        folder = self.path / "failures"
        return [failure for name in groups_in(folder) if (failure := self.failure(name)).hash not in self]

    def failure(self, name: str) -> Failure:
        """The record of a failure by the hexadecimal content hash; ``DataError`` if it is damaged."""
        failure = read_failure(self.path / "failures", name)
        if failure.hash.hex() != name:
            raise DataError(f"The record {self.path / 'failures' / name} is of another structure.")
        return failure

    # Fits

    def create_fit(
        self,
        name: str,
        basis: Basis,
        metric: FitMetric,
        prior: Mapping[str, Any],
        constraints: Sequence[Moment],
        quantity: FittedQuantity = "density",
    ) -> Fit:
        """Add an empty fit.

        Parameters
        ----------
        name : str
            Letters, digits and ``. _ + -``.
        basis : Basis
            The density basis.
        metric : {"coulomb", "overlap", "weighted"}
        prior : mapping
            Record of the prior that is subtracted before fitting; empty to fit the density itself.
        constraints : sequence of {"charge", "dipole", "quadrupole"}
            The moments of the reference that the fit holds exactly.
        quantity : {"density", "density_response", "spin_density"}
            What is fitted.

        Raises
        ------
        InputError
            If a fit of this name exists or the name cannot be used.
        """
        lock = self._writer()
        if checked_name(name) in self.fit_names():
            raise InputError(f"{self.path} has a fit {name!r} already: {self.fit(name)!r}.")
        create_fit_table(self.zarr, name, lock, basis, metric, prior, constraints, quantity)
        return self.fit(name)

    def fit(self, name: str) -> Fit:
        """A fit by name; ``DataError`` listing the names there are if it does not exist."""
        if name not in self.fit_names():
            known = ", ".join(self.fit_names()) or "none"
            raise DataError(f"{self.path} has no fit {name!r}; it has: {known}.")
        if name not in self._fits:
            self._fits[name] = Fit(self.zarr, name, self._lock, self.numbers, lambda: len(self))
            self._tables.append(self._fits[name].table)
        return self._fits[name]

    def fit_names(self) -> list[str]:
        """Names of the fits, sorted."""
        return groups_in(self.path / "fits")

    def info(self) -> dict[str, Any]:
        """Plain summary for ``densnet data info --json``; ``DataError`` if what it says cannot be read."""
        return summary(self)

    def _hash_index(self) -> dict[bytes, int]:
        if self._index is None:
            rows = self.frame_table.whole("hash")
            self._index = {row.tobytes(): index for index, row in enumerate(rows)}
        return self._index

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise InputError(f"{self.path} has frames 0 to {len(self) - 1}; there is no frame {index}.")
        return index
