"""Labelled frames from NumPy archives: the arrays' names are the contract and say their units.

============================ ========================= =================================================
array                        shape                     meaning
============================ ========================= =================================================
numbers                      (n, n_atoms)              atomic numbers
positions_angstrom           (n, n_atoms, 3)
energy_hartree               (n,)
forces_hartree_per_angstrom  (n, n_atoms, 3)
dipole_au                    (n, 3), optional          e bohr
mo_coeff_occupied            (n, n_basis, n_occupied)  optional; doubly occupied orbitals, core convention
polarizability_au            (n, 3, 3), optional       d dipole / d field, bohr^3
mo_response_au               (n, 3, n_basis,           optional, beside mo_coeff_occupied; d orbitals / d field for
                             n_occupied)               the three directions
df_coeff_NAME                (n, n_functions)          optional; coefficients of the whole density in the basis NAME,
                                                       fitted in the Coulomb metric without constraints
============================ ========================= =================================================
"""

from __future__ import annotations

import difflib
import itertools
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, Shell
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError
from densnet_core.files.words import says_electrons, says_units, words
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import labels_of, partial_result, value_of
from densnet_core.stores.merge import ORBITALS, allowed_difference
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

REQUIRED: Final = ("numbers", "positions_angstrom", "energy_hartree", "forces_hartree_per_angstrom")
OPTIONAL: Final = ("dipole_au", "mo_coeff_occupied", "polarizability_au", "mo_response_au")
COEFFICIENTS: Final = "df_coeff_"
ORTHONORMAL: Final = 1e-5
"""Largest deviation of an element of C^T S C from the unit matrix."""
_QUANTITIES: Final = {
    **dict.fromkeys(("energy", "energies"), "energy_hartree"),
    **dict.fromkeys(("force", "forces", "gradient", "gradients"), "forces_hartree_per_angstrom"),
    **dict.fromkeys(("dipole", "dipoles"), "dipole_au"),
    **dict.fromkeys(("position", "positions", "coordinates"), "positions_angstrom"),
    **dict.fromkeys(("polarizability", "polarizabilities"), "polarizability_au"),
}
_UNIT_WORDS: Final = {
    *("hartree", "ha", "ev", "kcal", "kj", "mol", "bohr", "angstrom", "ang", "nm", "pm", "debye", "e", "au", "per"),
}


@dataclass(frozen=True, eq=False)
class ImportedFrames:
    """What a file held, in atomic units.

    Parameters
    ----------
    records : list of (Structure, ReferenceResult)
        For ``ReferenceStore.append``; labels that the file lacks are missing in the results.
    coefficients : dict of str to sequence of (n_functions,) arrays
        Of the whole density of every frame, fitted in the Coulomb metric without constraints, by the name that their
        basis has in the file.
    ignored : tuple of str
        What the file holds besides.
    level : LevelOfTheory or None
        What the file says itself.
    orbital_basis : Basis or None
        Of the orbitals, if the file says; otherwise they are in that of the backend.
    quantities : mapping
        What the labels beyond the built-in ones are.
    orbital_basis_name : str or None
        What the file calls the basis of the orbitals, if it does not say more.
    """

    records: list[tuple[Structure, ReferenceResult]]
    coefficients: Mapping[str, Sequence[Array]]
    ignored: tuple[str, ...] = ()
    level: LevelOfTheory | None = None
    orbital_basis: Basis | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    orbital_basis_name: str | None = None

    def __len__(self) -> int:
        return len(self.records)


def read_npz(path: str | Path, charge: int = 0, multiplicity: int = 1) -> ImportedFrames:
    """Frames of a NumPy archive with the arrays named above.

    Parameters
    ----------
    path : path
    charge, multiplicity : int
        Of every frame; the archive does not hold them.

    Raises
    ------
    DataError
        If the file is no such archive, or an array is missing, misspelt, not finite or of the wrong shape; the message
        lists the arrays found.
    InputError
        If the numbers of electrons do not suit charge and multiplicity, or orbitals come with an open shell.
    """
    source = Path(path)
    arrays = _load(source)
    found = ", ".join(f"{name} {values.shape}" for name, values in arrays.items()) or "none"
    _check(source, arrays, found)
    if multiplicity != 1 and "mo_coeff_occupied" in arrays:
        raise InputError(
            f"{source}: mo_coeff_occupied holds doubly occupied orbitals; they do not suit multiplicity {multiplicity}."
        )
    records = []
    for index in range(len(arrays["numbers"])):
        try:
            structure = Structure(
                arrays["numbers"][index].astype(np.int64),
                arrays["positions_angstrom"][index] / BOHR_TO_ANGSTROM,
                charge,
                multiplicity,
            )
        except InputError as error:
            raise InputError(f"{source}, frame {index}: {error}") from error
        records.append((structure, _result(source, arrays, index, structure)))
    coefficients = {
        name.removeprefix(COEFFICIENTS): list(np.array(values, dtype=np.float64))
        for name, values in arrays.items()
        if name.startswith(COEFFICIENTS)
    }
    return ImportedFrames(records, coefficients, tuple(_unknown(arrays)))


