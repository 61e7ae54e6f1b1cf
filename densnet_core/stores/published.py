"""The files in which the authors of the method published their data: NPY files with Python objects.

The first, the geometries, holds a dictionary:

============ ========================== ==================================================
key          shape                      meaning
============ ========================== ==================================================
atom_numbers (n, n_atoms) or (n_atoms,) atomic numbers
positions    (n, n_atoms, 3)            angstrom
energy       (n,) or (n, 1)             hartree
forces       (n, n_atoms, 3)            hartree/angstrom
============ ========================== ==================================================

Frames of molecules of different sizes are lists or object arrays of one array a frame.

The second, the densities, has for each frame a pair of dictionaries, shape (n, 2): arguments of a PySCF molecule (atom,
unit, basis, charge, spin) and results (mo_coeff, mo_occ, energy, df_coeff, auxbasis). Its atoms may have another order
than in the first; they are matched by element and position, and the frames read have the order of the densities, in
which the orbitals are. ``df_coeff`` are of the whole density, fitted in the Coulomb metric without constraints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import DataError, InputError
from densnet_core.files.words import whole_number
from densnet_core.stores.importing import ImportedFrames
from densnet_core.stores.labels import partial_result
from densnet_core.stores.unpickling import describe, read_object_array
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

GEOMETRY: Final = ("atom_numbers", "positions")
LABELS: Final = ("energy", "forces")
SAME_PLACE: Final = 1e-4
"""Bohr. The densities have positions in single precision."""
SAME_ENERGY: Final = 1e-6
"""Hartree."""


def read_geometries(path: str | Path, charge: int = 0, multiplicity: int = 1) -> list[Structure]:
    """The geometries in a file of the published format, with labels or without.

    Raises
    ------
    DataError
        If the file is none of that format; the message names what was found.
    """
    geometries = _Geometries(Path(path))
    return [geometries.structure(index, charge, multiplicity) for index in range(len(geometries))]


def read_published(
    path: str | Path, density: str | Path | None = None, charge: int | None = None, multiplicity: int | None = None
) -> ImportedFrames:
    """Labelled frames of the published format.

    Parameters
    ----------
    path : path
        The geometries with energies and forces.
    density : path or None
        The densities of the same frames in the same order.
    charge, multiplicity : int or None
        Of every frame if there are no densities, which say them themselves; None means 0 and 1.

    Raises
    ------
    DataError
        If a file is none of that format, incomplete or damaged, or the two do not belong together; the message names
        the frame and what was found.
    InputError
        If there are geometries alone, the electrons do not suit charge and multiplicity, or they are said twice.
    """
    geometries = _Geometries(Path(path))
    if missing := [name for name in LABELS if name not in geometries.found]:
        raise InputError(
            f"{path} has no {' and no '.join(missing)}; found: {', '.join(geometries.found)}. A store holds labelled "
            'frames. To compute the labels, name the file in a run: [sampling] method = "file".'
        )
    energies = geometries.energies()
    forces = geometries.per_frame("forces")
    densities = None
    if density is not None:
        if charge is not None or multiplicity is not None:
            raise InputError(f"{density} says charge and multiplicity itself; leave out the options.")
        densities = _Densities(Path(density), len(geometries))
    records, coefficients, fitted_in = [], [], set()
    for index in range(len(geometries)):
        if densities is None:
            structure = geometries.structure(index, charge or 0, 1 if multiplicity is None else multiplicity)
            order: Any = slice(None)
            labels: dict[str, Any] = {}
        else:
            frame = densities.frames[index]
            frame.check_energy(energies[index])
            structure, order = frame.place(geometries.structure(index, frame.charge, frame.multiplicity))
            labels = frame.orbitals()
            coefficients.append(frame.coefficients())
            fitted_in.add(frame.results.get("auxbasis"))
        given = geometries.atoms_of(index, forces[index])
        labels |= {"energy": energies[index], "forces": given[order] * BOHR_TO_ANGSTROM}
        records.append((structure, partial_result(labels, provenance={"imported from": Path(path).name})))
    name = fitted_in.pop() if len(fitted_in) == 1 else None
    whole = isinstance(name, str) and all(values is not None for values in coefficients)
    return ImportedFrames(
        records,
        {str(name): [values for values in coefficients if values is not None]} if whole else {},
        (*geometries.ignored, *(() if densities is None else densities.ignored(without_fits=whole))),
        orbital_basis_name=None if densities is None else densities.basis_name,
    )


class _Geometries:
    """The first file: a dictionary of arrays, or of lists of an array for each frame."""

    def __init__(self, path: Path) -> None:
        self.path = path
        array = read_object_array(path)
        found: Any = array[()] if array.shape == () else array
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise DataError(
                f"{path} holds {describe(found)}; expected a dictionary with {', '.join(GEOMETRY + LABELS)}. An array "
                "of pairs are densities: give the file of the geometries first, and this one with --density."
            )
        self.found: dict[str, Any] = found
        if missing := [name for name in GEOMETRY if name not in found]:
            raise DataError(f"{path} lacks {', '.join(missing)}; found: {', '.join(found) or 'nothing'}.")
        self.positions = self.per_frame("positions")
        if not len(self.positions):
            raise DataError(f"{path} holds no frame.")
        numbers = found["atom_numbers"]
        of_all = isinstance(numbers, np.ndarray) and numbers.dtype.kind in "iu" and numbers.ndim == 1
        self.numbers = [numbers] * len(self) if of_all else self.per_frame("atom_numbers")

    @property
    def ignored(self) -> list[str]:
        # atom_types says once more what the numbers say
        return [name for name in self.found if name not in (*GEOMETRY, *LABELS, "atom_types")]

    def __len__(self) -> int:
        return len(self.positions)

    def per_frame(self, name: str) -> Sequence[NDArray[Any]]:
        """The arrays of a key, one for each frame."""
        values = self.found[name]
        several = isinstance(values, (list, tuple)) or (isinstance(values, np.ndarray) and values.ndim > 0)
        rows = list(values) if several else []
        wanted = len(rows) if name == "positions" else len(self)
        kinds = "iu" if name == "atom_numbers" else "fiu"
        arrays = [row for row in rows if isinstance(row, np.ndarray) and row.dtype.kind in kinds]
        if not several or len(arrays) != len(rows) or len(rows) != wanted:
            raise DataError(
                f"{self.path}: {name} must be an array of {'integers' if kinds == 'iu' else 'numbers'} for each of "
                f"{wanted or 'its'} frames, found {describe(values)}."
            )
        return arrays

    def energies(self) -> list[float]:
        values = self.found["energy"]
        if isinstance(values, list):
            values = np.array([np.ravel(v)[0] if isinstance(v, np.ndarray) and v.size == 1 else v for v in values])
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.size != len(self):
            raise DataError(
                f"{self.path}: energy must be a number for each of {len(self)} frames, found "
                f"{describe(self.found['energy'])}."
            )
        if not (finite := np.isfinite(values.ravel())).all():
            raise DataError(f"{self.path}, frame {int(np.argmin(finite))}: the energy is not finite.")
        return [float(value) for value in values.ravel()]

    def atoms_of(self, index: int, values: NDArray[Any]) -> Array:
        """(n_atoms, 3) finite numbers of a frame."""
        shape = (self.numbers[index].size, 3)
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(
                f"{self.path}, frame {index}: expected finite positions and forces of shape {shape} for its atoms, "
                f"found {describe(values)}."
            )
        return values.astype(np.float64)

    def structure(self, index: int, charge: int, multiplicity: int) -> Structure:
        where, numbers = f"{self.path}, frame {index}", self.numbers[index].astype(np.int64)
        positions = self.atoms_of(index, self.positions[index]) / BOHR_TO_ANGSTROM
        try:
            for number in np.unique(numbers):
                symbol(int(number))
        except InputError as error:
            raise DataError(f"{where}: {error}") from error
        try:
            return Structure(numbers, positions, charge, multiplicity)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error


class _Densities:
    """The second file: for each frame the arguments of a PySCF molecule and results."""

    def __init__(self, path: Path, n_frames: int) -> None:
        self.path = path
        self.pairs = read_object_array(path)
        if self.pairs.ndim != 2 or self.pairs.shape[1] != 2:
            raise DataError(f"{path} holds {describe(self.pairs)}; expected pairs of dictionaries, shape (frames, 2).")
        if len(self.pairs) != n_frames:
            raise DataError(
                f"{path} has {len(self.pairs)} frames, the geometries are {n_frames}; the two files do not belong "
                "together."
            )
        self.frames = [self._frame(index) for index in range(n_frames)]
        names = {frame.basis_name for frame in self.frames} - {None}
        if len(names) > 1:
            raise DataError(f"{path} has orbitals in several bases: {', '.join(sorted(map(str, names)))}.")
        self.basis_name = names.pop() if names else None

    def _frame(self, index: int) -> _DensityFrame:
        molecule, results = self.pairs[index]
        where = f"{self.path}, frame {index}"
        if not isinstance(molecule, dict) or not isinstance(results, dict):
            raise DataError(f"{where} holds {describe(molecule)} and {describe(results)}; expected two dictionaries.")
        return _DensityFrame(where, molecule, results)

    def ignored(self, without_fits: bool) -> list[str]:
        """What the results hold beyond what is read; molecules have many settings of PySCF that mean nothing here."""
        known = {"mo_coeff", "mo_occ", "energy", "forces"} | ({"df_coeff", "auxbasis"} if without_fits else set())
        return sorted({str(key) for _, results in self.pairs for key in results} - known)


class _DensityFrame:
    """One pair of the second file."""

    def __init__(self, where: str, molecule: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        self.where, self.molecule, self.results = where, molecule, results
        self.charge = whole_number(f"{where}: charge", molecule.get("charge", 0))
        self.multiplicity = whole_number(f"{where}: spin", molecule.get("spin", 0)) + 1
        basis = molecule.get("basis")
        self.basis_name = basis if isinstance(basis, str) else None
        self.numbers, self.positions = self._atoms()

    def _atoms(self) -> tuple[NDArray[np.int64], Array]:
        rows, unit = self.molecule.get("atom"), self.molecule.get("unit", "angstrom")
        if not isinstance(unit, str) or not unit.lower().startswith(("a", "b")):
            raise DataError(f"{self.where}: the unit of positions is {describe(unit)}; expected angstrom or bohr.")
        if not isinstance(rows, (list, tuple)):
            raise DataError(f"{self.where}: atom is {describe(rows)}; expected a list of (element, position).")
        numbers, positions = [], []
        for row in rows:
            match row:
                case (str(name), np.ndarray() as place) if place.shape == (3,) and place.dtype.kind == "f":
                    position = place.astype(np.float64)
                case (str(name), [float() | int(), float() | int(), float() | int()] as place):
                    position = np.array(place, dtype=np.float64)
                case _:
                    raise DataError(f"{self.where}: an atom is {describe(row)}; expected (element, position).")
            try:
                numbers.append(atomic_number(name))
            except InputError as error:
                raise DataError(f"{self.where}: {error}") from error
            if not np.isfinite(position).all():
                raise DataError(f"{self.where}: the position of an atom {name} is not finite ({position}).")
            positions.append(position)
        scale = 1.0 if unit.lower().startswith("b") else 1.0 / BOHR_TO_ANGSTROM
        return np.array(numbers, dtype=np.int64), np.array(positions).reshape(-1, 3) * scale

    def check_energy(self, energy: float) -> None:
        """``DataError`` if the energy here is not that of the geometry: the files are of different calculations."""
        here = self.results.get("energy")
        if here is None:
            return
        value = float(np.ravel(here)[0]) if isinstance(here, (float, np.ndarray)) and np.size(here) == 1 else np.nan
        if not abs(value - energy) < SAME_ENERGY:
            raise DataError(
                f"{self.where}: the energy is {describe(here)}, that of the geometry {energy!r} hartree; the two files "
                "do not belong together."
            )

    def place(self, geometry: Structure) -> tuple[Structure, NDArray[np.intp]]:
        """A geometry with its atoms in the order of this frame, and where in the geometry they stand."""
        if sorted(self.numbers.tolist()) != sorted(geometry.numbers.tolist()):
            raise DataError(
                f"{self.where} is of other atoms than its geometry ({geometry.formula}); the two files do not belong "
                "together."
            )
        distances = np.linalg.norm(self.positions[:, None] - geometry.positions[None], axis=-1)
        other_element = self.numbers[:, None] != geometry.numbers[None]
        _, order = linear_sum_assignment(np.where(other_element, 1e6, np.minimum(distances, 1e3)))
        apart = float(np.linalg.norm(self.positions - geometry.positions[order], axis=-1).max())
        if not apart < SAME_PLACE:
            raise DataError(
                f"{self.where}: an atom is {apart * BOHR_TO_ANGSTROM:.2g} angstrom from where the geometry has it; the "
                "two files do not belong together, or one of them was moved or turned."
            )
        placed = Structure(self.numbers, geometry.positions[order], geometry.charge, geometry.multiplicity)
        return placed, order

    def orbitals(self) -> dict[str, Array]:
        """The doubly occupied orbitals and their occupations; nothing if the frame has none."""
        orbitals, occupations = self.results.get("mo_coeff"), self.results.get("mo_occ")
        if orbitals is None and occupations is None:
            return {}
        arrays = [v for v in (orbitals, occupations) if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
        if len(arrays) != 2 or arrays[0].ndim != 2 or arrays[1].shape != arrays[0].shape[1:]:
            raise DataError(
                f"{self.where}: mo_coeff is {describe(orbitals)} and mo_occ {describe(occupations)}; expected orbitals "
                "(n_basis, n_orbitals) of a closed shell and their occupations."
            )
        occupied = arrays[1] > 0
        if not np.all(arrays[1][occupied] == 2):
            raise DataError(f"{self.where}: mo_occ is not 0 or 2; only closed shells are read.")
        return {
            "orbitals": arrays[0][:, occupied].astype(np.float64),
            "occupations": arrays[1][occupied].astype(np.float64),
        }

    def coefficients(self) -> Array | None:
        """(n_functions,) fitted coefficients of the whole density; None if the frame has none."""
        values = self.results.get("df_coeff")
        if values is None:
            return None
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.ndim != 1:
            raise DataError(f"{self.where}: df_coeff is {describe(values)}; expected one number a function.")
        return values.astype(np.float64)
