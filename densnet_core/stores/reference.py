"""The store of labelled frames: geometries with energies, forces, dipoles and occupied orbitals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.density.method import FitMetric, Moment
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.properties import Quantity
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.failures import Failure, read_failure, remove_failure, write_failure
from densnet_core.stores.fits import Fit, create_fit_table
from densnet_core.stores.folder import FRAMES, StoreFolder, checked_name, groups_in
from densnet_core.stores.labels import BASIC_LABELS, LABELS, MissingLabelError, partial_result
from densnet_core.stores.layout import COLUMNS, frame_rows, has_properties, rows_of_today
from densnet_core.stores.records import write_group
from densnet_core.stores.table import Frame, Table
from densnet_core.structures import Structure


class ReferenceStore(StoreFolder):
    """Labelled frames of one level of theory, with the density fits made from them.

    >>> with ReferenceStore.create("water.zarr", LevelOfTheory.parse("PBE/def2-SVP"), "pyscf", {}) as store:
    ...     store.set_orbital_basis(backend.orbital_basis(structure.numbers))
    ...     store.append([(structure, backend.compute(structure))])

    Opened for reading, it shows the frames committed at that moment.
    """

    kind = "reference"
    format_versions = tuple(sorted(COLUMNS))

    def __init__(self, path: Path, lock: WriterLock | None) -> None:
        super().__init__(path, lock)
        self.frame_table = Table(self.zarr, FRAMES, COLUMNS[self.attributes["format_version"]], lock)
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
        Table.create(zarr_store, FRAMES, COLUMNS[max(COLUMNS)], lock, {"provenance": []})

    def _make_parts_again(self, zarr_store: DurableStore, lock: WriterLock) -> None:
        self._make_parts(zarr_store, lock)

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "reading"
        return f"ReferenceStore({str(self.path)!r}: {len(self)} frames, {self.level}, {self.backend}, {mode})"

    # Writing

    def append(self, records: Sequence[tuple[Structure, ReferenceResult]]) -> None:
        """Append frames with their labels, all in one commit.

        Raises
        ------
        InputError
            If a frame is in the store already or twice in ``records``, or a label is not finite or has the wrong
            shape. Nothing is written then.
        DataError
            If the store is not open for writing.
        """
        self._writer()
        orbital_basis = self.orbital_basis
        self.adopt(
            [
                (frame_rows(structure, result, orbital_basis), {str(k): str(v) for k, v in result.provenance.items()})
                for structure, result in records
            ]
        )

    def adopt(self, frames: Sequence[tuple[Frame, Mapping[str, str]]]) -> None:
        """Append frames as another store holds them, all in one commit.

        Parameters
        ----------
        frames : sequence of (rows by column, program)
            Rows of ``Table.block``, found sound there, and what computed them; their ``provenance`` is set here.

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
            adopted.append({**rows_of_today(frame), "provenance": np.asarray(provenance.index(dict(program)))})
        if self.attributes["format_version"] == 1 and any(map(has_properties, adopted)):
            raise InputError(
                f"{self.path} was made by an older DenSNet and has no room for properties of frames. Label into a "
                "new store; 'densnet data merge' makes one of the two."
            )
        self.frame_table.append(adopted, provenance=provenance)
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
        """Geometry, charge and multiplicity of a frame."""
        self._checked(index)
        return Structure(
            self.numbers(index),
            np.array(self.frame_table.value("positions", index)),
            int(self.frame_table.value("charge", index)),
            int(self.frame_table.value("multiplicity", index)),
        )

    def labels(self, index: int) -> tuple[str, ...]:
        """Names of the labels that a frame has."""
        mask = int(self.frame_table.value("labels", self._checked(index)))
        return tuple(name for bit, name in enumerate(LABELS) if mask >> bit & 1)

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
        wanted = present if labels is None else tuple(name for name in LABELS if name in labels)
        if missing := set(wanted if labels is None else labels) - set(present):
            raise MissingLabelError(
                f"Frame {index} of {self.path} has no {', '.join(sorted(missing))}; it has: {', '.join(present)}."
            )
        if {"orbitals", "occupations", "response"} & set(wanted):
            wanted = tuple(name for name in present if name in wanted or name in ("orbitals", "occupations"))
        values: dict[str, Any] = {name: np.array(self.frame_table.value(name, index)) for name in wanted}
        if "energy" in values:
            values["energy"] = float(values["energy"])
        if "orbitals" in values:
            values["orbitals"] = values["orbitals"].reshape(-1, len(values["occupations"]))
        if "response" in values:
            values["response"] = values["response"].reshape(3, *values["orbitals"].shape)
        programs, program = self.frame_table.attributes["provenance"], int(self.frame_table.value("provenance", index))
        provenance = programs[program] if 0 <= program < len(programs) else {}
        return partial_result(values, float(self.frame_table.value("seconds", index)), provenance)

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
        quantity: Quantity = "density",
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
        """Plain summary of the store for ``densnet data info --json``; keys name their units.

        Raises
        ------
        DataError
            If what it says cannot be read.
        """
        masks = self.frame_table.whole("labels")
        energies = self.frame_table.whole("energy")[(masks & 1).astype(bool)]
        if not np.isfinite(energies).all():
            raise DataError(
                f"Energies of {self.path} are missing; see which, and keep the rest: densnet data verify --repair."
            )
        counts = {name: int((masks >> bit & 1).sum()) for bit, name in enumerate(LABELS)}
        basis = self.orbital_basis
        return {
            "kind": self.kind,
            "path": str(self.path),
            "format_version": self.attributes["format_version"],
            "frames": len(self),
            "failures": len(self.failures()),
            "formulas": self._formulas(),
            "labels": {name: count for name, count in counts.items() if count or name in BASIC_LABELS},
            "level_of_theory": str(self.level),
            "backend": self.backend,
            "versions": self.versions,
            "orbital_basis": None if basis is None else basis.name,
            "orbital_basis_elements": [] if basis is None else [symbol(z) for z in basis.elements],
            "energy_min_hartree": float(energies.min()) if energies.size else None,
            "energy_max_hartree": float(energies.max()) if energies.size else None,
            "reference_time_seconds": float(self.frame_table.whole("seconds").sum()),
            "fits": [self.fit(name).info() for name in self.fit_names()],
            "documents": self.document_names(),
            "size_bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
        }

    def _formulas(self) -> dict[str, int]:
        offsets, numbers = self.frame_table.whole("atom_offsets"), self.frame_table.whole("numbers")
        compositions: dict[bytes, list[int]] = {}
        for index in range(len(self)):
            compositions.setdefault(numbers[offsets[index] : offsets[index + 1]].tobytes(), []).append(index)
        counts: Counter[str] = Counter()
        for members in compositions.values():
            counts[self.structure(members[0]).formula] += len(members)
        return dict(sorted(counts.items()))

    def _hash_index(self) -> dict[bytes, int]:
        if self._index is None:
            rows = self.frame_table.whole("hash")
            self._index = {row.tobytes(): index for index, row in enumerate(rows)}
        return self._index

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise InputError(f"{self.path} has frames 0 to {len(self) - 1}; there is no frame {index}.")
        return index
