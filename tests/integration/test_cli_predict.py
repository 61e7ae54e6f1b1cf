"""``densnet predict``: properties, potential, cubes and pictures as a user asks for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.io.cube import read_cube_data
from matplotlib.image import imread
from tiny_run import FinishedRun, densnet

from densnet_core.cli.app import run
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import read_xyz

TWO_WATERS = (
    "3\n\nO 0 0 0.117\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n3\n\nO 0 0 0.117\nH 0 0.80 -0.477\nH 0 -0.763 -0.50\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "waters.xyz").write_text(TWO_WATERS)
    (tmp_path / "points.csv").write_text("x,y,z\n0,0,3\n0,0,-3\n")
    return tmp_path


def test_properties_of_every_frame(finished_run: FinishedRun, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", str(finished_run.model), "waters.xyz", "--properties", "all", "--potential-at", "points.csv"]
    assert run([*command, "--json"]) == 0
    frames = json.loads(capsys.readouterr().out)["frames"]
    densities = [p.density for p in DenSNet.load(finished_run.model).predict(read_xyz(folder / "waters.xyz"))]
    for frame, density in zip(frames, densities, strict=True):
        assert frame["hartree_energy_hartree"] == pytest.approx(density.hartree_energy(), rel=1e-9)
        assert np.trace(frame["quadrupole_debye_angstrom"]) == pytest.approx(0.0, abs=1e-9)
        assert sum(frame["hirshfeld_charges_e"]) == pytest.approx(0.0, abs=1e-9)
        oxygen, *hydrogens = frame["hirshfeld_charges_e"]
        assert oxygen < -0.1 < 0.05 < min(hydrogens)
        below, above = (entry["potential_hartree_per_e"] for entry in frame["potential_at_points"])
        assert below < 0.0 < above  # in front of the oxygen and of the hydrogens
        assert frame["surface_potential"]["minimum_volt"] < -0.5 < 0.5 < frame["surface_potential"]["maximum_volt"]
    assert frames[0]["hirshfeld_charges_e"][1] == pytest.approx(frames[0]["hirshfeld_charges_e"][2], abs=1e-4)

    assert run(command) == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert [len(table.strip().splitlines()) for table in tables] == [3, 7, 5]
    for unit in ("quadrupole D\u00c5", "Hartree energy Ha", "surface potential V", "area \u00c5\u00b2"):
        assert unit in tables[0]
    assert "charge e, Hirshfeld" in tables[1]
    assert "potential Ha/e" in tables[2]
    assert f"{frames[1]['hirshfeld_charges_e'][2]:.4f}" in tables[1].splitlines()[6]


def test_files_are_of_the_frame_that_is_named(
    finished_run: FinishedRun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = densnet(
        "predict", finished_run.model, "waters.xyz", "--frame", 1, "--spacing", 0.5, "--cube", "density.cube",
        "--cube-difference", "difference.cube", "--cube-potential", "potential.cube", "--picture", "slice.png",
        "--picture-of", "potential", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "potential cube of frame 1: potential.cube" in done.stdout
    assert "potential picture of frame 1: slice.png" in done.stdout
    second = read_xyz(folder / "waters.xyz")[1]
    (prediction,) = DenSNet.load(finished_run.model).predict([second])
    fields = {
        "density": prediction.density.evaluate,
        "difference": prediction.density.difference,
        "potential": prediction.density.electrostatic_potential,
    }
    for name, field in fields.items():
        values, atoms = read_cube_data(str(folder / f"{name}.cube"))
        assert atoms.positions[1] == pytest.approx([0, 0.8, -0.477], abs=1e-5)
        index = (3, 20, 8)
        point = second.positions.min(axis=0) - 5.0 + 0.5 * np.array(index)
        assert values[index] == pytest.approx(field(point[None])[0], rel=1e-4, abs=1e-9)
    assert imread(folder / "slice.png").ndim == 3

    assert run(["predict", str(finished_run.model), "waters.xyz", "--picture", "x.png", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["files"] == {"density picture": "x.png"}
    assert record["files_of_frame"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--properties", "chrages"), "no property 'chrages'. Did you mean 'charges'"),
        (("--frame", "2"), "has 2 frames, counted from 0; there is no frame 2"),
        (("--potential-at", "nowhere.csv"), "Cannot read the points nowhere.csv"),
        (("--picture", "nowhere/slice.png"), "Cannot write the picture nowhere/slice.png"),
        (("--cube-potential", "x.cube", "--spacing", "0"), "positive spacing"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    finished_run: FinishedRun,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    assert run(["predict", str(finished_run.model), "waters.xyz", *options]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("Error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_atoms_that_coincide_are_refused(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "on_top.xyz"
    path.write_text("3\n\nO 0 0 0\nH 0 0 0\nH 0 0.76 -0.5\n")
    for options in ((), ("--json",)):
        assert run(["predict", str(finished_run.model), str(path), *options]) == 2
        assert "O (atom 1) and H (atom 2) are 0.0000 angstrom apart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("labels",), "abc"),
        (("density", "options"), [1]),
        (("density", "backbone"), None),
        (("energy", "model"), 5),
        (("density", "backbone_options", "channels"), 10**9),
        (("elements",), [1, "x"]),
    ],
)
def test_a_hostile_document_is_refused_in_one_sentence(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: tuple[str, ...], value: object
) -> None:
    model = tmp_path / "model"
    shutil.copytree(finished_run.model, model)
    document = json.loads((model / "model.json").read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (model / "model.json").write_text(json.dumps(document))
    water = tmp_path / "water.xyz"
    water.write_text("3\n\nO 0 0 0.1\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n")
    assert run(["predict", str(model), str(water)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("Error: ")
    assert "Defect" not in errors
