"""Kinds, quantities and objectives of plugins, where components come from, and eight broken plugins at once."""

from __future__ import annotations

import json
import shutil

import pytest

from densnet_core.cli.app import run
from densnet_core.errors import InputError, PluginError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.plugins.registry import Registry

SCORER = """
    from abc import ABC, abstractmethod

    from densnet_core.options import Options
    from densnet_core.plugins import Component, KindDescription, hookimpl


    class Scorer(ABC):
        def __init__(self, options=None):
            self.options = options


    class ByEnergy(Scorer):
        pass


    class Stranger:
        pass


    @hookimpl
    def densnet_kinds():
        return [KindDescription("scorer", f"{__name__}:Scorer", "Judges geometries")]


    @hookimpl
    def densnet_components():
        def scorer(name, target):
            return Component("scorer", name, f"{__name__}:{target}", "densnet_core.options:Options", "", "get it")
        return [scorer("energy", "ByEnergy"), scorer("stranger", "Stranger")]
"""

ZETA = """
    from acme_score import Scorer

    from densnet_core.plugins import Component, hookimpl


    class ByForce(Scorer):
        pass


    @hookimpl
    def densnet_components():
        return [Component("scorer", "force", f"{__name__}:ByForce", "densnet_core.options:Options", "", "")]
"""

QUANTITIES = """
    from densnet_core.plugins import Objective, Quantity, hookimpl


    def octupole(structure, result, density):
        return 42


    def quantity(name="octupole", **more):
        facts = {"unit": "e bohr^3", "per": "molecule", "rank": 3, "extensive": True, "depends_on_origin": True}
        return Quantity(name, **(facts | more))


    @hookimpl
    def densnet_quantities():
        return [RECORDS]
"""


def quantities(records: str) -> str:
    return QUANTITIES.replace("RECORDS", records)


def manager() -> Manager:
    return Manager(registry=Registry(schema=1), environment={})


def states(found: Manager) -> dict[tuple[str, str], str]:
    return {
        (row.distribution, row.name): row.status
        for row in found.status()
        if not row.distribution.startswith("densnet-")
    }


def test_a_plugin_brings_a_kind_and_another_one_a_component_of_it(install_distribution):
    install_distribution("acme-score", SCORER)
    install_distribution("zeta-score", ZETA)
    found = manager()
    assert [component.name for component in found.components("scorer")] == ["energy", "force", "stranger"]
    assert found.kinds()["scorer"].summary == "Judges geometries"
    assert type(found.load(found.find("scorer", "energy"))()).__name__ == "ByEnergy"
    assert found.load(found.find("scorer", "force")).__name__ == "ByForce"
    with pytest.raises(PluginError, match=r"of acme-score 1\.0 is broken: acme_score:Stranger is not a sub"):
        found.load(found.find("scorer", "stranger"))
    with pytest.raises(InputError, match=r"There is no scorer 'enregy'\. Did you mean 'energy'\?"):
        found.find("scorer", "enregy")
    assert states(found)["acme-score", "scorer"] == "ok"


def test_a_component_of_a_kind_that_nobody_announces_is_refused(install_distribution):
    install_distribution(
        "acme-score", ZETA.replace("from acme_score import Scorer", "Scorer = object").replace('"scorer"', '"sampeler"')
    )
    found = manager()
    assert states(found)["acme-score", "force"] == "refused: its kind 'sampeler' is unknown. Did you mean 'sampler'?"
    with pytest.raises(PluginError, match="its kind 'sampeler' is unknown"):
        found.find("sampeler", "force")


def test_a_kind_of_two_distributions_disables_what_is_of_it_and_the_cores_cannot_be_taken(install_distribution):
    install_distribution("acme-score", SCORER)
    install_distribution(
        "zeta-score",
        SCORER.replace(
            'KindDescription("scorer"', 'KindDescription("sampler", "a:B"), KindDescription("scorer"'
        ).replace('"energy"', '"force"'),
    )
    found = manager()
    with pytest.raises(PluginError, match=r"its kind 'scorer' is offered by acme-score 1\.0 and zeta-score 1\.0"):
        found.find("scorer", "energy")
    assert states(found)["zeta-score", "sampler"].startswith("refused: the name 'sampler' is taken by densnet-core ")
    assert found.kinds()["sampler"].interface == "densnet_core.sampling.base:Sampler"
    assert found.find(Kind.SAMPLER, "file").name == "file"