def check_orthonormal(where: str, structure: Structure, orbitals: Array, basis: Basis) -> None:
    """``DataError`` unless orbitals (n_basis, n_occupied) of one spin are orthonormal in the overlap of their basis."""
    expected = basis.n_functions(structure.numbers)
    if len(orbitals) != expected:
        raise DataError(
            f"{where}: the orbitals have {len(orbitals)} rows; {structure.formula} has {expected} functions in the "
            f"basis {basis.name!r}."
        )
    metric = two_center("overlap", MolecularBasis(basis, structure.numbers), torch.tensor(structure.positions))
    deviation = np.abs(orbitals.T @ metric.numpy() @ orbitals - np.eye(orbitals.shape[1])).max(initial=0.0)
    if not deviation < ORTHONORMAL:
        raise DataError(
            f"{where}: the orbitals are not orthonormal in their basis {basis.name!r} ({deviation:.1g} off, "
            f"{ORTHONORMAL:.0e} allowed). Probably the file orders or normalises the functions otherwise; the basis or "
            "the geometry's unit may also be another one."
        )


def check_agrees(where: str, sent: ReferenceResult, there: ReferenceResult) -> None:
    """``DataError`` if labels of one structure differ by more than a merge of stores tolerates; orbitals may differ."""
    for name in labels_of(sent):
        if name in ORBITALS or name not in labels_of(there):
            continue
        first, second = np.asarray(value_of(there, name)), np.asarray(value_of(sent, name))
        allowed = allowed_difference(name, first)
        if not (difference := float(np.abs(first - second).max())) <= allowed:
            raise DataError(
                f"{where}: {name} differs by {difference:.3g} atomic units from that of the same geometry in the store "
                f"({allowed:.0e} allowed). Check the units and the level of theory of the file; nothing was imported."
            )


def in_basis(structure: Structure, result: ReferenceResult, given: Basis, wanted: Basis) -> ReferenceResult:
    """A result whose orbitals are over the functions of ``wanted`` in its order, from those over ``given``.

    Both must have the same shells; their order on an atom and the normalisation of contractions may differ.

    Raises
    ------
    InputError
        If a shell of one has no equal in the other.
    """
    if "orbitals" not in labels_of(result):
        return result
    rows: list[int] = []
    for number in structure.numbers.tolist():
        start = len(rows)
        places = [start + first for first in _first_functions(given.shells(number))]
        for shell in wanted.shells(number):
            match = next((i for i, other in enumerate(given.shells(number)) if _equal(shell, other)), None)
            if match is None or len(given.shells(number)) != len(wanted.shells(number)):
                raise InputError(
                    f"The orbitals are over another basis than {wanted.name!r} of the backend: on {symbol(number)} a "
                    f"shell with l = {shell.l} has no equal. Import the frames without orbitals, or name the backend "
                    "and basis that they were computed with."
                )
            rows += range(places[match], places[match] + shell.size)
    return replace(result, orbitals=np.asarray(result.orbitals)[rows])


def _first_functions(shells: Sequence[Shell]) -> list[int]:
    return list(itertools.accumulate((shell.size for shell in shells), initial=0))[:-1]


def _equal(one: Shell, two: Shell) -> bool:
    if one.l != two.l or len(one.exponents) != len(two.exponents):
        return False
    first, second = (sorted(zip(s.exponents, s.radial_coefficients(), strict=True)) for s in (one, two))
    return np.allclose(first, second, rtol=1e-5)


def _load(source: Path) -> dict[str, NDArray[Any]]:
    try:
        with source.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{source} holds a single array; expected an .npz archive of {', '.join(REQUIRED)}.")
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from error
    except (
        *(ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error),
        *(tokenize.TokenError, RuntimeError, MemoryError, OverflowError),  # broken header, encryption, absurd shape
    ) as error:
        raise DataError(
            f"{source} is not a whole .npz archive of plain arrays ({error}). Pickled arrays are never loaded."
        ) from error


