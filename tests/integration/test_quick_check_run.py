"""A third party's network is tried out before the first calculation: a defect costs seconds, not days."""

from __future__ import annotations

from pathlib import Path

import pytest

from densnet_core.config import load_config
from densnet_core.errors import PluginError
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.workflow.run import Run

PLUGIN = """
    import os
    from dataclasses import replace

    from densnet_core.plugins import Component, Kind, hookimpl
    from densnet_core.testing.neighbours import NeighbourDensityModel


    class Sound(NeighbourDensityModel):
        def fit_statistics(self, dataset):
            with open(os.environ["ACME_LOG"], "a") as file:
                file.write("tried\\n")
            super().fit_statistics(dataset)


    class Leaking(NeighbourDensityModel):
        def forward(self, graph):
            found = super().forward(graph)["density"]
            return {"density": replace(found, coefficients=found.coefficients + 1e-6)}


    @hookimpl
    def densnet_components():
        return [
            Component(Kind.DENSITY_MODEL, name.lower(), f"{__name__}:{name}", "densnet_core.options:Options", "", "")
            for name in ("Sound", "Leaking")
        ]
"""
CONFIG = """
schema = 1
output = "out"
[system]
geometry = "geometry.xyz"
[sampling]
method = "file"
path = "hydrogen.xyz"
[reference]
backend = "pyscf"
method = "HF"
basis = "STO-3G"
[basis.even_tempered.H]
s = { smallest = 0.2, ratio = 3.0, count = 3 }
[density]
model = "MODEL"
[training]
train = 1
validation = 1
test = 1
"""
HYDROGEN = "".join(f"2\n\nH 0 0 0\nH 0.1 0 {length}\n" for length in (0.74, 0.80, 0.70))


@pytest.fixture(autouse=True)
def _folder(install_distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_distribution("acme-networks", PLUGIN)
    (tmp_path / "hydrogen.xyz").write_text(HYDROGEN)
    (tmp_path / "geometry.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    monkeypatch.setenv("ACME_LOG", str(tmp_path / "log"))
    get_manager.cache_clear()


def run_with(model: str, folder: Path) -> Run:
    path = folder / f"{model}.toml"
    path.write_text(CONFIG.replace("MODEL", model))
    return Run(load_config(path), manager=Manager(environment={}))


def prepare_training(model: str, folder: Path) -> None:
    run = run_with(model, folder)
    run.stage("train").prepare(run)


def test_a_network_that_gains_electrons_is_refused_before_any_calculation(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"that Leaking gives H2 holds -?0\.0000\d+ electrons; expected 0"):
        run_with("leaking", tmp_path).do("train")
    assert not (tmp_path / "out" / "reference").exists()


def test_a_sound_network_is_tried_once_for_each_state_of_its_code(tmp_path: Path) -> None:
    for _ in range(2):
        prepare_training("sound", tmp_path)
    assert (tmp_path / "log").read_text() == "tried\n"
    source = tmp_path / "site" / "acme_networks.py"
    source.write_text(source.read_text() + "# changed\n")
    prepare_training("sound", tmp_path)
    assert (tmp_path / "log").read_text() == "tried\n" * 2
