"""``densnet plugins check``, and a density basis that a plugin brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from densnet_core.basis.library import basis_by_name
from densnet_core.cli.app import run
from densnet_core.cli.plugins import table_of
from densnet_core.config.basis import BasisSection
from densnet_core.errors import InputError
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.testing.suites import run_suite, suite_of

BASIS = """
    from pydantic import Field

    from densnet_core.basis.base import BasisProvider, GaussianBasis, Shell
    from densnet_core.basis.library import EvenTempered, even_tempered
    from densnet_core.errors import InputError
    from densnet_core.options import Options
    from densnet_core.plugins import Component, Kind, hookimpl


    class SeriesOptions(Options):
        ratio: float = Field(default=2.5, gt=1, description="Ratio.")


    class Series(BasisProvider):
        def build(self, elements=None):
            ratio = self.options.ratio
            wanted = [1, 8] if elements is None else sorted(set(elements))
            if not set(wanted) <= {1, 8}:
                raise InputError("It covers H and O.")
            return even_tempered({z: {"s": EvenTempered(0.1 * z, ratio, 4)} for z in wanted}, "acme-series")


    class Hasty(Series):
        def build(self, elements=None):
            return super().build(None)


    @hookimpl
    def densnet_components():
        def basis(name, target):
            config = f"{__name__}:SeriesOptions"
            return Component(Kind.BASIS, name, f"{__name__}:{target}", config, "", "pip install it")
        return [basis("acme-series", "Series"), basis("hasty", "Hasty")]
"""


BONDS = Path(__file__).parents[2] / "examples" / "third_party" / "densnet-bonds"


@pytest.fixture(autouse=True)
def _fresh_manager():
    get_manager.cache_clear()
    yield
    get_manager.cache_clear()


@pytest.fixture
def plugin(install_distribution):
    return install_distribution("acme-basis", BASIS)


def test_a_configuration_names_the_basis_of_a_plugin(plugin, capsys):
    basis = BasisSection(name="acme-series").build([8, 8, 1])
    assert [shell.exponents[0] for shell in basis.shells(8)] == pytest.approx([12.5, 5.0, 2.0, 0.8])
    assert basis.elements == (1, 8)
    assert basis_by_name("Acme-Series", [1]).elements == (1,)
    with pytest.raises(InputError, match="It covers H and O"):
        basis_by_name("acme-series", [6])
    with pytest.raises(InputError, match=r"no basis 'acme-serie'\. Did you mean 'acme-series'"):
        basis_by_name("acme-serie")
    assert run(["basis", "list"]) == 0
    assert "acme-series:" in capsys.readouterr().out


def test_bases_of_the_core_and_of_the_exchange_are_found_as_before(plugin):
    assert basis_by_name("densnet-s").name == "densnet-s"
    assert basis_by_name("STO-3G", [1]).n_functions([1]) == 1


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("density_model", "test_the_electron_count_is_exact"),
        ("density_model", "test_fragments_beyond_the_cutoff_change_nothing"),
        ("energy_model", "test_the_energy_depends_on_the_density_and_is_differentiable_in_it"),
        ("energy_model", "test_energies_stay_and_forces_turn"),
    ],
)
def test_networks_of_a_third_party_are_checked_with_those_of_the_core_beside_them(tmp_path, monkeypatch, kind, test):
    """The example package as it is; its own tests run the whole suites, its energy model with its density model."""
    information = tmp_path / "densnet_bonds-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: densnet-bonds\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text("[densnet.plugins]\nbonds = densnet_bonds.plugin\n")
    for folder in (tmp_path, BONDS):
        monkeypatch.syspath_prepend(folder)
    manager = Manager(environment={})
    suite = suite_of(manager, manager.find(kind, "bonds"), {"channels": 4, "hidden_width": 8})
    assert [(one.test, one.outcome, one.report) for one in run_suite(suite, test=test)] == [(test, "passed", "")]


def test_check_prints_a_line_per_test(plugin, capsys):
    assert run(["plugins", "check", "acme-series"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("BasisTests on basis acme-series of acme-basis 1.0+")
    assert "ok       functions are normalised" in lines
    assert lines[-1] == "8 passed"


def test_check_fails_for_an_implementation_that_is_broken(plugin, capsys):
    assert run(["plugins", "check", "hasty", "--kind", "basis"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAILED   every element that it names has shells: ") for line in lines)
    assert lines[-1] == "6 passed, 2 failed"


def test_check_makes_the_component_with_the_options_given(plugin, tmp_path, capsys):
    assert run(["plugins", "check", "acme-series", "--options", "ratio=1.0"]) == 2
    assert "basis acme-series.ratio: input should be greater than 1, found 1.0" in capsys.readouterr().err
    file = tmp_path / "options.toml"
    # Exponents so close that double precision cannot tell the functions apart.
    file.write_text("ratio = 1.0001\n")
    assert run(["plugins", "check", "acme-series", "--options", str(file)]) == 1
    assert "FAILED   functions of an atom are independent: " in capsys.readouterr().out
    assert run(["plugins", "check", "acme-series", "--options", str(file), "--options", "ratio=3.0"]) == 0


def test_options_as_text():
    assert table_of(["count=3", "name = word", "bonds=[[1, 2]]", "relax.steps=2"]) == {
        "count": 3,
        "name": "word",
        "bonds": [[1, 2]],
        "relax": {"steps": 2},
    }
    with pytest.raises(InputError, match=r"expected key=value or a TOML file"):
        table_of(["nowhere.toml"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["torsion-scam"], "There is no component 'torsion-scam'. Did you mean 'torsion-scan'"),
        (["orca", "--kind", "reference"], "There is no reference 'orca'"),
        (["equivariant"], "Several components are called 'equivariant'; say which: --kind density_model or --kind ene"),
        (["torsion-scan"], "sampler torsion-scan.bonds: missing"),
    ],
)
def test_check_says_what_it_cannot_check(arguments, says, capsys):
    assert run(["plugins", "check", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_check_says_that_a_kind_has_no_suite(install_distribution, capsys):
    source = """
        from densnet_core.options import Options
        from densnet_core.plugins import Component, KindDescription, hookimpl


        class Scorer:
            pass


        @hookimpl
        def densnet_kinds():
            return [KindDescription("scorer", f"{__name__}:Scorer")]


        @hookimpl
        def densnet_components():
            return [Component("scorer", "acme", f"{__name__}:Scorer", "densnet_core.options:Options", "", "")]
    """
    install_distribution("acme-score", source)
    assert run(["plugins", "check", "acme"]) == 2
    assert "There is no suite for components of kind scorer" in capsys.readouterr().err


def test_check_says_that_pytest_is_missing(plugin, monkeypatch, capsys):
    monkeypatch.setattr("densnet_core.cli.plugins.find_spec", lambda name: None)
    assert run(["plugins", "check", "acme-series"]) == 2
    assert "pip install 'densnet-core[testing]'" in capsys.readouterr().err