def _check(source: Path, arrays: Mapping[str, NDArray[Any]], found: str) -> None:
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise DataError(f"{source} lacks {', '.join(missing)}; found: {found}.")
    unknown = _unknown(arrays)
    for name in unknown:
        # A misspelt label must not vanish silently; anything else in the file is none of our business.
        if close := difflib.get_close_matches(name, (*REQUIRED, *OPTIONAL), n=1, cutoff=0.75):
            raise DataError(f"{source}: {name} is not a known array; did you mean {close[0]}? Found: {found}.")
        _refuse_misnamed(source, name)
    if arrays["numbers"].ndim != 2:
        raise DataError(f"{source}: numbers must have shape (n_frames, n_atoms). Found: {found}.")
    n_frames, n_atoms = arrays["numbers"].shape
    if n_frames == 0:
        raise DataError(f"{source} holds no frame. Found: {found}.")
    shapes: dict[str, tuple[int | None, ...]] = {
        "numbers": (n_frames, n_atoms),
        "positions_angstrom": (n_frames, n_atoms, 3),
        "energy_hartree": (n_frames,),
        "forces_hartree_per_angstrom": (n_frames, n_atoms, 3),
        "dipole_au": (n_frames, 3),
        "mo_coeff_occupied": (n_frames, None, None),
        "polarizability_au": (n_frames, 3, 3),
    }
    if "mo_response_au" in arrays:
        orbitals = arrays.get("mo_coeff_occupied")
        if orbitals is None:
            raise DataError(
                f"{source}: mo_response_au belongs to mo_coeff_occupied, which is not there. Found: {found}."
            )
        shapes["mo_response_au"] = (n_frames, 3, *orbitals.shape[1:])
    for name, values in arrays.items():
        if name in unknown:
            continue
        shape = shapes.get(name, (n_frames, None))
        kinds = "iu" if name == "numbers" else "fiu"
        if values.dtype.kind not in kinds:
            raise DataError(f"{source}: {name} must hold {'integers' if kinds == 'iu' else 'real numbers'}.")
        if values.ndim != len(shape) or any(b is not None and a != b for a, b in zip(values.shape, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise DataError(f"{source}: {name} must have shape ({wanted}), not {values.shape}. Found: {found}.")
        if not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DataError(f"{source}: {name} is not finite, first in frame {frame}. Found: {found}.")


def _refuse_misnamed(source: Path, name: str) -> None:
    """``DataError`` for an array that would change what the others mean if it were read."""
    said = words(name)
    if says_electrons(name):
        raise DataError(
            f"{source}: {name} would not be read, an archive has no array of charge or multiplicity. Remove it and say "
            "them with --charge and --multiplicity."
        )
    if says_units(name):
        raise DataError(f"{source}: {name} would not be read, the names of the arrays say the units. Remove it.")
    if said and said[0] in _QUANTITIES and set(said[1:]) <= _UNIT_WORDS:
        raise DataError(
            f"{source}: {name} is not a known array; did you mean {_QUANTITIES[said[0]]}? Convert it to that unit, or "
            "remove it."
        )


def _unknown(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    return [name for name in arrays if name not in (*REQUIRED, *OPTIONAL) and not name.startswith(COEFFICIENTS)]


def _result(source: Path, arrays: Mapping[str, NDArray[Any]], index: int, structure: Structure) -> ReferenceResult:
    labels: dict[str, Any] = {
        "energy": float(arrays["energy_hartree"][index]),
        "forces": np.array(arrays["forces_hartree_per_angstrom"][index], dtype=np.float64) * BOHR_TO_ANGSTROM,
    }
    if "dipole_au" in arrays:
        labels["dipole"] = np.array(arrays["dipole_au"][index], dtype=np.float64)
    if "mo_coeff_occupied" in arrays:
        orbitals = np.array(arrays["mo_coeff_occupied"][index], dtype=np.float64)
        if 2 * orbitals.shape[1] != structure.n_electrons:
            raise InputError(
                f"{source}, frame {index}: {orbitals.shape[1]} doubly occupied orbitals do not hold the "
                f"{structure.n_electrons} electrons of {structure.formula} with charge {structure.charge}; check the "
                "charge."
            )
        labels["orbitals"] = orbitals
        labels["occupations"] = np.full(orbitals.shape[1], 2.0)
    if "polarizability_au" in arrays:
        tensor = np.array(arrays["polarizability_au"][index], dtype=np.float64)
        if not np.allclose(tensor, tensor.T, atol=1e-3 * np.abs(tensor).max()):
            raise DataError(f"{source}, frame {index}: polarizability_au is not symmetric, so it is none.")
        labels["polarizability"] = tensor
    if "mo_response_au" in arrays:
        labels["response"] = np.array(arrays["mo_response_au"][index], dtype=np.float64)
    return partial_result(labels, provenance={"imported from": source.name})
