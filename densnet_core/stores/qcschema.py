"""Labelled frames in QCSchema JSON (AtomicResult, version 1, https://molssi-qc-schema.readthedocs.io): atomic units.

Read are one result or a list of them: energy, forces (minus the gradient), dipole and, if the wavefunction is there,
the occupied orbitals with their basis. Orbitals are believed only if they are orthonormal in that basis by our own
overlap integrals, which finds any other order or normalisation of the functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis, Shell
from densnet_core.basis.conventions import from_cca_order, to_cca_order
from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import DataError, InputError
from densnet_core.files.words import whole_number
from densnet_core.fragments import Fragment
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.importing import ImportedFrames, check_orthonormal
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.structures import Structure

Array = NDArray[np.float64]
SCHEMAS: Final = ("qcschema_output", "qc_schema_output")


def read_qcschema(path: str | Path) -> ImportedFrames:
    """Frames of a QCSchema file.

    Raises
    ------
    DataError
        If the file is no AtomicResult or list of them, a calculation failed, energy or gradient is missing or not
        finite (the message lists the properties found), levels of theory differ, or orbitals do not suit their basis.
    InputError
        If a molecule is impossible or has ghost atoms, or orbitals are over Cartesian functions.
    """
    source = Path(path)
    try:
        content = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{source} cannot be read as JSON: {error}.") from error
    results = content if isinstance(content, list) else [content]
    records, levels = [], set()
    shells: dict[int, tuple[Shell, ...]] = {}
    for index, result in enumerate(results):
        where = f"{source}, result {index}" if isinstance(content, list) else str(source)
        try:
            reader = _Result(where, result)
            records.append(reader.record(source.name))
            levels.add(str(reader.level))
            for number, of_element in reader.shells.items():
                if shells.setdefault(number, of_element) != of_element:
                    raise DataError(f"{where}: {symbol(number)} has another orbital basis than before.")
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise DataError(f"{where} is not a whole AtomicResult of QCSchema: {error!r}.") from error
        except ValueError as error:
            raise (
                type(error)(f"{where}: {error}") if isinstance(error, InputError) else DataError(f"{where}: {error}")
            ) from error
    if len(levels) != 1:
        raise DataError(f"{source} holds {', '.join(sorted(levels)) or 'no result'}; a store has one level of theory.")
    level = LevelOfTheory.parse(levels.pop())
    basis = GaussianBasis(level.basis, shells) if shells else None
    return ImportedFrames(records, {}, (), level, basis)


class _Result:
    """One AtomicResult."""

    def __init__(self, where: str, result: Mapping[str, Any]) -> None:
        self.where, self.result = where, result
        if result.get("schema_name") not in SCHEMAS or result.get("schema_version") != 1:
            named = f"{result.get('schema_name')!r} version {result.get('schema_version')!r}"
            raise DataError(f"{where} is {named}; expected an AtomicResult, 'qcschema_output' version 1.")
        if not result["success"]:
            raise DataError(
                f"{where} is a calculation that failed: {(result.get('error') or {}).get('error_message')}."
            )
        self.properties: Mapping[str, Any] = result.get("properties") or {}
        self.found = ", ".join(sorted(key for key, value in self.properties.items() if value is not None)) or "none"
        model, basis = result["model"], result["model"].get("basis")
        name = basis if isinstance(basis, str) else basis["name"]
        self.level = LevelOfTheory.parse(f"{model['method']}/{name}")
        self.shells: dict[int, tuple[Shell, ...]] = {}

    def record(self, name: str) -> tuple[Structure, ReferenceResult]:
        structure = self._structure()
        labels: dict[str, Any] = {
            "energy": float(self._label("energy", ())),
            "forces": -self._label("gradient", (structure.n_atoms, 3)),
        }
        if self.properties.get("scf_dipole_moment") is not None:
            labels["dipole"] = self._numbers("scf_dipole_moment", self.properties["scf_dipole_moment"], (3,))
        if self.result.get("wavefunction"):
            labels["orbitals"], labels["occupations"] = self._orbitals(structure)
        program = self.result.get("provenance") or {}
        provenance = {"imported from": name, str(program.get("creator", "?")): str(program.get("version", "?"))}
        return structure, partial_result(labels, provenance=provenance)

    def _structure(self) -> Structure:
        molecule = self.result["molecule"]
        if not all(molecule.get("real") or [True]):
            raise InputError("the molecule has ghost atoms, which a store cannot hold.")
        symbols = [str(name) for name in molecule["symbols"]]
        masses = molecule.get("masses")
        return Structure(
            np.array([atomic_number(name) for name in symbols]),
            self._numbers("geometry", molecule["geometry"], (len(symbols), 3)),
            whole_number(f"{self.where}: molecular_charge", molecule.get("molecular_charge", 0)),
            whole_number(f"{self.where}: molecular_multiplicity", molecule.get("molecular_multiplicity", 1)),
            None if masses is None else self._numbers("masses", masses, (len(symbols),)),
            self._fragments(molecule),
        )

    def _fragments(self, molecule: Mapping[str, Any]) -> tuple[Fragment, ...]:
        atoms = molecule.get("fragments") or []
        if len(atoms) < 2:
            return ()
        charges, spins = (molecule.get(f"fragment_{name}") for name in ("charges", "multiplicities"))
        return tuple(
            Fragment(
                tuple(sorted(int(atom) for atom in members)),
                0 if charges is None else whole_number(f"{self.where}: fragment_charges", charges[index]),
                1 if spins is None else whole_number(f"{self.where}: fragment_multiplicities", spins[index]),
            )
            for index, members in enumerate(atoms)
        )

    def _label(self, driver: str, shape: tuple[int, ...]) -> Array:
        """Energy or gradient, from the properties or as what the calculation was for."""
        names = (
            ("return_energy", "scf_total_energy") if driver == "energy" else ("return_gradient", "scf_total_gradient")
        )
        values = next((self.properties[name] for name in names if self.properties.get(name) is not None), None)
        if self.result["driver"] == driver:
            values = self.result["return_result"]
        if values is None:
            raise DataError(
                f"{self.where} has no {driver}: it is neither the driver nor among the properties ({names[0]}). Found: "
                f"{self.found}."
            )
        return self._numbers(driver, values, shape)

    def _numbers(self, what: str, values: Any, shape: tuple[int, ...]) -> Array:
        array = np.asarray(values, dtype=np.float64)
        if array.size != int(np.prod(shape, dtype=np.int64)):
            raise DataError(f"{self.where}: {what} has {array.size} numbers; expected the shape {shape}.")
        if not np.isfinite(array).all():
            raise DataError(f"{self.where}: {what} is not finite. Found: {self.found}.")
        return array.reshape(shape)

    def _orbitals(self, structure: Structure) -> tuple[Array, Array]:
        """Occupied orbitals (n_basis, n_occupied) in the core's order, and their occupations."""
        wavefunction = self.result["wavefunction"]
        centers, names = wavefunction["basis"]["center_data"], wavefunction["basis"]["atom_map"]
        for number, name in zip(structure.numbers.tolist(), names, strict=True):
            shells = _shells(centers[name])
            if self.shells.setdefault(number, shells) != shells:
                raise DataError(f"{self.where}: atoms of {symbol(number)} have different orbital bases.")
        basis = GaussianBasis(self.level.basis, self.shells)
        n_basis = basis.n_functions(structure.numbers)
        order: list[int] = []
        for name in names:
            order += [len(order) + int(p) for p in _function_order(centers[name])]
        restricted = bool(wavefunction["restricted"])
        parts, occupied = [], []
        for spin in ("a",) if restricted else ("a", "b"):
            occupations = np.asarray(_pointed(wavefunction, f"occupations_{spin}"), dtype=np.float64)
            orbitals = self._numbers(
                "the orbitals", _pointed(wavefunction, f"orbitals_{spin}"), (n_basis, occupations.size)
            )
            chosen = occupations > 0.5
            parts.append(orbitals[order][:, chosen])
            occupied.append(np.full(int(chosen.sum()), 2.0 if restricted else 1.0))
            check_orthonormal(self.where, structure, parts[-1], basis)
        return np.hstack(parts), np.concatenate(occupied)


