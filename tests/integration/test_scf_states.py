"""States an SCF ends in: spin, stability and jumps are kept, told, and followed to lower solutions where asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from densnet_psi4.backend import Psi4Backend
from densnet_psi4.config import Psi4Options
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions

from densnet_core.cli.app import run
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.extxyz import read_extxyz, write_extxyz
from densnet_core.stores.labels import announced_quantities
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.scf_states import state_notes
from densnet_core.structures import Structure, read_xyz
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

LEVEL = LevelOfTheory.parse("HF/STO-3G")


def cyanide(angstrom: float) -> Structure:
    return Structure(np.array([6, 7]), np.array([[0.0, 0, 0], [0, 0, angstrom / BOHR_TO_ANGSTROM]]), 0, 2)


def backend(stability: str | None) -> PySCFBackend:
    return PySCFBackend(LEVEL, PySCFOptions(stability=stability, density_fitting=False))  # type: ignore[arg-type]


def test_spin_and_stability_of_cyanide_are_kept_with_each_frame() -> None:
    """Values of shared/cases/silent.md, case 6, tried with PySCF alone."""
    contaminated = backend(None).compute(cyanide(1.2)).more
    assert float(contaminated["scf_s_squared"]) == pytest.approx(1.40, abs=0.01)
    assert float(contaminated["scf_stable"]) == 1.0
    unstable = backend(None).compute(cyanide(1.3))
    assert float(unstable.more["scf_stable"]) == 0.0
    followed = backend("follow").compute(cyanide(1.3))
    assert float(followed.more["scf_stable"]) == 1.0
    assert 1.4 < (unstable.energy - followed.energy) * HARTREE_TO_EV < 3.6
    assert "scf_stable" not in backend("off").compute(cyanide(1.2)).more


def test_forces_are_those_of_the_solution_that_was_followed() -> None:
    """Which of several lower solutions is found hangs on rounding: neighbours count where they found the same one."""
    step, compared = 1e-3, 0  # angstrom
    for angstrom in (1.3, 1.35, 1.4, 1.6):
        less, middle, more = (backend("follow").compute(cyanide(angstrom + shift)) for shift in (-step, 0.0, step))
        if abs(more.energy + less.energy - 2.0 * middle.energy) < 1e-5:
            slope = -(more.energy - less.energy) / (2 * step) * BOHR_TO_ANGSTROM
            assert middle.forces[1, 2] == pytest.approx(slope, abs=1e-5)
            compared += 1
    assert compared > 0


def test_psi4_keeps_the_same_spin_and_gap() -> None:
    hydroxyl = Structure(np.array([8, 1]), np.array([[0.0, 0, 0], [0, 0, 1.83]]), 0, 2)
    one = backend(None).compute(hydroxyl).more
    other = Psi4Backend(LEVEL, Psi4Options(density_fitting=False)).compute(hydroxyl).more
    assert set(other) == {"scf_s_squared", "scf_gap"}
    for name, value in other.items():
        assert float(value) == pytest.approx(float(one[name]), abs=1e-5)


def test_a_closed_shell_is_looked_at_where_asked() -> None:
    """Stretched hydrogen has an unrestricted solution 6.3 eV lower; at its minimum it has none."""
    for angstrom, stable in ((0.74, 1.0), (2.5, 0.0)):
        hydrogen = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, angstrom / BOHR_TO_ANGSTROM]]))
        found = backend("check").compute(hydrogen).more
        assert float(found["scf_stable"]) == stable
        assert float(found["scf_s_squared"]) == pytest.approx(0.0, abs=1e-10)
        assert "scf_stable" not in backend(None).compute(hydrogen).more


def test_a_single_electron_has_no_beta_and_no_gap_of_it() -> None:
    atom = Structure(np.array([1]), np.zeros((1, 3)), 0, 2)
    found = backend(None).compute(atom).more
    assert float(found["scf_s_squared"]) == pytest.approx(0.75, abs=1e-12)
    assert "scf_stable" not in found


def test_the_labels_survive_an_exchange_and_the_file_is_a_geometry(tmp_path: Path) -> None:
    file = tmp_path / "cn.xyz"
    result = backend(None).compute(cyanide(1.2))
    with file.open("w", encoding="utf-8") as out:
        write_extxyz(out, [(cyanide(1.2), result)], announced_quantities(), level_of_theory=str(LEVEL))
    ((_, again),) = read_extxyz(file).records
    assert {name: float(value) for name, value in again.more.items()} == {
        name: float(value) for name, value in result.more.items()
    }
    assert read_xyz(file)[0].multiplicity == 2


def test_a_store_says_which_of_its_frames_sit_on_different_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The curve of cyanide jumps down by 0.9 eV from 1.50 to 1.55 angstrom."""
    path = tmp_path / "cn.zarr"
    with ReferenceStore.create(path, LEVEL, "pyscf", {"pyscf": "test"}) as store:
        store.set_orbital_basis(backend(None).orbital_basis(np.array([6, 7])))
        store.append([(cyanide(r), backend(None).compute(cyanide(r))) for r in (1.4, 1.45, 1.5, 1.55, 1.6)])
    with ReferenceStore.open(path) as store:
        notes = state_notes(store)
        assert float(store.result(2).more["scf_stable"]) == 0.0
    assert any("are not in a minimum of the energy" in note and "5 of 5" in note for note in notes)
    assert any("different states: 2-3" in note for note in notes)
    assert run(["data", "info", str(path)]) == 0
    assert "different states" in capsys.readouterr().out.replace("\n", " ")
