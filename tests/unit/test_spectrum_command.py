"""``densnet spectrum`` of trajectories with known bands: with weights, beside vibrations and an experiment."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from densnet_core.cli.app import run
from densnet_core.config.load import load_config
from densnet_core.errors import ConfigError, InputError
from densnet_core.files.records import write_json
from densnet_core.md.rigid import vibrational_degrees_of_freedom
from densnet_core.spectra.harmonic import HarmonicReference, normal_modes
from densnet_core.spectra.model_hessian import model_hessian
from densnet_core.spectra.motions import motions
from densnet_core.spectra.vibrations import vibrations
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure, write_xyz
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND, BOLTZMANN, HARTREE_TO_WAVENUMBER
from densnet_core.workflow.harmonic import harmonic_record
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run
from densnet_core.workflow.stages.spectrum import Spectrum
from densnet_core.workflow.thermal import HARMONIC
from densnet_core.workflow.vibration_files import summary, write_vibrations
from densnet_core.workflow.weighted import Weighted, weighted

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
TURNED = Structure(np.array([1, 8, 1]), WATER.positions[[1, 0, 2]])
HEAVY = Structure(WATER.numbers, WATER.positions, isotope_masses=np.array([15.999, 2.014, 2.014]))
TEMPERATURE, FRAMES, STEP = 300.0, 2600, 0.5
EXPERIMENT = {
    "bands": [3657.0, 1595.0, 3756.0],
    "intensities": [2.9, 62.5, 41.7],
    "source": "Shimanouchi, NIST WebBook (bands); CCCBDB (intensities)",
    "regions": [{"name": "bend", "lower": 1400.0, "upper": 1800.0, "intensity": 62.5}],
}


def reference(structure: Structure = WATER, energy: float = -76.0, stiffer: float = 1.0) -> HarmonicReference:
    charges = np.where(structure.numbers == 8, -0.6, 0.3)
    derivatives = np.repeat(charges, 3)[:, None] * np.tile(np.eye(3), (structure.n_atoms, 1))
    return HarmonicReference(structure, energy, stiffer * model_hessian(structure), derivatives)


def trajectory(
    path: Path,
    amplitudes: list[float],
    wavenumber: float = 1600.0,
    structure: Structure = WATER,
    energy: float | None = -76.0,
    frames: int = FRAMES,
    **stage: object,
) -> Path:
    """A replica for each amplitude of one oscillating dipole, e bohr."""
    step = STEP / ATOMIC_TIME_TO_FEMTOSECOND
    settings = {"temperature": TEMPERATURE, "time_step": step, "record_every": 1, **stage}
    full = MDStage("nve", frames - 1, friction=0.0, seed=0, **settings)
    phases = 0.7 * np.arange(len(amplitudes))
    times = full.record_every * full.time_step * np.arange(frames)
    waves = np.cos(wavenumber / HARTREE_TO_WAVENUMBER * times[:, None] + phases) * np.array(amplitudes)
    dipoles = np.zeros((frames, len(amplitudes), 3))
    dipoles[..., 2] = 0.7 + waves
    positions = np.tile(structure.positions, (frames, len(amplitudes), 1, 1))
    freedom = vibrational_degrees_of_freedom(structure.masses, structure.positions) * len(amplitudes)
    kinetic = np.full(frames, 0.5 * freedom * BOLTZMANN * full.temperature)
    steps = full.record_every * np.arange(frames)
    end = MDState(int(steps[-1]), positions[-1], np.zeros_like(positions[-1]))
    with TrajectoryStore.create(path, structure, len(amplitudes), full, {"model": "m"}) as store:
        store.append(MDFrames(steps, positions, np.zeros(frames), kinetic, end, {"dipole": dipoles}))
        if energy is not None:
            store.write_document(HARMONIC, harmonic_record(reference(structure, energy)))
    return path


def vibrations_file(folder: Path, harmonic: HarmonicReference, level: str = "PBE/def2-SVP", force: float = 0.0) -> Path:
    folder.mkdir()
    found = vibrations(harmonic, force)
    source = {"kind": "backend", "name": "pyscf", "level_of_theory": level, "versions": {}}
    write_vibrations(found, {**summary(found), "source": source}, folder, 20.0)
    return folder / "modes.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spectrum(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    command = ["spectrum", *map(str, arguments), "--resolution", "40", "--json"]
    assert run(command) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(["spectrum", *map(str, arguments), "--resolution", "40"]) == 2
    return capsys.readouterr().err.splitlines()[-1]


class Scripts(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside, self.texts = False, []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.inside = tag == "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts.append(data)
            self.inside = False


def test_the_page_has_what_the_record_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trajectory(folder / "a.zarr", [0.01, 0.02])
    (folder / "measured.json").write_text(json.dumps(EXPERIMENT))
    modes = vibrations_file(folder / "v", reference(stiffer=1.1))
    printed = spectrum(capsys, "a.zarr", "--compare", modes, "--experiment", "measured.json")
    written = json.loads((folder / "a-spectrum.json").read_text())
    data, _ = Scripts((folder / "a-spectrum.html").read_text(encoding="utf-8")).texts
    assert json.loads(data) == written
    assert (folder / "a-spectrum.png").read_bytes().startswith(b"\x89PNG")
    assert {key: written[key] for key in printed} == printed
    (compared,) = written["compared"]
    expected = normal_modes(reference(stiffer=1.1))
    assert [one["wavenumber_per_cm"] for one in compared["lines"]] == pytest.approx(expected.wavenumbers)
    assert [one["intensity_km_per_mol"] for one in compared["lines"]] == pytest.approx(expected.intensities)
    assert [one["motion"] for one in compared["lines"]] == [motion.text for motion in motions(expected)]
    assert (compared["of"], compared["weights_from"]) == ("pyscf, PBE/def2-SVP", "")
    (region,) = written["experiment"]["regions"]
    assert region["experiment_km_per_mol"] == 62.5
    near = [one for one in written["bands"] if 1400.0 < one["position_per_cm"] < 1800.0]
    assert region["intensity_km_per_mol"] == pytest.approx(near[0]["intensity_km_per_mol"], rel=0.01)
    assert run(["spectrum", "a.zarr", "--resolution", "40", "--output", "b"]) == 0
    assert capsys.readouterr().out.split()[-3:] == ["b.png", "b.html", "b.json"]


def test_trajectories_are_averaged_with_their_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trajectory(folder / "one.zarr", [0.01, 0.02, 0.03])
    two = trajectory(folder / "two.zarr", [0.02, 0.04], 1700.0, TURNED, -75.99, FRAMES + 200)
    each = [spectrum(capsys, path) for path in (one, two)]
    both = spectrum(capsys, f"{one}=1", f"{two}=3", "--output", "both")
    total = "integrated_intensity_km_per_mol"
    assert both[total] == pytest.approx(0.25 * each[0][total] + 0.75 * each[1][total], rel=1e-6)
    curves = [json.loads((folder / f"{name}.json").read_text()) for name in ("one-spectrum", "two-spectrum", "both")]
    absorption, errors = (
        [np.array(curve[key]) for curve in curves]
        for key in ("absorption_km_cm_per_mol", "standard_error_km_cm_per_mol")
    )
    np.testing.assert_allclose(absorption[2], 0.25 * absorption[0] + 0.75 * absorption[1], atol=1e-6)
    np.testing.assert_allclose(errors[2], np.hypot(0.25 * errors[0], 0.75 * errors[1]), atol=1e-4)
    assert [part["weight_ratio"] for part in both["trajectories"]] == [0.25, 0.75]
    assert [part["n_replicas"] for part in both["trajectories"]] == [3, 2]
    assert both["weights_from"] == "given"
    assert {line["conformer"] for line in both["model_harmonic"]} == {1, 2}
    assert "conformer" not in each[0]["model_harmonic"][0]
    assert "trajectories" not in each[0]


def test_reruns_of_one_minimum_count_every_replica_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = trajectory(folder / "one.zarr", [0.01, 0.02, 0.03]), trajectory(folder / "two.zarr", [0.02])
    both = spectrum(capsys, one, two)
    assert [part["weight_ratio"] for part in both["trajectories"]] == [0.75, 0.25]
    assert any("one replica" in warning for warning in both["dynamics"]["warnings"])


def test_trajectories_that_do_not_belong_together_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trajectory(folder / "one.zarr", [0.01, 0.02])
    step = STEP / ATOMIC_TIME_TO_FEMTOSECOND
    others: list[tuple[dict, str]] = [
        ({"structure": Structure(np.array([8, 1]), WATER.positions[:2], multiplicity=2)}, "of HO"),
        ({"structure": HEAVY}, "other isotopes"),
        ({"temperature": 310.0}, "another temperature"),
        ({"time_step": step / 2}, "another time step"),
        ({"record_every": 2}, "steps between frames"),
    ]
    for number, (different, message) in enumerate(others):
        other = trajectory(folder / f"other{number}.zarr", [0.01], energy=None, frames=20, **different)
        assert message in refusal(capsys, f"{one}=0.5", f"{other}=0.5")
    higher = trajectory(folder / "higher.zarr", [0.01, 0.02], energy=-75.999)
    told = refusal(capsys, one, higher)
    assert "2.63 kJ/mol apart" in told
    assert "one.zarr=0.741" in told
    assert "1 of 2 trajectories have a weight" in refusal(capsys, f"{one}=0.5", higher)
    assert "must be positive" in refusal(capsys, f"{one}=0.5", f"{higher}=-1")
    unknown = trajectory(folder / "unknown.zarr", [0.01, 0.02], energy=None)
    assert "need weights" in refusal(capsys, one, unknown)
    (folder / "run.toml").write_text("schema = 1\n")
    for arguments in (["run.toml", one], ["run.toml", "--compare", "x"], ["run.toml", "--experiment", "x"]):
        assert "run.toml is a configuration" in refusal(capsys, *arguments)
    assert "nowhere.zarr is not there" in refusal(capsys, "nowhere.zarr", one)


def test_files_of_one_source_are_conformers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trajectory(folder / "one.zarr", [0.01, 0.02])
    low = vibrations_file(folder / "low", reference())
    high = vibrations_file(folder / "high", reference(energy=-75.999, stiffer=1.1))
    other = vibrations_file(folder / "other", reference(stiffer=1.2), "HF/STO-3G")
    compared = spectrum(capsys, one, "--compare", low, "--compare", other, "--compare", high)["compared"]
    assert [source["of"] for source in compared] == ["pyscf, PBE/def2-SVP", "pyscf, HF/STO-3G"]
    part = 1.0 / (1.0 + np.exp(-0.001 / (BOLTZMANN * TEMPERATURE)))
    assert [one["weight_ratio"] for one in compared[0]["conformers"]] == pytest.approx([part, 1.0 - part])
    assert compared[0]["weights_from"] == "energies at 300 K"
    assert len(compared[0]["lines"]) == 6
    own = normal_modes(reference(stiffer=1.1)).intensities
    found = [line["intensity_km_per_mol"] for line in compared[0]["lines"] if line["conformer"] == 2]
    assert found == pytest.approx((1.0 - part) * own)
    assert len(compared[1]["lines"]) == 3
    (given,) = spectrum(capsys, one, "--compare", f"{low}=2", "--compare", f"{high}=6")["compared"]
    assert [one["weight_ratio"] for one in given["conformers"]] == pytest.approx([0.25, 0.75])
    (mirrored,) = spectrum(capsys, one, "--compare", low, "--compare", high, "--compare", high)["compared"]
    ratio = mirrored["conformers"][0]["weight_ratio"] / (1.0 - mirrored["conformers"][0]["weight_ratio"])
    assert ratio == pytest.approx(0.5 * part / (1.0 - part))


def test_files_that_cannot_be_compared_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = trajectory(folder / "one.zarr", [0.01, 0.02])
    low = vibrations_file(folder / "low", reference())
    other = vibrations_file(folder / "other", reference(), "HF/STO-3G")
    assert "no file nowhere.json" in refusal(capsys, one, "--compare", "nowhere.json")
    heavy = vibrations_file(folder / "heavy", reference(HEAVY))
    assert "other isotopes" in refusal(capsys, one, "--compare", heavy)
    told = refusal(capsys, one, "--compare", f"{low}=0.5", "--compare", f"{other}=0.5")
    assert "the only file of pyscf, PBE/def2-SVP" in told
    rolling = vibrations_file(folder / "rolling", reference(), force=1e-2)
    assert "no minimum" in refusal(capsys, one, "--compare", low, "--compare", rolling)
    assert spectrum(capsys, one, "--compare", f"{low}=1", "--compare", f"{rolling}=1")["compared"]
    (folder / "no.json").write_text("{}")
    assert "no modes.json" in refusal(capsys, one, "--compare", "no.json")


def test_a_weight_is_what_follows_the_last_equals_sign(folder: Path) -> None:
    assert weighted("a.json=0.4") == Weighted(Path("a.json"), 0.4)
    assert weighted("x=1/a.json=2") == Weighted(Path("x=1/a.json"), 2.0)
    assert weighted("x=1/a.json") == Weighted(Path("x=1/a.json"))
    assert weighted("=3") == Weighted(Path("=3"))
    (folder / "t=300").touch()
    assert weighted("t=300") == Weighted(Path("t=300"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": None}, "measured.json: bands: "),
        ({"source": ""}, "measured.json: source: "),
        ({"about": "x"}, "measured.json: about: unknown key"),
        ({"intensities": [1.0]}, "3 bands and 1 intensities"),
        ({"regions": [{"name": "x", "lower": 1800.0, "upper": 1400.0}]}, "lower (1800.0 cm^-1) must be below upper"),
    ],
)
def test_measured_bands_are_checked(
    folder: Path, capsys: pytest.CaptureFixture[str], change: dict, message: str
) -> None:
    one = trajectory(folder / "one.zarr", [0.01], frames=20)
    (folder / "measured.json").write_text(json.dumps({**EXPERIMENT, **change}))
    assert message in refusal(capsys, one, "--experiment", "measured.json")


def test_a_region_beyond_the_range_is_integrated_all_the_same_and_refused_where_frames_know_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trajectory(folder / "a.zarr", [0.02, 0.02], wavenumber=3700.0)
    stretch = {"name": "stretch", "lower": 3500.0, "upper": 3900.0, "intensity": 44.6}
    Path("e.json").write_text(json.dumps({**EXPERIMENT, "regions": [stretch]}))
    (whole,) = spectrum(capsys, "a.zarr", "--experiment", "e.json")["experiment"]["regions"]
    (cut,) = spectrum(capsys, "a.zarr", "--experiment", "e.json", "--maximum", "2000")["experiment"]["regions"]
    assert whole["intensity_km_per_mol"] > 1.0
    assert cut["intensity_km_per_mol"] == pytest.approx(whole["intensity_km_per_mol"], rel=1e-3)
    trajectory(folder / "slow.zarr", [0.02, 0.02], record_every=10)
    said = refusal(capsys, "slow.zarr", "--experiment", "e.json", "--maximum", "2000")
    assert "resolve wavenumbers up to 3322 cm^-1 only; 3900" in said


def test_a_dollar_sign_in_a_source_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trajectory(folder / "a.zarr", [0.02, 0.02])
    Path("e.json").write_text(json.dumps({**EXPERIMENT, "source": "a $\\frac{$ b, US$ 5"}))
    assert spectrum(capsys, "a.zarr", "--experiment", "e.json")["experiment"]["source"].endswith("US$ 5")
    assert Path("a-spectrum.png").is_file()


def test_files_of_the_user_are_named_and_not_to_be_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trajectory(folder / "a.zarr", [0.02, 0.02])
    Path("e.json").write_text('{"bands": ')
    Path("deep.json").write_text("[" * 100_000)
    modes = vibrations_file(folder / "v", reference())
    record = json.loads(modes.read_text())
    modes.write_text(json.dumps({**record, "hessian_hartree_per_bohr2": "none"}))
    for option, file in (("--experiment", "e.json"), ("--experiment", "deep.json"), ("--compare", "v/modes.json")):
        said = refusal(capsys, "a.zarr", option, file)
        assert file in said
        assert "emove it" not in said


def test_one_trajectory_twice_and_a_folder_for_the_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trajectory(folder / "a.zarr", [0.02, 0.02])
    Path("b.zarr").symlink_to("a.zarr")
    assert "named twice" in refusal(capsys, "a.zarr", "b.zarr")
    assert "give the files" in refusal(capsys, "a.zarr", "--output", ".")


def test_a_configuration_names_files_to_compare_with(folder: Path) -> None:
    """The stage on a trajectory that lies where the run's dynamics would leave it."""
    write_xyz(folder / "water.xyz", [WATER])
    lines = [
        "schema = 1", 'output = "out"', '[system]\ngeometry = "water.xyz"',
        '[reference]\nbackend = "pyscf"\nmethod = "PBE"\nbasis = "def2-SVP"', "[spectrum]", "resolution = 40",
        'compare = ["low/modes.json", "high/modes.json"]', "compare_weights = [1, 3]",
    ]  # fmt: skip
    (folder / "run.toml").write_text("\n".join(lines))
    vibrations_file(folder / "low", reference())
    vibrations_file(folder / "high", reference(stiffer=1.1))
    project = Run(load_config(folder / "run.toml"), Reporter())
    trajectory(project.folder.production, [0.01, 0.02])
    write_json(project.folder.harmonic, harmonic_record(reference()))
    stage = Spectrum()
    stage.check(project)
    stage.work(project)
    (compared,) = stage.result(project)["compared"]
    assert compared["weights_from"] == "given"
    assert [one["weight_ratio"] for one in compared["conformers"]] == [0.25, 0.75]
    before = stage.key(project)
    vibrations_file(folder / "other", reference(stiffer=1.2))
    (folder / "other" / "modes.json").replace(folder / "high" / "modes.json")
    assert stage.key(project) != before
    (folder / "high" / "modes.json").unlink()
    with pytest.raises(InputError, match=r"There is no file .*modes\.json to compare with"):
        stage.check(project)
    (folder / "run.toml").write_text("\n".join(lines).replace("[1, 3]", "[1]"))
    with pytest.raises(ConfigError, match="expected one for each of the 2 files of compare, found 1"):
        load_config(folder / "run.toml")
