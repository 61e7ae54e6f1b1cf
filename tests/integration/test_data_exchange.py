"""Import and export through the command line, against PySCF and ASE."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions
from pyscf import gto, scf

from densnet_core.cli.app import run
from densnet_core.errors import DataError, InputError
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.labels import labels_of, partial_result
from densnet_core.stores.qcschema import read_qcschema
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure
from densnet_core.workflow.stores import export_file, import_file

WATER = np.array([[0.0, 0.1, 0.22], [0.2, 1.44, -0.9], [-0.1, -1.44, -0.88]])
LEVEL = LevelOfTheory("HF", "def2-SVP")
D_ORDER = {name: i for i, name in enumerate(("xy", "yz", "z^2", "xz", "x2-y2"))}
P_ORDER = {"y": 0, "z": 1, "x": 2}  # m = -1, 0, 1


def molecule(positions: np.ndarray, **more: object) -> gto.Mole:
    atoms = list(zip("OHH", positions.tolist(), strict=True))
    return gto.M(atom=atoms, unit="bohr", basis="def2-svp", verbose=0, **more)


def document(positions: np.ndarray) -> dict:
    """An AtomicResult made from PySCF alone: its basis, its labels of the functions, its orbitals.

    The shells of every atom stand in reverse, as another program may have them.
    """
    mole = molecule(positions)
    solver = scf.RHF(mole).run(conv_tol=1e-12)
    centers = {
        name: {
            "electron_shells": [
                {
                    "angular_momentum": [shell[0]],
                    "harmonic_type": "spherical",
                    "exponents": [str(row[0]) for row in shell[1:]],
                    "coefficients": [[row[1] for row in shell[1:]]],
                }
                for shell in reversed(mole._basis[name])
            ]
        }
        for name in ("O", "H")
    }
    rows: list[tuple[tuple[int, int, int, int], int]] = []
    shell_of = {}
    for row, (atom, _, shell, component) in enumerate(mole.ao_labels(fmt=None)):
        l_ = "spd".index(shell[1])
        number = shell_of.setdefault((atom, shell), sum(a == atom for a, _ in shell_of))
        place = 0 if l_ == 0 else P_ORDER[component] if l_ == 1 else D_ORDER[component]
        rows.append(((atom, -number, l_, place), row))
    order = [row for _, row in sorted(rows)]
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "success": True,
        "driver": "gradient",
        "model": {"method": "HF", "basis": "def2-SVP"},
        "molecule": {"symbols": ["O", "H", "H"], "geometry": positions.ravel().tolist(), "real": [True] * 3},
        "properties": {
            "return_energy": solver.e_tot,
            "scf_dipole_moment": solver.dip_moment(unit="au", verbose=0, origin=(0, 0, 0)).tolist(),
        },
        "return_result": solver.nuc_grad_method().kernel().ravel().tolist(),
        "provenance": {"creator": "PySCF", "version": "test"},
        "wavefunction": {
            "basis": {"name": "def2-SVP", "center_data": centers, "atom_map": ["O", "H", "H"]},
            "restricted": True,
            "scf_orbitals_a": solver.mo_coeff[order].ravel().tolist(),
            "scf_occupations_a": (solver.mo_occ / 2).tolist(),
            "orbitals_a": "scf_orbitals_a",
            "occupations_a": "scf_occupations_a",
        },
    }


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return [document(WATER), document(WATER + 0.1 * np.random.default_rng(0).normal(size=(3, 3)))]


def test_qcschema_becomes_a_store_from_which_densities_can_be_fitted(documents: list[dict], tmp_path: Path) -> None:
    file, path = tmp_path / "results.json", tmp_path / "s.zarr"
    file.write_text(json.dumps(documents))
    assert run(["data", "import", str(file), str(path)]) == 0
    backend = PySCFBackend(LEVEL, PySCFOptions(density_fitting=False, conv_tol=1e-12))
    with ReferenceStore.open(path) as store:
        assert store.level == LEVEL
        for index, sent in enumerate(documents):
            structure, result = store.frames([index])[0]
            assert labels_of(result) == ("energy", "forces", "dipole", "orbitals", "occupations")
            expected = backend.compute(structure)
            assert result.energy == pytest.approx(expected.energy, abs=1e-8)
            assert np.allclose(result.forces, expected.forces, atol=1e-5)
            assert np.allclose(result.dipole, expected.dipole, atol=1e-5)
            # Orbitals of both may differ by rotations among themselves; their density matrices may not.
            assert np.allclose(result.orbitals @ result.orbitals.T, expected.orbitals @ expected.orbitals.T, atol=1e-5)
            mole = molecule(structure.positions)
            density = 2 * result.orbitals @ result.orbitals.T
            moment = -np.einsum("xij,ij->x", mole.intor("int1e_r"), density)
            moment += mole.atom_charges() @ mole.atom_coords()
            assert np.allclose(moment, sent["properties"]["scf_dipole_moment"], atol=1e-8)
    assert verify(path) == []
    again = tmp_path / "again.json"
    assert run(["data", "export", str(path), str(again)]) == 0
    assert run(["data", "import", str(again), str(tmp_path / "again.zarr")]) == 0
    with ReferenceStore.open(path) as one, ReferenceStore.open(tmp_path / "again.zarr") as two:
        assert one.hashes == two.hashes
        assert all(np.array_equal(one.result(i).orbitals, two.result(i).orbitals) for i in range(2))
        assert all(np.array_equal(one.result(i).forces, two.result(i).forces) for i in range(2))


def test_wrong_results_are_refused_with_the_reason(documents: list[dict], tmp_path: Path) -> None:
    file = tmp_path / "f.json"

    def refuse(message: str, kind: type[Exception] = DataError, **changes: object) -> None:
        file.write_text(json.dumps({**documents[0], **changes}))
        with pytest.raises(kind, match=message):
            read_qcschema(file)

    wavefunction = documents[0]["wavefunction"]
    orbitals = np.array(wavefunction["scf_orbitals_a"]).reshape(24, -1)
    swapped = orbitals[[1, 0, *range(2, 24)]].ravel().tolist()
    refuse("not orthonormal in their basis", wavefunction={**wavefunction, "scf_orbitals_a": swapped})
    refuse("the orbitals has 1 numbers", wavefunction={**wavefunction, "scf_orbitals_a": [1.0]})
    refuse("has no energy: .*Found: scf_dipole_moment", properties={"scf_dipole_moment": [0.0, 0.0, 0.0]})
    refuse("energy is not finite. Found: return_energy", properties={"return_energy": float("nan")})
    refuse("has no gradient", driver="energy", return_result=-76.0)
    refuse("a calculation that failed: no convergence", success=False, error={"error_message": "no convergence"})
    refuse("expected an AtomicResult", schema_name="qcschema_input")
    refuse("not a whole AtomicResult", molecule={"symbols": ["O"]})
    ghosts = {**documents[0]["molecule"], "real": [True, False, True]}
    refuse("ghost atoms", InputError, molecule=ghosts)
    for charge in (0.7, float("inf")):
        charged = {**documents[0]["molecule"], "molecular_charge": charge}
        refuse("molecular_charge=.* is not a sensible whole number", molecule=charged)
    refuse("not a whole AtomicResult", properties={"return_energy": 10**400})
    file.write_text(json.dumps([documents[0], {**documents[1], "model": {"method": "PBE", "basis": "def2-SVP"}}]))
    with pytest.raises(DataError, match="one level of theory"):
        read_qcschema(file)
    file.write_text(json.dumps(documents))
    with pytest.raises(InputError, match="not at PBE/def2-SVP"):
        import_file(file, tmp_path / "s.zarr", "PBE/def2-SVP", "pyscf")
    assert not (tmp_path / "s.zarr").exists()


def test_extended_xyz_without_orbitals_is_a_store_that_says_what_it_cannot(
    documents: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = tmp_path / "a.json", tmp_path / "s.zarr"
    file.write_text(json.dumps(documents))
    import_file(file, path, None, "pyscf")
    xyz = tmp_path / "out.xyz"
    assert export_file(path, xyz) == {xyz: 2}
    read = ase.io.read(xyz, index=":")
    for atoms, sent in zip(read, documents, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(sent["properties"]["return_energy"] * ase.units.Hartree)
        gradient = np.array(sent["return_result"]).reshape(3, 3)
        assert np.allclose(atoms.get_forces(), -gradient * ase.units.Hartree / ase.units.Bohr, rtol=1e-7)
        dipole = np.array(sent["properties"]["scf_dipole_moment"])
        assert np.allclose(atoms.get_dipole_moment(), dipole * ase.units.Bohr, rtol=1e-7)
    plain = tmp_path / "plain.zarr"
    assert run(["data", "import", str(xyz), str(plain)]) == 2
    assert "name it with --level" in capsys.readouterr().err
    assert run(["data", "import", str(xyz), str(plain), "--level", "HF/def2-SVP"]) == 0
    assert run(["data", "import", str(xyz), str(plain), "--level", "HF/def2-SVP"]) == 0  # once more
    assert "0 frames imported, 2 were there already" in capsys.readouterr().out
    with ReferenceStore.open(plain) as store, ReferenceStore.open(path) as whole:
        assert store.hashes == whole.hashes
        assert store.labels(0) == ("energy", "forces", "dipole")
    assert verify(plain) == []
    assert run(["data", "project", str(plain), "--basis", "def2-universal-jfit"]) == 2
    told = capsys.readouterr().err
    assert "2 of 2 frames of" in told
    assert "have no orbitals" in told
    # Merged with a store that has the orbitals, it has them.
    assert run(["data", "merge", str(tmp_path / "m.zarr"), str(plain), str(path)]) == 0
    with ReferenceStore.open(tmp_path / "m.zarr") as store:
        assert "orbitals" in store.labels(0)
    assert run(["data", "export", str(path), str(tmp_path / "o.npz")]) == 0
    import_file(tmp_path / "o.npz", tmp_path / "n.zarr", "HF/def2-SVP", "pyscf")
    with ReferenceStore.open(tmp_path / "n.zarr") as store, ReferenceStore.open(path) as whole:
        assert np.array_equal(store.result(1).orbitals, whole.result(1).orbitals)
    small = tmp_path / "small.npz"
    assert run(["data", "export", str(path), str(small), "--small"]) == 0
    assert small.stat().st_size < (tmp_path / "o.npz").stat().st_size
    import_file(small, tmp_path / "small.zarr", "HF/def2-SVP", "pyscf")
    with ReferenceStore.open(tmp_path / "small.zarr") as store, ReferenceStore.open(path) as whole:
        np.testing.assert_allclose(store.result(1).orbitals, whole.result(1).orbitals, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(store.result(1).forces, whole.result(1).forces, rtol=1e-12)
    capsys.readouterr()
    assert run(["data", "export", str(path), str(tmp_path / "o.xyz"), "--small"]) == 2
    assert "leave out --small" in capsys.readouterr().err
    assert run(["data", "export", str(path), str(tmp_path / "o.cif")]) == 2
    assert "the suffix must be" in capsys.readouterr().err


def test_orbitals_in_another_order_and_labels_that_differ_are_refused(
    documents: list[dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = tmp_path / "a.json", tmp_path / "s.zarr"
    file.write_text(json.dumps(documents))
    import_file(file, path, None, "pyscf")
    archive = tmp_path / "o.npz"
    export_file(path, archive)
    with np.load(archive) as loaded:
        arrays = dict(loaded)

    def importing(name: str, store: str, **changes: np.ndarray | None) -> tuple[int, str]:
        sent = {key: values for key, values in {**arrays, **changes}.items() if values is not None}
        np.savez(tmp_path / name, **sent)
        code = run(["data", "import", str(tmp_path / name), str(tmp_path / store), "--level", "HF/def2-SVP"])
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    orbitals = arrays["mo_coeff_occupied"].copy()
    orbitals[1] = orbitals[1][[1, 0, *range(2, 24)]]
    code, said = importing("swapped.npz", "new.zarr", mo_coeff_occupied=orbitals)
    assert code == 2
    assert "swapped.npz, frame 1: the orbitals are not orthonormal in their basis 'def2-SVP'" in said
    positions = arrays["positions_angstrom"].copy()
    positions[0, 2] = positions[0, 1]
    code, said = importing("close.npz", "new.zarr", positions_angstrom=positions)
    assert code == 2
    assert "close.npz, frame 0: H (atom 2) and H (atom 3) are 0.0000 angstrom apart" in said
    twice = {name: np.concatenate([values, values[:1]]) for name, values in arrays.items()}
    code, said = importing("twice.npz", "new.zarr", **twice)
    assert code == 2
    assert "frame 2 has the geometry of frame 0" in said
    assert not (tmp_path / "new.zarr").exists()

    energies = arrays["energy_hartree"] + np.array([0.0, 100.0 / ase.units.Hartree])
    code, said = importing("shifted.npz", "s.zarr", energy_hartree=energies)
    assert code == 2
    assert "shifted.npz, frame 1: energy differs by 3.67 atomic units" in said
    assert importing("same.npz", "s.zarr") == (0, f"{path}: 0 frames imported, 2 were there already")
    assert importing("plain.npz", "plain.zarr", mo_coeff_occupied=None)[0] == 0
    code, said = importing("same.npz", "plain.zarr")
    assert code == 0
    assert "not imported: occupations of 2 frames that were there already without" in said
    assert "orbitals of 2 frames" in said


def test_a_split_is_stored_and_never_frees_a_test_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.zarr"
    draw = np.random.default_rng(0)
    with ReferenceStore.create(path, LEVEL, "pyscf", {}) as store:
        frames = [Structure(np.array([8, 1, 1]), WATER + 0.1 * draw.normal(size=(3, 3))) for _ in range(20)]
        store.append([(structure, partial_result({"energy": -76.0})) for structure in frames])
    assert run(["data", "split", str(path), "--test", "5", "--validation", "3"]) == 0
    assert "12 train, 3 validation, 5 test, 5 held out" in capsys.readouterr().out
    with ReferenceStore.open(path) as store:
        first = store.read_document("split")
    assert run(["data", "split", str(path), "--test", "2", "--validation", "3", "--seed", "7"]) == 0
    with ReferenceStore.open(path) as store:
        second = store.read_document("split")
    assert not set(first["test"]) & {*second["train"], *second["validation"]}
    assert len(second["train"]) == 12
    assert run(["data", "split", str(path), "--test", "5", "--validation", "3", "--train", "13"]) == 2
    assert "only 20 are labelled and 5 of them are held out" in capsys.readouterr().err