def test_the_core_announces_what_its_stores_hold():
    known = manager().quantities()
    facts = {name: (q.unit, q.per, q.rank, q.extensive, q.depends_on_origin) for name, q in known.items()}
    assert facts["energy"] == ("hartree", "molecule", 0, True, False)
    assert facts["forces"] == ("hartree/bohr", "atom", 1, False, False)
    assert facts["dipole"] == ("e bohr", "molecule", 1, True, True)
    assert facts["quadrupole"] == ("e bohr^2", "molecule", 2, True, True)
    assert facts["polarizability"] == ("bohr^3", "molecule", 2, True, False)
    assert facts["charges"][:3] == ("e", "atom", 0)
    assert facts["coefficients"][1] == "function"


def test_a_plugin_adds_a_label_and_a_term_of_the_loss(install_distribution):
    term = "Objective('octupole', 'density', ('octupole',), ('octupole',), unit=2.0)"
    install_distribution("acme-octupole", quantities(f"quantity(reference=f'{{__name__}}:octupole'), {term}"))
    found = manager()
    quantity = found.quantity("octupole")
    assert quantity == found.quantities()["octupole"]
    assert found.load_target(quantity.reference, "reference of the quantity 'octupole'")(None, None, None) == 42
    assert found.objectives("density")["octupole"].unit == 2.0
    assert found.objective("density", "octupole").labels == ("octupole",)
    assert "octupole" not in found.objectives("energy")
    with pytest.raises(InputError, match=r"no quantity 'octopole'\. Did you mean 'octupole'"):
        found.quantity("octopole")
    with pytest.raises(InputError, match=r"no objective 'octupole' of the stage 'energy'"):
        found.objective("energy", "octupole")
    with pytest.raises(PluginError, match=r"The loss of acme-octupole 1\.0 is broken, acme_octupole:Gone cannot be"):
        found.load_target("acme_octupole:Gone", "loss")
    assert states(found) == {("acme-octupole", "octupole"): "ok", ("acme-octupole", "density.octupole"): "ok"}


def test_a_quantity_of_two_distributions_is_an_error_that_names_both(install_distribution):
    install_distribution("acme-octupole", quantities("quantity()"), version="1.1")
    uses = "Objective('o', 'energy', ('octupole',), ('octupole',)), Objective('e', 'energy', ('energy',), ('energi',))"
    install_distribution("zeta-octupole", quantities(f"quantity(), quantity('dipole'), {uses}"), version="2.2")
    found = manager()
    assert "octupole" not in found.quantities()
    with pytest.raises(PluginError, match=r"quantity 'octupole' is offered by acme-octupole 1\.1 and zeta-oct"):
        found.quantity("octupole")
    state = states(found)
    assert state["acme-octupole", "octupole"] == "conflict: offered by acme-octupole 1.1 and zeta-octupole 2.2"
    assert state["zeta-octupole", "dipole"].startswith("refused: the name 'dipole' is taken by densnet-core")
    assert state["zeta-octupole", "energy.o"].startswith("refused: its quantity 'octupole' is offered by acme-")
    assert state["zeta-octupole", "energy.e"] == "refused: its quantity 'energi' is unknown. Did you mean 'energy'?"
    assert found.quantity("dipole").unit == "e bohr"


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ("quantity('Octupole')", "name 'Octupole' is not a word of lower-case letters"),
        ("quantity(per='bond')", "per 'bond' is not one of molecule, atom, function"),
        ("quantity(rank=-1)", "rank -1 is not a number of axes"),
        ("quantity(output='octupole')", "output 'octupole' is not of the form package.module:function"),
        ("Objective('o', 'charge', ('a',), ('a',))", "stage 'charge' is not one of density, energy"),
        ("Objective('o', 'energy', 'energy', ('a',))", "labels 'energy' is not a tuple of names of quantities"),
        ("Objective('o', 'energy', ('a', 'b'), ('a',))", "compares one label with one output"),
        ("Objective('o', 'energy', ('a',), ('a',), unit=0.0)", "unit 0.0 is not a positive number"),
        ("Objective('o', 'energy', ('a',), ('a',), weight=float('nan'))", "weight nan is not a number"),
        ("'octupole'", "expected densnet_core.plugins.Quantity or densnet_core.plugins.Objective"),
    ],
)
def test_records_are_checked(install_distribution, records, says):
    install_distribution("acme-octupole", quantities(records))
    assert says in states(manager())["acme-octupole", "acme_octupole"]


