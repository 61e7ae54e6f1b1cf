"""registry.toml and the packaging of the distributions of this repository agree with what their plugins say."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from densnet_core.errors import DataError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager
from densnet_core.plugins.registry import load_registry, parse_registry

ROOT = Path(__file__).parents[2]
PROJECTS = [
    tomllib.loads(path.read_text()) for path in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
]
OURS = {project["project"]["name"] for project in PROJECTS}


def first_party() -> list[tuple[str, object]]:
    plugins = [plugin for plugin in Manager(environment={}).plugins if plugin.distribution in OURS]
    assert {plugin.distribution for plugin in plugins} == OURS, "install the distributions first: make setup"
    assert [plugin.problem for plugin in plugins] == [None] * len(plugins)
    return [(plugin.distribution, component) for plugin in plugins for component in plugin.components]


def test_the_manifest_equals_what_the_first_party_plugins_register():
    registered = {(c.kind, c.name, distribution, c.install, c.summary) for distribution, c in first_party()}
    listed = [(e.kind, e.name, e.distribution, e.install, e.summary) for e in load_registry().component]
    assert sorted(listed) == sorted(registered)


def test_the_manifest_accepts_the_interface_versions_that_the_plugins_were_written_for():
    registry = load_registry()
    for _, component in first_party():
        entry = registry.get(component.kind, component.name)
        assert component.api in SpecifierSet(entry.api)


def test_every_first_party_component_loads_as_a_subclass_of_its_interface_with_default_options():
    manager = Manager(environment={})
    for _, component in first_party():
        manager.load(component)
        fields = manager.options_model(component).model_fields
        manager.options(component, {n: f.examples[0] for n, f in fields.items() if f.is_required() and f.examples})
        undescribed = [n for n, f in manager.options_model(component).model_fields.items() if not f.description]
        assert not undescribed


def test_the_manifest_at_the_repository_root_is_the_one_in_the_package():
    packaged = files("densnet_core.plugins") / "registry.toml"
    assert (ROOT / "registry.toml").resolve() == Path(str(packaged)).resolve()


def test_every_plugin_has_an_extra_and_the_extras_name_what_the_manifest_says_to_install():
    extras = PROJECTS[0]["project"]["optional-dependencies"]
    no_plugins = ("all", "dev", "dispersion", "testing", "torchsim")  # and a plugin that registers no component
    named = {requirement for name, (requirement, *_) in extras.items() if name not in no_plugins}
    installs = {entry.install.removeprefix("pip install ").strip("'") for entry in load_registry().component}
    assert named == installs - {"densnet-core"}
    everything = {name for name in extras if name not in ("all", "dev", "testing")}
    assert set(extras["all"][0].removeprefix("densnet-core[").removesuffix("]").split(",")) == everything


def test_lookups():
    registry = load_registry()
    assert registry.get(Kind.REFERENCE, "pyscf").distribution == "densnet-pyscf"
    assert registry.get(Kind.SAMPLER, "pyscf") is None
    assert registry.names(Kind.SAMPLER)[:2] == ["normal-modes", "file"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = =", "line 1"),
        ("schema = 2", "schema"),
        ("schema = 1\nsummary = 3", "unknown key"),
        ('schema = 1\n[[component]]\nkind = "Wizard"\nname = "x"', r"component\[0\]\.kind"),
    ],
)
def test_a_damaged_manifest_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        parse_registry(text)
