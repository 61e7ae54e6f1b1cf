"""``densnet vibrations`` with a model and with PySCF, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.io import read
from ase.thermochemistry import IdealGasThermo
from matplotlib.image import imread
from tiny_run import FinishedRun, environment

from densnet_core.cli.app import run
from densnet_core.potentials.densnet import DenSNet
from densnet_core.spectra.harmonic import normal_modes
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import read_geometry, read_xyz
from densnet_core.units import HARTREE_TO_EV
from densnet_core.workflow.harmonic import harmonic_from

MODEL = Path(__file__).parents[1] / "data" / "model_v1.zip"
GEOMETRIES = {
    "water": "3\n\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n",
    "flat-ammonia": "4\n\nN 0 0 0\nH 1 0 0\nH -0.5 0.866 0\nH -0.5 -0.866 0\n",
    "hydrogen-cyanide": "3\n\nH 0 0.001 -1.06\nC 0 0 0\nN 0 0 1.15\n",
    "neon": "1\n\nNe 1 2 3\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in GEOMETRIES.items():
        (tmp_path / f"{name}.xyz").write_text(text)
    return tmp_path


def vibrations(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert run(["vibrations", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def lines(record: dict) -> list[float]:
    return [mode["wavenumber_per_cm"] for mode in record["modes"]]


def test_a_model_gives_minimum_modes_and_thermochemistry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = vibrations(capsys, MODEL, "water.xyz")
    assert record["stationary_point"] == "minimum"
    assert record["source"]["level_of_theory"] == "HF/6-31G"
    assert record["modes"][0]["motion"] == "H-O-H bend"

    minimum = read_geometry(record["files"]["geometry"])
    assert Path(record["files"]["geometry"]) == Path("water-vibrations/minimum.xyz")
    (prediction,) = DenSNet.load(MODEL).predict([minimum])
    assert prediction.energy == pytest.approx(record["energy_hartree"], abs=1e-6)
    assert np.abs(prediction.forces).max() < 1e-4
    atoms = read(record["files"]["geometry"])
    assert atoms.get_potential_energy() == pytest.approx(record["energy_hartree"] * HARTREE_TO_EV, rel=1e-9)

    full = json.loads(Path("water-vibrations/modes.json").read_text())
    modes = normal_modes(harmonic_from(full))
    assert modes.wavenumbers == pytest.approx(lines(record))
    assert modes.intensities == pytest.approx([mode["intensity_km_per_mol"] for mode in record["modes"]])
    np.testing.assert_allclose([m["eigenvector_mass_weighted"] for m in full["modes"]], modes.eigenvectors, atol=1e-9)

    found = record["thermochemistry"]
    theirs = IdealGasThermo(
        np.array(lines(record)) * units.invcm,
        "nonlinear",
        atoms.get_potential_energy(),
        atoms,
        symmetrynumber=2,
        spin=0,
    )
    gibbs = theirs.get_gibbs_energy(298.15, 1e5, verbose=False) / HARTREE_TO_EV
    assert found["gibbs_energy_hartree"] == pytest.approx(gibbs, abs=1e-6)
    assert (found["symmetry_number"], found["symmetry_number_from"]) == (2, "geometry")
    assert imread(record["files"]["picture"]).ndim == 3

    hot = vibrations(capsys, MODEL, "water.xyz", "--temperature", 500, "--pressure", 2, "--symmetry-number", 1)
    again = hot["thermochemistry"]
    assert again["entropy_j_per_mol_kelvin"] > found["entropy_j_per_mol_kelvin"]
    assert (again["symmetry_number"], again["symmetry_number_from"], again["pressure_bar"]) == (1, "option", 2.0)
    assert not list(Path("water-vibrations").glob("modes-*.json"))  # the same calculations: nothing is set aside


def test_animations_play_in_ase_and_are_read_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = vibrations(capsys, MODEL, "water.xyz", "--output", "out")
    files = sorted(Path(record["files"]["animations"]).iterdir())
    assert [file.name for file in files] == ["mode-01.xyz", "mode-02.xyz", "mode-03.xyz"]
    minimum = read_geometry(record["files"]["geometry"])
    for file, mode in zip(files, record["modes"], strict=True):
        frames = read(file, index=":")
        assert len(frames) == len(read_xyz(file)) == 24
        assert frames[0].info["frequency"] == pytest.approx(mode["wavenumber_per_cm"], abs=0.01)
        shifts = np.array([frame.positions - frames[0].positions for frame in frames])
        assert np.linalg.norm(shifts, axis=-1).max() == pytest.approx(0.25, abs=1e-9)
        np.testing.assert_allclose(read_xyz(file)[0].positions, minimum.positions, atol=1e-9)
    vectors = read(record["files"]["vectors"], index=":")
    assert [np.linalg.norm(one.arrays["displacement"], axis=1).max() for one in vectors] == pytest.approx([0.25] * 3)


def test_a_model_is_asked_for_what_it_was_trained_on(
    finished_run: FinishedRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hydrogen.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    assert run(["vibrations", str(finished_run.model), "hydrogen.xyz"]) == 2
    assert "The energy of H2 has no meaning in this model" in capsys.readouterr().err
    record = vibrations(capsys, finished_run.model, "water.xyz", "--max-force", "1e-4")
    assert len(record["modes"]) == 3
    (here,) = DenSNet.load(finished_run.model).extrapolation([read_geometry(record["files"]["geometry"])])
    assert record["extrapolation"]["score"] == pytest.approx(here.score, rel=1e-3)
    assert record["extrapolation"]["reasons"] == list(here.reasons)
    # Stretched to what no training frame is like, and kept so.
    (folder / "far.xyz").write_text("3\n\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -1.3 -0.8\n")
    command = ["vibrations", str(finished_run.model), "far.xyz", "--keep-geometry"]
    assert run([*command, "--strict"]) == 2
    assert "unlike those the model was trained on" in capsys.readouterr().err
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "unlike the training data: " in shown
    assert "This is no stationary point" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MODEL, "flat-ammonia.xyz"), "does not know N"),
        ((MODEL, "water.xyz", "--charge", "1", "--multiplicity", "2"), "charge 1 and multiplicity 2"),
        ((MODEL, "water.xyz", "--strict"), "leave out --strict"),
        ((MODEL, "water.xyz", "--temperature", "0"), "temperature"),
        ((MODEL, "water.xyz", "--level", "PBE/def2-SVP"), "leave it out for a model"),
        ((MODEL, "water.xyz", "--max-calculations", "2"), "after 2 calculations"),
        ((MODEL, "water.xyz", "--compare", "nowhere.json"), "no file nowhere.json"),
        (("pyscf", "water.xyz"), "name the level of theory"),
        (("pyscf", "water.xyz", "--level", "HF/STO-3G", "--strict"), "for a model"),
        (("pyscf", "water.xyz", "--level", "HF"), "METHOD/BASIS"),
        (("pyscf", "water.xyz", "--level", "HF/STO-3Q"), "STO-3Q"),
        (("pyscff", "water.xyz", "--level", "HF/STO-3G"), "Did you mean 'pyscf'"),
        (("nowhere", "water.xyz"), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], message: str
) -> None:
    assert run(["vibrations", *map(str, arguments)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("Error: ")
    assert message in errors[-1]


def test_a_level_of_theory_gives_the_known_frequencies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PBE/def2-SVP of water from an analytical Hessian in PySCF (FACTS.md, item 4)."""
    model = vibrations(capsys, MODEL, "water.xyz")
    command = ["pyscf", "water.xyz", "--level", "PBE/def2-SVP", "--compare", model["files"]["modes"]]
    record = vibrations(capsys, *command)
    assert lines(record) == pytest.approx([1609.0, 3691.0, 3790.0], abs=1.5)
    assert [one["intensity_km_per_mol"] for one in record["modes"]] == pytest.approx([47.5, 2.3, 19.9], abs=0.2)
    motions = [one["motion"] for one in record["modes"]]
    assert motions == ["H-O-H bend", "O-H stretch in phase", "O-H stretch out of phase"]
    assert record["thermochemistry"]["entropy_j_per_mol_kelvin"] == pytest.approx(188.835, abs=0.5)
    for row in record["comparison"]["modes"]:
        other = model["modes"][row["other_mode"] - 1]["wavenumber_per_cm"]
        own = record["modes"][row["mode"] - 1]["wavenumber_per_cm"]
        assert row["wavenumber_deviation_per_cm"] == pytest.approx(own - other)
        assert row["overlap"] > 0.9
    with ReferenceStore.open(record["store"]) as store:
        computed = len(store)
    assert run(["vibrations", *command]) == 0  # everything is there already
    shown = capsys.readouterr().out
    with ReferenceStore.open(record["store"]) as store:
        assert len(store) == computed
    for text in ("A minimum", "O-H stretch out of phase", "symmetry number 2 (found", "rotation 44.", "overlap"):
        assert text in shown