def test_the_origin_of_a_component_changes_with_version_and_code(install_distribution):
    site = install_distribution("acme-score", SCORER, version="0.3")
    origin = manager().origin(manager().find("scorer", "energy"))
    assert (origin.distribution, origin.version) == ("acme-score", "0.3")
    assert origin.content is not None
    assert str(origin) == f"acme-score 0.3+{origin.content[:8]}"
    module = site / "acme_score.py"
    module.write_text(module.read_text() + "\n# another line\n")
    changed = manager().origin(manager().find("scorer", "energy"))
    assert changed.content not in (None, origin.content)
    module.write_text(module.read_text().replace("\n# another line\n", ""))
    assert manager().origin(manager().find("scorer", "energy")) == origin


def test_the_origin_of_a_wheel_is_its_version_and_that_of_an_editable_installation_is_not(install_distribution):
    site = install_distribution("acme-score", SCORER)
    information = site / "acme_score-1.0.dist-info"
    (information / "RECORD").write_text("acme_score.py,,\n")
    assert str(manager().origin(manager().find("scorer", "energy"))) == "acme-score 1.0"
    (information / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
    assert manager().origin(manager().find("scorer", "energy")).content is not None


def test_the_origin_of_a_package_is_that_of_all_its_files(install_distribution, tmp_path):
    site = install_distribution("acme-score", SCORER)
    package = site / "acme_score"
    package.mkdir()
    shutil.move(site / "acme_score.py", package / "__init__.py")
    (package / "deep").mkdir()
    (package / "deep" / "helper.py").write_text("x = 1\n")
    before = manager().origin(manager().find("scorer", "energy")).content
    (package / "deep" / "helper.py").write_text("x = 2\n")
    assert manager().origin(manager().find("scorer", "energy")).content != before
    assert manager().origin(manager().find(Kind.EXECUTOR, "local")).content is None


EIGHT = {
    "acme-import": "import acme_is_not_there",
    "acme-attribute": SCORER.replace('ByEnergy"', 'Missing"').replace('"scorer"', '"scorer_a"'),
    "acme-hook": "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_componets(): return []",
    "acme-twice": SCORER.replace('"scorer"', '"scorer_b"'),
    "acme-again": SCORER.replace('"scorer"', '"scorer_b"'),
    "acme-api": SCORER.replace('"scorer"', '"scorer_c"').replace('"get it")', '"get it", api="1.0")'),
    "acme-label": quantities("quantity('energy')"),
    "acme-record": SCORER.replace('"scorer", name, f"{__name__}:{target}"', '"scorer", name, target'),
    "acme-raise": "from densnet_core.plugins import hookimpl\n@hookimpl\ndef densnet_kinds(): return [][1]",
}


@pytest.fixture
def _fresh_manager():
    get_manager.cache_clear()
    yield
    get_manager.cache_clear()


@pytest.mark.usefixtures("_fresh_manager")
def test_with_eight_broken_plugins_everything_is_listed_and_everything_else_works(install_distribution, capsys):
    for name, source in EIGHT.items():
        install_distribution(name, source)
    install_distribution("acme-good", quantities("quantity()") + SCORER)
    assert run(["plugins"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = {}
    for line in shown.out.splitlines():
        lines.setdefault(line.split()[2], []).append(line)
    assert "broken: ModuleNotFoundError: No module named 'acme_is_not_there'" in lines["acme-import"][0]
    assert "densnet_componets, which is not a hook. Did you mean 'densnet_components'" in lines["acme-hook"][0]
    assert any("conflict: offered by acme-again 1.0 and acme-twice 1.0" in line for line in lines["acme-twice"])
    assert any("refused: acme-api 1.0 was made for version 1.0 of the plugin" in line for line in lines["acme-api"])
    assert "refused: the name 'energy' is taken by densnet-core" in lines["acme-label"][0]
    assert "is not of the form package.module:Class" in lines["acme-record"][0]
    assert "broken: IndexError: list index out of range" in lines["acme-raise"][0]
    assert all(" ok " in line for line in lines["acme-good"])
    assert len([line for line in lines["densnet-core"] if " ok " in line]) >= 10

    found = get_manager()
    with pytest.raises(PluginError, match=r"of acme-attribute 1\.0 is broken, acme_attribute:Missing cannot"):
        found.load(found.find("scorer_a", "energy"))
    assert type(found.load(found.find("scorer", "energy"))()).__name__ == "ByEnergy"
    assert found.quantity("octupole").rank == 3
    assert found.load(found.find(Kind.EXECUTOR, "local")).__name__ == "LocalExecutor"