def _pointed(wavefunction: Mapping[str, Any], name: str) -> Any:
    """A quantity of the final method, which QCSchema names by the key it is under."""
    key = wavefunction.get(name) or f"scf_{name}"
    if wavefunction.get(key) is None:
        raise DataError(f"the wavefunction has no {key}; found: {', '.join(sorted(wavefunction))}.")
    return wavefunction[key]


def _shells(center: Mapping[str, Any]) -> tuple[Shell, ...]:
    if center.get("ecp_electrons"):
        raise InputError("orbitals over an effective core potential are not supported; remove the wavefunction.")
    shells = []
    for shell in center["electron_shells"]:
        momenta, rows = shell["angular_momentum"], shell["coefficients"]
        if shell["harmonic_type"] != "spherical" and max(momenta) > 1:
            raise InputError("orbitals over Cartesian functions are not supported; remove the wavefunction.")
        exponents = tuple(map(float, shell["exponents"]))
        for l_, row in zip(momenta if len(momenta) > 1 else momenta * len(rows), rows, strict=True):
            used = [(a, c) for a, c in zip(exponents, map(float, row), strict=True) if c]
            shells.append(Shell(int(l_), tuple(a for a, _ in used), tuple(c for _, c in used)))
    return tuple(shells)


def _function_order(center: Mapping[str, Any]) -> list[int]:
    """core = file[p] for the functions of an atom; Cartesian p functions are x, y, z, as in the core."""
    order: list[int] = []
    for shell in center["electron_shells"]:
        momenta = shell["angular_momentum"]
        for l_ in momenta if len(momenta) > 1 else momenta * len(shell["coefficients"]):
            in_shell = from_cca_order(l_) if shell["harmonic_type"] == "spherical" else range(2 * l_ + 1)
            order += [len(order) + int(p) for p in in_shell]
    return order