def test_raman_activities_obey_symmetry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mode that breaks the symmetry of the molecule changes no mean polarizability: its light is depolarized."""
    record = vibrations(capsys, "pyscf", "water.xyz", "--level", "HF/6-31G", "--raman")
    bend, together, apart = record["modes"]
    assert apart["depolarization_ratio"] == pytest.approx(0.75, abs=1e-4)
    assert bend["depolarization_ratio"] < 0.74
    assert together["depolarization_ratio"] < 0.3
    activities = [mode["raman_activity_angstrom4_per_dalton"] for mode in record["modes"]]
    assert activities[1] == max(activities)
    assert activities[1] > 30.0
    modes = normal_modes(harmonic_from(json.loads(Path(record["files"]["modes"]).read_text())))
    assert modes.raman_activities == pytest.approx(activities)
    assert run(["vibrations", str(MODEL), "water.xyz", "--raman"]) == 2
    assert "predicts no polarizabilities" in capsys.readouterr().err
    assert run(["vibrations", "pyscf", "water.xyz", "--level", "HF/6-31G", "--raman"]) == 0
    assert "Raman" in capsys.readouterr().out


def test_a_symmetric_start_ends_on_a_saddle_point_that_is_called_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    level = ("--level", "HF/STO-3G")
    record = vibrations(capsys, "pyscf", "flat-ammonia.xyz", *level, "--output", "out")
    assert (record["stationary_point"], record["imaginary_modes"]) == ("saddle point", 1)
    assert record["modes"][0]["motion"] == "N out of plane"
    assert Path(record["files"]["geometry"]).name == "saddle_point.xyz"
    assert record["thermochemistry"]["symmetry_number"] == 6
    real = np.array(lines(record)[1:])
    assert (real > 0).all()
    zero_point = record["thermochemistry"]["zero_point_energy_hartree"]
    assert zero_point == pytest.approx(real.sum() / 2 / 219474.63, rel=1e-6)

    # A frame of the animation, of another molecule name, leads to the minimum; the saddle point is set aside.
    frame = read("out/modes/mode-01.xyz", index=5)
    frame.info.clear()
    frame.write("pyramid.xyz", format="xyz", comment="")
    found = vibrations(capsys, "pyscf", "pyramid.xyz", *level, "--output", "out")
    assert (found["stationary_point"], found["imaginary_modes"]) == ("minimum", 0)
    assert found["energy_hartree"] < record["energy_hartree"] - 1e-3
    assert found["modes"][0]["motion"] == "H-N-H bend"
    names = {path.name for path in Path("out").iterdir()}
    assert "minimum.xyz" in names
    assert "saddle_point.xyz" not in names
    assert any(name.startswith("saddle_point-") for name in names)

    assert run(["vibrations", "pyscf", "flat-ammonia.xyz", *level, "--output", "out"]) == 0
    shown = capsys.readouterr()
    assert "A saddle point of order 1, no minimum: 1 imaginary frequency" in shown.out
    assert "are kept as" in shown.err


def test_modes_are_compared_with_modes_of_the_same_molecule_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neon = vibrations(capsys, "pyscf", "neon.xyz", "--level", "HF/STO-3G")
    for path, message in (
        (neon["files"]["modes"], "of H2O and of Ne"),
        ("neon.xyz", "Cannot read neon.xyz"),
        ("list.json", "is no modes.json of densnet vibrations"),
    ):
        Path("list.json").write_text('{"format": "other"}')
        assert run(["vibrations", str(MODEL), "water.xyz", "--compare", path]) == 2
        assert message in capsys.readouterr().err
    assert not Path("water-vibrations").exists()  # found before anything is computed


def test_linear_molecules_and_atoms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    level = ("--level", "HF/STO-3G")
    record = vibrations(capsys, "pyscf", "hydrogen-cyanide.xyz", *level, "--keep-geometry")
    assert record["stationary_point"] == "no stationary point"
    assert record["is_linear"]
    record = vibrations(capsys, "pyscf", "hydrogen-cyanide.xyz", *level)
    assert (record["stationary_point"], record["is_linear"], len(record["modes"])) == ("minimum", True, 4)
    assert lines(record)[0] == pytest.approx(lines(record)[1], abs=1.0)
    assert [one["motion"].split(",")[0] for one in record["modes"][:2]] == ["N-C-H bend"] * 2
    assert record["rotational_constants_ghz"] == pytest.approx([44.3, 44.3], abs=1.0)  # measured B_0; Herzberg
    neon = vibrations(capsys, "pyscf", "neon.xyz", *level)
    assert neon["modes"] == []
    assert neon["thermochemistry"]["entropy_j_per_mol_kelvin"] == pytest.approx(146.328, abs=0.02)  # CODATA
    assert not Path("neon-vibrations-pyscf-HF-STO-3G/modes.xyz").exists()


def test_killed_calculations_are_not_made_again(folder: Path) -> None:
    command = [sys.executable, "-c", "from densnet_core.cli.app import main; main()"]
    command += ["vibrations", "pyscf", "water.xyz", "--level", "HF/6-31G", "--output", "out", "--json"]
    store = Path("out/pyscf-HF-6-31G.zarr")

    def seconds() -> dict[bytes, float]:
        if not (store / "zarr.json").is_file():
            return {}
        with ReferenceStore.open(store) as opened:
            return {content: opened.result(i, ("energy",)).seconds for i, content in enumerate(opened.hashes)}

    for enough in (2, 9):  # in the optimisation and among the second derivatives
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 250
        while len(seconds()) < enough and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = seconds()
        assert len(before) >= enough
        assert not Path("out/modes.json").exists()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    after = seconds()
    assert before.items() <= after.items()
    assert len(json.loads(done.stdout)["modes"]) == 3
