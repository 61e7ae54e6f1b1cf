"""Labels nobody should believe are refused with their figures, and sound ones are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.stores.judging import judge, statistical_energy
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.stores import import_file

NUMBERS = np.array([8, 1, 1])
MINIMUM = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])
Arrays = dict[str, np.ndarray]


def energy_of(positions: np.ndarray) -> float:
    """Morse functions of the three distances of a water, hartree; bohr."""
    pairs = ((0, 1, 1.81, 0.17, 1.2), (0, 2, 1.81, 0.17, 1.2), (1, 2, 2.86, 0.05, 1.0))
    terms = (d * (1 - np.exp(-a * (np.linalg.norm(positions[i] - positions[j]) - r))) ** 2 for i, j, r, d, a in pairs)
    return -76.35 + sum(terms)


def forces_of(positions: np.ndarray, step: float = 1e-4) -> np.ndarray:
    found = np.empty(9)
    for place in range(9):
        shift = np.zeros(9)
        shift[place] = step
        ends = [energy_of(positions + sign * shift.reshape(3, 3)) for sign in (1.0, -1.0)]
        found[place] = -(ends[0] - ends[1]) / (2 * step)
    return found.reshape(3, 3)


@cache
def _sound() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    positions = MINIMUM + random.normal(scale=0.08, size=(60, 3, 3))
    return positions, np.array([energy_of(p) for p in positions]), np.array([forces_of(p) for p in positions])


def sound() -> Arrays:
    """Sixty waters near the minimum, as ``read_npz`` wants them."""
    positions, energies, forces = (values.copy() for values in _sound())
    return {
        "numbers": np.tile(NUMBERS, (60, 1)),
        "positions_angstrom": positions * BOHR_TO_ANGSTROM,
        "energy_hartree": energies,
        "forces_hartree_per_angstrom": forces / BOHR_TO_ANGSTROM,
    }


def scaled(name: str, factor: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] *= factor

    return change


def turned(arrays: Arrays) -> None:
    arrays["positions_angstrom"] = arrays["positions_angstrom"][:, :, [1, 2, 0]]


def pushed(arrays: Arrays) -> None:
    arrays["forces_hartree_per_angstrom"][7, 0] += 0.05


def shuffled(arrays: Arrays) -> None:
    arrays["energy_hartree"] = arrays["energy_hartree"][::-1]


def another_level(arrays: Arrays) -> None:
    arrays["energy_hartree"][40] += 0.33  # Hartree-Fock lies so much above PBE


def relative(arrays: Arrays) -> None:
    arrays["energy_hartree"] -= arrays["energy_hartree"].min()


def repeated(arrays: Arrays) -> None:
    half = {name: values[:30] for name, values in arrays.items()}
    mirrored = {**half, "positions_angstrom": -half["positions_angstrom"]}
    mirrored["forces_hartree_per_angstrom"] = -half["forces_hartree_per_angstrom"]
    for name in arrays:
        arrays[name] = np.concatenate([half[name], mirrored[name]])


def torn(arrays: Arrays) -> None:
    """One geometry twice, mirrored, with two energies."""
    arrays["positions_angstrom"][1] = arrays["positions_angstrom"][0] * [1.0, 1.0, -1.0]
    arrays["forces_hartree_per_angstrom"][1] = arrays["forces_hartree_per_angstrom"][0] * [1.0, 1.0, -1.0]
    arrays["energy_hartree"][1] = arrays["energy_hartree"][0] + 1e-3


FORCES = "forces_hartree_per_angstrom"
CASES: dict[str, tuple[Callable[[Arrays], None], str]] = {
    "gradients": (scaled(FORCES, -1.0), r"do -(0\.9|1)\S* times the work.*their sign is wrong"),
    "forces per bohr": (scaled(FORCES, BOHR_TO_ANGSTROM), r"do 0\.5\d* times .*per bohr are read as per angstrom"),
    "forces in eV": (scaled(FORCES, HARTREE_TO_EV), r"do 2\d\S* times .*forces in eV as hartree"),
    "energies in eV": (scaled("energy_hartree", HARTREE_TO_EV), r"60 of 60 frames is no total energy: -20\d\d"),
    "energies of atoms taken off": (relative, r"no total energy.*H2O.*atoms have about -76\.108"),
    "another orientation": (turned, r"net torque on \d+ of 60 frames"),
    "a force too much": (pushed, r"net force on 1 of 60 frames: .*frame 7"),
    "energies of other frames": (shuffled, r"do not belong together.*correlate by -?0\.\d"),
    "another level": (another_level, r"(do not belong together|different surfaces)"),
    "mirror images": (repeated, r"30 of 60 frames repeat others"),
    "one geometry, two energies": (torn, r"Frames 0, 1 are one geometry .*differ by 0\.001"),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_that_cannot_be_right_are_refused_unless_trusted(case: str, tmp_path: Path) -> None:
    change, message = CASES[case]
    arrays = sound()
    change(arrays)
    file, store = tmp_path / "frames.npz", tmp_path / "s.zarr"
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=r"(?s)cannot be right; nothing is imported.*--trust") as refused:
        import_file(file, store, "PBE/def2-SVP", "pyscf")
    assert re.search(message, str(refused.value)), str(refused.value)
    assert not store.exists()
    assert import_file(file, store, "PBE/def2-SVP", "pyscf", trust=True)[0] == 60


def test_sound_labels_are_imported_and_judged_beside_those_that_are_there(tmp_path: Path) -> None:
    arrays, store = sound(), tmp_path / "s.zarr"
    parts = {"first": slice(0, 40), "second": slice(40, 60)}
    for name, part in parts.items():
        np.savez(tmp_path / f"{name}.npz", **{key: values[part] for key, values in arrays.items()})
        assert import_file(tmp_path / f"{name}.npz", store, "PBE/def2-SVP", "pyscf")[0] == len(range(60)[part])
    for name in parts:  # once more: they are there
        assert import_file(tmp_path / f"{name}.npz", store, "PBE/def2-SVP", "pyscf")[0] == 0
    other = {**arrays, "positions_angstrom": -arrays["positions_angstrom"], FORCES: -arrays[FORCES]}
    other["energy_hartree"] = arrays["energy_hartree"] + 0.3
    np.savez(tmp_path / "third.npz", **{key: values[:9] for key, values in other.items()})
    with pytest.raises(InputError, match=r"(?s)cannot be right beside those of .*differ by 0\.3 hartree"):
        import_file(tmp_path / "third.npz", store, "PBE/def2-SVP", "pyscf")


@pytest.mark.parametrize(
    ("symbol", "number", "energy"),
    # Hartree-Fock limits of the atoms (Clementi and Roetti, At. Data Nucl. Data Tables 14, 177 (1974))
    [("C", 6, -37.689), ("O", 8, -74.809), ("S", 16, -397.505), ("Ar", 18, -526.817), ("Zn", 30, -1777.848)],
)
def test_statistical_atoms_have_the_energies_of_atoms(symbol: str, number: int, energy: float) -> None:
    atom = Structure(np.array([number]), np.zeros((1, 3)), 0, 1 + number % 2)
    assert statistical_energy(atom) == pytest.approx(energy, rel=0.01), symbol


def test_frames_without_labels_and_single_atoms_pass() -> None:
    atom = Structure(np.array([8]), np.zeros((1, 3)), 0, 3)
    assert judge([(atom, partial_result({"energy": -75.0, "forces": np.zeros((1, 3))}))]) == []
    waters = [Structure(NUMBERS, MINIMUM * factor) for factor in (1.0, 1.05)]
    assert judge([(water, partial_result({"dipole": np.zeros(3)})) for water in waters]) == []


def test_frames_of_programs_that_are_no_backend_have_levels_of_any_name_and_no_densities(tmp_path: Path) -> None:
    """As the frames of a semi-empirical method, whose energies are of valence electrons alone."""
    frames = sound()
    frames["energy_hartree"] += 71.0
    np.savez(tmp_path / "cheap.npz", **frames)
    given = (tmp_path / "cheap.npz", tmp_path / "cheap.zarr", "GFN2-xTB/minimal")
    with pytest.raises(InputError, match="PySCF has no functional 'GFN2-xTB'"):
        import_file(*given, "pyscf", trust=True)
    with pytest.raises(InputError, match="no total energy"):
        import_file(*given, "none")
    assert import_file(*given, "none", trust=True)[0] == 60
    with ReferenceStore.open(tmp_path / "cheap.zarr") as store:
        assert (store.backend, str(store.level), store.versions) == ("none", "GFN2-xTB/minimal", {})
        assert store.result(7, labels=["energy"]).energy == pytest.approx(frames["energy_hartree"][7])
    np.savez(tmp_path / "dense.npz", **frames, mo_coeff_occupied=np.ones((60, 12, 5)))
    with pytest.raises(InputError, match="has densities, and --backend none is for energies and forces alone"):
        import_file(tmp_path / "dense.npz", tmp_path / "dense.zarr", "GFN2-xTB/minimal", "none", trust=True)
    assert not (tmp_path / "dense.zarr").exists()