def write_qcschema(
    file: TextIO,
    frames: Iterable[tuple[Structure, ReferenceResult]],
    level: LevelOfTheory,
    orbital_basis: Basis | None,
) -> None:
    """Write frames as a list of AtomicResults, with the wavefunction where a frame has orbitals of closed shells.

    Raises
    ------
    InputError
        If a frame has no energy or forces, which an AtomicResult cannot do without.
    """
    file.write("[")
    for index, (structure, result) in enumerate(frames):
        present = labels_of(result)
        if missing := {"energy", "forces"} - set(present):
            raise InputError(f"Frame {index} has no {', '.join(sorted(missing))}; QCSchema cannot hold it.")
        properties: dict[str, Any] = {"return_energy": result.energy, "calcinfo_natom": structure.n_atoms}
        if "dipole" in present:
            properties["scf_dipole_moment"] = np.asarray(result.dipole).tolist()
        document: dict[str, Any] = {
            "schema_name": SCHEMAS[0],
            "schema_version": 1,
            "driver": "gradient",
            "model": {"method": str(level).rpartition("/")[0], "basis": level.basis},
            "molecule": _molecule(structure),
            "properties": properties,
            "return_result": (-np.asarray(result.forces)).ravel().tolist(),
            "success": True,
            "provenance": {"creator": "densnet", "routine": "densnet data export"},
        }
        if "orbitals" in present and orbital_basis is not None and (np.asarray(result.occupations) == 2.0).all():
            document["wavefunction"] = _wavefunction(structure, result, orbital_basis)
            document["protocols"] = {"wavefunction": "all"}  # without it QCElemental drops the wavefunction
        file.write(("," if index else "") + "\n" + json.dumps(document, allow_nan=False))
    file.write("\n]\n")


def _molecule(structure: Structure) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if structure.isotope_masses is not None:
        more["masses"] = structure.isotope_masses.tolist()
    if structure.fragments:
        more["fragments"] = [list(fragment.atoms) for fragment in structure.fragments]
        more["fragment_charges"] = [float(fragment.charge) for fragment in structure.fragments]
        more["fragment_multiplicities"] = [fragment.multiplicity for fragment in structure.fragments]
    return {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "symbols": [symbol(int(z)) for z in structure.numbers],
        "geometry": structure.positions.ravel().tolist(),
        "molecular_charge": float(structure.charge),
        "molecular_multiplicity": structure.multiplicity,
        "fix_com": True,
        "fix_orientation": True,
        **more,
    }


def _wavefunction(structure: Structure, result: ReferenceResult, basis: Basis) -> dict[str, Any]:
    order: list[int] = []
    for number in structure.numbers.tolist():
        for shell in basis.shells(number):
            order += [len(order) + int(p) for p in to_cca_order(shell.l)]
    centers = {
        symbol(z): {
            "electron_shells": [
                {
                    "angular_momentum": [shell.l],
                    "harmonic_type": "spherical",
                    "exponents": list(shell.exponents),
                    "coefficients": [list(shell.coefficients)],
                }
                for shell in basis.shells(z)
            ]
        }
        for z in sorted(set(structure.numbers.tolist()))
    }
    n_basis, n_occupied = np.shape(result.orbitals)
    return {
        "basis": {
            "schema_name": "qcschema_basis",
            "schema_version": 1,
            "name": basis.name,
            "center_data": centers,
            "atom_map": [symbol(int(z)) for z in structure.numbers],
            "nbf": n_basis,
        },
        "restricted": True,
        "scf_orbitals_a": np.asarray(result.orbitals)[order].ravel().tolist(),
        "scf_occupations_a": [1.0] * n_occupied,
        "orbitals_a": "scf_orbitals_a",
        "occupations_a": "scf_occupations_a",
    }
