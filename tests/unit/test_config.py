"""Reading a configuration: what it means, and what is said about a wrong one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from densnet_core.config import Config, check_spectrum, load_config, select
from densnet_core.errors import ConfigError, InputError
from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.manager import Manager
from densnet_core.reference.level import LevelOfTheory
from densnet_core.spectra.windows import lag_window
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND
from densnet_core.workflow.run import Run


def check_inputs(config: Config) -> None:
    Run(config).check("train")


MINIMAL = """
schema = 1
[system]
geometry = "water.xyz"
[reference]
method = "PBE"
basis = "aug-cc-pVDZ"
[basis]
name = "def2-universal-jkfit"
"""

WATER = "3\n\nO 0 0 0\nH 0.757 0.586 0\nH -0.757 0.586 0\n"


@pytest.fixture
def write(tmp_path):
    (tmp_path / "water.xyz").write_text(WATER)

    def write(text: str, name: str = "run.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value).splitlines()


def test_the_smallest_configuration_has_a_default_for_everything_else(write, tmp_path):
    config = load_config(write(MINIMAL))
    assert config.source == tmp_path / "run.toml"
    assert config.output_directory == tmp_path / "runs" / "run"
    assert config.system.geometry == tmp_path / "water.xyz"
    assert config.reference.level == LevelOfTheory("PBE", "aug-cc-pVDZ")
    assert config.spectrum.temperature is None
    assert config.md.temperature == 300.0
    assert config.training.frames == 100


DATA = MINIMAL.replace('[system]\ngeometry = "water.xyz"', '[data]\nstores = ["a.zarr"]').replace(
    '[reference]\nmethod = "PBE"\nbasis = "aug-cc-pVDZ"\n', ""
)


def test_data_take_the_place_of_a_molecule_and_a_level(write, tmp_path):
    config = load_config(write(DATA))
    assert config.data.stores == [tmp_path / "a.zarr"]
    assert (config.system, config.reference, select(config).backend) == (None, None, None)
    with pytest.raises(ConfigError, match="needs a molecule"):
        config.needed_system()
    [problem] = refusal(write(DATA.replace('[data]\nstores = ["a.zarr"]', "")))
    assert "found neither [data] nor [system]" in problem
    [problem] = refusal(write(DATA + '[system]\ngeometry = "water.xyz"\n'))
    assert "[system] would make some; keep the one or the other" in problem
    [problem] = refusal(write(DATA.replace('stores = ["a.zarr"]', "")))
    assert problem.startswith("run.toml: data: expected stores = [...] or files = [...]")
    [problem] = refusal(write(DATA.replace('"a.zarr"', '"a.zarr", "b/../a.zarr"')))
    assert "is named twice" in problem


def test_stores_have_weights_all_or_none(write, tmp_path):
    two = DATA.replace('["a.zarr"]', '["a.zarr"]\nfiles = ["sub/b.xyz"]\nlevel = "HF/x"')
    assert load_config(write(two)).data.weights_in_order is None
    weighed = two.replace("level", 'weights = { "sub/b.xyz" = 2, "./a.zarr" = 0.5 }\nlevel')
    data = load_config(write(weighed)).data
    assert data.weights_in_order == [0.5, 2.0]
    assert set(data.weights) == {tmp_path / "a.zarr", tmp_path / "sub" / "b.xyz"}
    [problem] = refusal(write(weighed.replace('"./a.zarr" = 0.5', '"c.zarr" = 1')))
    assert "weights: c.zarr is none of stores and files; they are a.zarr, b.xyz" in problem
    [problem] = refusal(write(weighed.replace(', "./a.zarr" = 0.5', "")))
    assert "weights: a.zarr has none; give one for each" in problem
    [problem] = refusal(write(weighed.replace("0.5", "0")))
    assert "weights" in problem
    assert "greater than 0" in problem
    [problem] = refusal(write(weighed.replace('"sub/b.xyz" = 2, "./a.zarr"', "a.zarr")))
    assert 'names need quotes: { "a.zarr" = 1 }' in problem


def test_values_are_read_and_relative_paths_start_at_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = 'output = "results"\n' + MINIMAL.replace('method = "PBE"', 'method = "PBE"\ndispersion = "d4"')
    text += "[md]\ntemperature = 500\n[spectrum]\ntemperature = 450.5\n[training.energy]\nsteps = 7\n"
    config = load_config(write(text))
    assert config.output_directory == tmp_path / "results"
    assert str(config.reference.level) == "PBE-D4/aug-cc-pVDZ"
    assert config.md.temperature == 500.0
    assert config.spectrum.temperature == 450.5
    assert (config.training.energy.steps, config.training.density.steps) == (7, 5000)


def test_training_has_stages_atoms_and_a_model_to_start_from(write, tmp_path):
    text = MINIMAL + (
        '[training]\nfrom = "old/model"\ndevice = "cpu"\nprecision = "float64"\njoint = { steps = 10 }\n'
        "[training.energy]\n"
        "atoms = { H = -0.5 }\npatience = 3\nthen = { steps = 5, learning_rate = 1e-3, weights = { energy = 10.0 } }\n"
    )
    training = load_config(write(text)).training
    assert training.start == tmp_path / "old" / "model"
    assert training.energy.atoms == {"H": -0.5}
    assert training.energy.then.weights == {"energy": 10.0}
    assert (training.joint.steps, training.joint.learning_rate, training.energy.patience) == (10, 5e-4, 3)
    [problem] = refusal(write(text.replace("H = -0.5", "Hh = -0.5")))
    assert "no element 'Hh'" in problem
    [problem] = refusal(write(text.replace('"cpu"', '"gpu"')))
    assert problem.startswith("run.toml: training.device")


class SpinOnly(Manager):
    """Knows reference backends without any property but the spin density."""

    def find(self, kind: Kind, name: str) -> Component:
        found = super().find(kind, name)
        return replace(found, capabilities=frozenset({"spin_density"})) if kind is Kind.REFERENCE else found


def test_what_the_backend_cannot_do_is_refused_before_anything_is_computed(write):
    asked = MINIMAL.replace('method = "PBE"', 'method = "PBE"\nproperties = ["spin_density", "polarizability"]')
    assert load_config(write(asked)).reference.properties == ["polarizability", "spin_density"]
    with pytest.raises(ConfigError, match=r"reference\.properties: the spin density of a singlet is zero"):
        check_inputs(load_config(write(asked)))
    [problem] = refusal(write(asked.replace("polarizability", "hyperpolarizability")))
    assert problem == (
        "run.toml: reference.properties: there is no property 'hyperpolarizability'. Did you mean 'polarizability'?"
    )
    with pytest.raises(ConfigError, match="'pyscf' does not compute 'polarizability'; it has: spin_density"):
        load_config(write(asked), SpinOnly())
    unknown = MINIMAL.replace('method = "PBE"', 'method = "SVWN"\ndispersion = "d4"')
    with pytest.raises(ConfigError, match=r"reference\.dispersion: dftd4 has no D4 parameters for .* 'SVWN'"):
        check_inputs(load_config(write(unknown)))


def test_a_selection_has_every_component_with_its_validated_options(write, tmp_path):
    text = MINIMAL.replace("[basis]", "[reference.options]\ngrid_level = 5\n[basis]")
    text += '[sampling]\nmethod = "file"\npath = "frames.xyz"\n[executor]\nworkers = 3\n'
    text += '[md]\nengine = "openmm"\noptions = { force = "python" }\n'
    text += '[density.backbone_options]\nchannels = 8\n[energy]\nmodel = "equivariant"\n'
    text += "[energy.backbone_options]\nchannels = 16\n"
    chosen = select(load_config(write(text)))
    assert chosen.backend.component.target == "densnet_pyscf.backend:PySCFBackend"
    assert chosen.backend.options.grid_level == 5
    assert chosen.sampler.component.name == "file"
    assert chosen.sampler.options.path == tmp_path / "frames.xyz"
    assert chosen.executor.options.workers == 3
    assert chosen.engine.options.force == "python"
    assert (chosen.density_backbone.options.channels, chosen.energy_backbone.options.channels) == (8, 16)
    assert chosen.density_model.component.kind == "density_model"
    assert chosen.energy_model.component.kind == "energy_model"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "", ["schema: missing (Version of the layout of this file.)"]),
        ("schema = 1", "schema = 2", ["schema = 2 was made for a newer DenSNet; this one reads schema = 1"]),
        ("schema = 1", 'schema = "1"', ["schema: input should be 1, found '1'."]),
        ("[system]", "[sytem]", ["sytem: unknown key. Did you mean 'system'"]),
        ("geometry =", "geometri =", ["system.geometri: unknown key. Did you mean 'geometry'"]),
        ('"water.xyz"', "3", ["system.geometry: input is not a valid path", "found 3"]),
        ('basis = "aug', 'charge = 1\nbasis = "aug', ["reference.charge: unknown key. Known: backend, basis"]),
        ('method = "PBE"', "method = 3", ["reference.method: input should be a valid string, found 3."]),
        ('"water.xyz"', '""', ["system.geometry: expected a path, found an empty string."]),
        ('name = "def2', 'metric = "euclid"\nname = "def2', ["basis.metric: input should be 'coulomb', 'overlap' or"]),
        ('name = "def2-universal-jkfit"', "", ["basis: give one of name", "found none of them."]),
        (
            "[basis]",
            '[basis]\nexponents = "free"',
            ["basis.exponents: input should be 'fixed', 'element' or 'atom', found 'free'."],
        ),
        ("[basis]", "[basis]\nlargest_factor = 1.3", ["largest_factor is for exponents = 'atom'"]),
        ("[basis]", '[basis]\nexponents = "atom"\nlargest_factor = 1', ["basis.largest_factor: ", "greater than 1"]),
        ("[basis]", "[basis]\noptimization = { frames = 2 }", ["optimization is for exponents = 'element'"]),
        ("[basis]", '[basis]\nexponents = "atom"\nmetric = "weighted"', ["metric = 'weighted' has no meaning"]),
        ("[basis]", "[basis]\ntikhonov = 0.0", ["basis.tikhonov: input should be greater than 0, found 0.0."]),
        ("[basis]", "[basis]\ntikhonov = 0.5", ["basis.tikhonov: ", "less than or equal to 0.01"]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_key_and_what_was_expected(write, old, new, says):
    message = "\n".join(refusal(write(MINIMAL.replace(old, new, 1))))
    assert message.startswith("run.toml: ")
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("[md]\nreplicas = 0", "md.replicas: input should be greater than or equal to 1, found 0."),
        ("[md]\nreplicas = true", "md.replicas: input should be a valid integer, found True."),
        ("[md]\ntemperature = nan", "md.temperature: input should be a finite number, found nan."),
        ("[md]\nnve_ps = 0.0001", "md: nve_ps = 0.0001 is shorter than one recorded interval, 2 steps of 0.5 fs."),
        ("[training.density]\nsteps = 1\nforce_weight = 2.0", "training.density.force_weight: unknown key."),
        ("[training.energy]\nlerning_rate = 1.0", "training.energy.lerning_rate: unknown key. Did you mean 'learn"),
        ("[spectrum]\nminimum = 500\nmaximum = 400", "spectrum: minimum (500.0 cm^-1) must be below maximum (400"),
        ('[spectrum.experiment]\nbands = [1.0, -2.0]\nsource = "x"', "bands must be positive wavenumbers, found [1.0"),
        ("[spectrum.experiment]\nbands = [1.0]", "spectrum.experiment.source: missing (Where the numbers are from.)"),
        (
            '[spectrum.experiment]\nbands = [1.0, "b"]\nsource = "x"',
            "spectrum.experiment.bands[1]: input should be a valid number, found 'b'.",
        ),
        (
            '[spectrum.experiment]\nbands = [1.0, 2.0]\nintensities = [1.0]\nsource = "x"',
            "spectrum.experiment: 2 bands and 1 intensities; give one per band.",
        ),
        ('[density]\nbackbone = "e3n"', "density.backbone: There is no backbone 'e3n'. Did you mean 'e3nn'?"),
        ("[density.backbone_options]\nchannel = 3", "density.backbone_options.channel: unknown key. Did you mean 'ch"),
        ("[sampling]\ntemprature = 3", "sampling.temprature: unknown key. Did you mean 'temperature'"),
        ('[sampling]\nmetod = "file"', "sampling.metod: unknown key. Did you mean 'method'"),
        ('[sampling]\nmethod = "file"', "sampling.path: missing (XYZ file"),
        ('[executor]\nname = "locl"', "executor.name: There is no executor 'locl'. Did you mean 'local'?"),
        (
            '[md]\nengine = "openmm"\noptions = { force = "magic" }',
            "md.options.force: input should be 'torchforce' or 'python', found 'magic'.",
        ),
    ],
)  # fmt: skip
def test_sections_and_component_options_are_checked(write, extra, says):
    assert any(line.startswith("run.toml: ") and says in line for line in refusal(write(f"{MINIMAL}\n{extra}\n")))


def test_every_problem_is_listed_at_once(write):
    wrong = MINIMAL + '[executor]\nname = "grid"\n[md.options]\nthreds = 1\n[density.backbone_options]\nlayers = 0\n'
    wrong += '[energy]\nbackbone = "e3nn"\n'
    lines = refusal(write(wrong))
    assert [line.split(": ")[1] for line in lines] == [
        "energy.backbone",
        "executor.name",
        "density.backbone_options.layers",
        "md.options.threds",
    ]
    assert "the model 'shared' takes no backbone; leave it out" in lines[0]


def test_a_component_that_the_allow_list_blocks_is_named_with_its_key(write, monkeypatch):
    from densnet_core.plugins.manager import Manager

    manager = Manager(environment={"DENSNET_PLUGINS": "densnet-e3nn,densnet-openmm"})
    with pytest.raises(ConfigError, match=r"^run\.toml: reference\.backend: .*blocked: .*DENSNET_PLUGINS"):
        load_config(write(MINIMAL), manager)


def test_files_that_cannot_be_read_are_named(write, tmp_path):
    assert "line 3" in refusal(write("schema = 1\n[system]\ngeometry = water.xyz\n"))[0]
    assert "There is no configuration file" in refusal(tmp_path / "nowhere.toml")[0]
    assert "Is a directory" in refusal(tmp_path)[0]
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    assert "not text in UTF-8" in refusal(tmp_path / "latin.toml")[0]


EVEN = """
[basis.even_tempered.o]
s = { smallest = 0.2, ratio = 2.0, count = 3 }
p = { smallest = 0.3, ratio = 3.0, count = 2 }
[basis.even_tempered.H]
s = { smallest = 0.1, ratio = 2.5, count = 2 }
[basis.even_tempered.C]
d = { smallest = 0.1, ratio = 2.5, count = 1 }
"""


def even(old: str = "", new: str = "") -> str:
    return MINIMAL.replace('name = "def2-universal-jkfit"', "") + EVEN.replace(old, new, 1)


def test_even_tempered_tables_become_the_basis_of_the_molecules_elements(write):
    basis = load_config(write(even())).basis.build([1, 8, 1])
    assert basis.elements == (1, 8)
    assert sorted(shell.exponents[0] for shell in basis.shells(1)) == pytest.approx([0.1, 0.25])
    oxygen = basis.shells(8)
    assert sorted(s.exponents[0] for s in oxygen if s.l == 0) == pytest.approx([0.2, 0.4, 0.8])
    assert sorted(s.exponents[0] for s in oxygen if s.l == 1) == pytest.approx([0.3, 0.9])
    assert basis.n_functions([1, 8, 1]) == 2 + (3 + 2 * 3) + 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tempered.o", "tempered.Oo", "basis.even_tempered: There is no element 'Oo'."),
        ("p = {", "k = {", "o.k is not an angular momentum."),
        ("ratio = 2.0", "ratio = 1.0", "basis.even_tempered.O.s.ratio: input should be greater than 1, found 1.0."),
        ("ratio = 2.0", "ration = 2.0", "basis.even_tempered.O.s.ration: unknown key. Did you mean 'ratio'"),
        ("s = { smallest = 0.1, ratio = 2.5, count = 2 }", "", "basis.even_tempered: H has no shells."),
    ],
)
def test_wrong_even_tempered_tables_are_refused(write, old, new, says):
    assert any(says in line for line in refusal(write(even(old, new))))


def test_a_basis_is_either_a_name_or_tables(write):
    assert "found name and even_tempered" in refusal(write(MINIMAL + EVEN))[0]


def test_inputs_are_checked_before_anything_expensive(write, tmp_path):
    check_inputs(load_config(write(MINIMAL)))
    cases = {
        MINIMAL.replace("water.xyz", "fire.xyz"): r"system\.geometry: .*fire\.xyz cannot be read: No such file",
        MINIMAL.replace(
            '"water.xyz"', '"water.xyz"\ncharge = 1'
        ): r"system\.geometry: .*water\.xyz, line 2, frame 0: Multiplicity 1 is impossible",
        MINIMAL.replace(
            '"water.xyz"', '"water.xyz"\ncharge = 10'
        ): r"system\.charge: H2O with charge 10 has no electrons",
        MINIMAL.replace("universal-jkfit", "universal-jkfitt"): r"basis: There is no basis .* Did you mean",
        even("tempered.H", "tempered.He"): r"basis: .* H\b",
        MINIMAL + "[training]\ntrain = 200": r"= 220 frames, but sampling\.count = 100",
    }
    for text, says in cases.items():
        config = load_config(write(text))
        with pytest.raises(ConfigError, match=rf"^run\.toml: .*{says}"):
            check_inputs(config)


@pytest.mark.parametrize(
    ("resolution", "record_every", "window"), [(10, 2, "gaussian"), (5, 1, "hann"), (30, 8, "hann")]
)
def test_the_dynamics_must_be_long_enough_for_the_spectrum(write, resolution, record_every, window):
    """The length that is asked for is just enough for the window itself."""

    def config(length: float) -> Config:
        md = f"[md]\nnve_ps = {length}\nrecord_every = {record_every}\n"
        return load_config(write(MINIMAL + md + f"[spectrum]\nresolution = {resolution}\nwindow = '{window}'\n"))

    with pytest.raises(
        ConfigError, match=r"^run\.toml: spectrum\.resolution = .* needs md\.nve_ps of at least"
    ) as caught:
        check_spectrum(config(1.0))
    length = float(re.findall(r"at least ([\d.]+), found 1\.", str(caught.value))[0])
    check_spectrum(config(length))
    spacing = 0.5 * record_every
    lags = round(length * 1e3 / spacing)
    assert lag_window(window, resolution, spacing / ATOMIC_TIME_TO_FEMTOSECOND, lags).size > 100
    shorter = int(lags - 20.0 / spacing)
    with pytest.raises(ConfigError):
        check_spectrum(config(shorter * spacing * 1e-3))
    with pytest.raises(InputError, match="Run longer"):
        lag_window(window, resolution, spacing / ATOMIC_TIME_TO_FEMTOSECOND, shorter)


def test_a_configuration_cannot_be_changed_and_survives_a_round_trip_through_json(write):
    config = load_config(write(even() + "[sampling]\ncount = 120\n"))
    with pytest.raises(ValueError, match="frozen"):
        config.md = None
    again = Config.model_validate_json(config.model_dump_json(by_alias=True))
    assert again.model_dump() == config.model_dump()
    assert json.loads(config.model_dump_json(by_alias=True))["schema"] == 1
