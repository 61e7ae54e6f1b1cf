"""Reading NumPy archives of labelled frames."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import Basis, GaussianBasis, Shell
from densnet_core.errors import DataError, InputError
from densnet_core.files.words import whole_number
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.importing import check_agrees, check_orthonormal, read_npz
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure

N = 3


def arrays() -> dict[str, np.ndarray]:
    values = np.random.default_rng(0)
    return {
        "numbers": np.tile([8, 1, 1], (N, 1)),
        "positions_angstrom": values.normal(size=(N, 3, 3)),
        "energy_hartree": np.array([-76.3, -76.2, -76.1]),
        "forces_hartree_per_angstrom": values.normal(size=(N, 3, 3)),
        "dipole_au": values.normal(size=(N, 3)),
        "mo_coeff_occupied": values.normal(size=(N, 12, 5)),
        "df_coeff_mybasis": values.normal(size=(N, 30)),
    }


def save(path: Path, **changes: np.ndarray | None) -> Path:
    contents = {name: values for name, values in {**arrays(), **changes}.items() if values is not None}
    np.savez(path, **contents)
    return path


def test_units_are_converted_and_labels_complete(tmp_path: Path) -> None:
    imported = read_npz(save(tmp_path / "a.npz", weather=np.array(["fine"])))
    sent = arrays()
    assert len(imported) == N
    assert imported.ignored == ("weather",)
    structure, result = imported.records[1]
    # 1 bohr = 0.529177210903 angstrom (CODATA 2018), so 1 hartree/angstrom = 0.529177210903 hartree/bohr
    assert np.allclose(structure.positions * 0.529177210903, sent["positions_angstrom"][1], rtol=1e-15)
    assert np.allclose(result.forces / 0.529177210903, sent["forces_hartree_per_angstrom"][1], rtol=1e-15)
    assert result.energy == -76.2
    assert np.array_equal(result.dipole, sent["dipole_au"][1])
    assert np.array_equal(result.orbitals, sent["mo_coeff_occupied"][1])
    assert result.occupations.tolist() == [2.0] * 5
    assert result.provenance == {"imported from": "a.npz"}
    assert np.array_equal(imported.coefficients["mybasis"], sent["df_coeff_mybasis"])


def test_imported_frames_go_into_a_store_with_labels_missing(tmp_path: Path) -> None:
    imported = read_npz(save(tmp_path / "a.npz", dipole_au=None))
    assert labels_of(imported.records[0][1]) == ("energy", "forces", "orbitals", "occupations")
    shells = (Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,)))
    with ReferenceStore.create(tmp_path / "s.zarr", LevelOfTheory("PBE", "b"), "imported", {}) as store:
        store.set_orbital_basis(GaussianBasis("b", {1: shells, 8: shells}))
        store.append(imported.records)
        assert np.array_equal(store.result(2).orbitals, arrays()["mo_coeff_occupied"][2])
        with pytest.raises(DataError, match="no dipole"):
            store.result(0).dipole  # noqa: B018
    assert verify(tmp_path / "s.zarr") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy_hartree": None}, r"lacks energy_hartree; found: numbers \(3, 3\)"),
        ({"energy_hartree": None, "energies_hartree": np.zeros(N)}, "lacks energy_hartree; found: .*energies_hartree"),
        (
            {"dipole_au": None, "dipoles_au": np.zeros((N, 3))},
            "dipoles_au is not .*; did you mean dipole_au",
        ),
        ({"energy_hartree": np.array([0.0, np.nan, 0.0])}, "energy_hartree is not finite, first in frame 1. Found:"),
        ({"dipole_au": np.full((N, 3), np.inf)}, "dipole_au is not finite"),
        ({"forces_hartree_per_angstrom": np.zeros((N, 2, 3))}, r"must have shape \(3, 3, 3\), not \(3, 2, 3\)"),
        ({"mo_coeff_occupied": np.zeros((2, 12, 5))}, r"must have shape \(3, any, any\)"),
        ({"df_coeff_mybasis": np.zeros(N)}, "df_coeff_mybasis must have shape"),
        ({"numbers": np.array([8, 1, 1])}, "numbers must have shape"),
        ({"numbers": np.ones((N, 3))}, "numbers must hold integers"),
        ({"numbers": np.array([[8, 1, None]] * N)}, "never loaded"),
        ({"charge": np.ones(N, int)}, "charge would not be read.*--charge"),
        ({"spin_multiplicity": np.ones(N, int)}, "spin_multiplicity would not be read.*--multiplicity"),
        ({"energy_unit": np.array("eV")}, "the names of the arrays say the units"),
        ({"dipole_au": None, "dipole_debye": np.zeros((N, 3))}, "dipole_debye is not .*; did you mean dipole_au"),
        ({"forces": np.zeros((N, 3, 3))}, "forces is not .*; did you mean forces_hartree_per_angstrom"),
        ({name: values[:0] for name, values in arrays().items()}, "holds no frame"),
    ],
)
def test_wrong_arrays_are_refused_with_what_was_found(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_npz(save(tmp_path / "a.npz", **changes))


def test_other_arrays_are_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", mulliken_charges=np.zeros((N, 3)), energy_correction=np.zeros(N))
    assert read_npz(path).ignored == ("mulliken_charges", "energy_correction")


def two_hydrogens() -> tuple[Structure, Basis]:
    """Two hydrogens, each with one s function, far apart: their overlap is the unit matrix."""
    basis = GaussianBasis("b", {1: (Shell(0, (1.0,), (1.0,)),)})
    return Structure(np.array([1, 1]), np.diag([0.0, 30.0, 0.0])[:2]), basis


def test_orbitals_must_be_orthonormal_in_their_basis() -> None:
    structure, basis = two_hydrogens()
    check_orthonormal("f", structure, np.array([[0.6], [0.8]]), basis)
    with pytest.raises(
        DataError, match=r"f, frame 3: the orbitals are not orthonormal .*'b' \(0\.3 off.*orders or norm"
    ):
        check_orthonormal("f, frame 3", structure, np.array([[0.6], [0.6]]), basis)
    with pytest.raises(DataError, match="the orbitals have 3 rows; H2 has 2 functions"):
        check_orthonormal("f", structure, np.ones((3, 1)), basis)


def test_labels_of_one_frame_must_agree_within_the_tolerance_of_a_merge() -> None:
    there = partial_result({"energy": -1.0, "dipole": np.zeros(3)})
    check_agrees("f", partial_result({"energy": -1.0 + 0.9e-6, "forces": np.ones((2, 3))}), there)
    with pytest.raises(DataError, match=r"f: energy differs by 2e-06 atomic units.*\(1e-06 allowed\)"):
        check_agrees("f", partial_result({"energy": -1.0 + 2e-6}), there)
    with pytest.raises(DataError, match="dipole differs by"):
        check_agrees("f", partial_result({"dipole": np.array([0.0, 2e-4, 0.0])}), there)


@pytest.mark.parametrize("value", [0.7, float("inf"), float("nan"), "x", "", None, 10**400, -1e300])
def test_charges_that_are_no_whole_numbers_are_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"charge=.* is not a sensible whole number"):
        whole_number("charge", value)
    assert whole_number("charge", "-2.0") == -2


def test_charge_and_spin_must_suit_the_orbitals(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="frame 0: 5 doubly occupied orbitals do not hold the 8 electrons"):
        read_npz(path, charge=2)
    with pytest.raises(InputError, match="multiplicity 3"):
        read_npz(path, multiplicity=3)
    with pytest.raises(InputError, match="frame 0: Multiplicity 2 is impossible"):
        read_npz(save(tmp_path / "b.npz", mo_coeff_occupied=None), multiplicity=2)


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path / "nothing.npz")
    text = tmp_path / "text.npz"
    text.write_text("numbers 8 1 1")
    with pytest.raises(DataError, match=r"not a whole \.npz archive"):
        read_npz(text)
    single = tmp_path / "single.npy"
    np.save(single, np.zeros(3))
    with pytest.raises(DataError, match="a single array"):
        read_npz(single)
    whole = save(tmp_path / "a.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"not a whole \.npz archive"):
        read_npz(tmp_path / "half.npz")
    flag_set = lambda found: found[1] + b"\x01"  # noqa: E731
    marked = re.sub(rb"(PK\x03\x04..|PK\x01\x02....).", flag_set, whole, flags=re.DOTALL)
    (tmp_path / "encrypted.npz").write_bytes(marked)
    with pytest.raises(DataError, match=r"encrypted\.npz is not a whole .*encrypted"):
        read_npz(tmp_path / "encrypted.npz")


@pytest.mark.parametrize("shape", ["(1000000000, 100000), }", "(-1, 3), }", "(3, 3)"])
def test_headers_that_are_broken_or_absurd_are_refused(tmp_path: Path, shape: str) -> None:
    header = ("{'descr': '<i8', 'fortran_order': False, 'shape': " + shape).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("numbers.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(72))
    with pytest.raises(DataError, match=r"a\.npz is not a whole \.npz archive"):
        read_npz(tmp_path / "a.npz")
