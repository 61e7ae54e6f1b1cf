"""Imports inside the core point upwards only in the list of folders of the package docstring, and in no circle."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import densnet_core

PACKAGE = Path(densnet_core.__file__).parent
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "layers.py"

_spec = importlib.util.spec_from_file_location("densnet_layers", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
layers = importlib.util.module_from_spec(_spec)
sys.modules["densnet_layers"] = layers
_spec.loader.exec_module(layers)


def violations(package: Path) -> list[str]:
    return [f"{one.module}:{one.line} imports {one.target}" for one in layers.downwards(layers.all_imports(package))]


def circles(package: Path) -> list[list[str]]:
    found: list[list[str]] = layers.circles(layers.all_imports(package))
    return found


def test_the_core_imports_upwards_only():
    assert violations(PACKAGE) == []


def test_no_modules_import_each_other_not_even_for_type_checking():
    assert circles(PACKAGE) == []


def test_the_picture_is_that_of_the_imports():
    """Of which folder imports from which; the number of imports may lag behind until the picture is drawn anew."""

    def arrows(svg: str) -> set[str]:
        return {part.partition(":")[0] for part in svg.split("<title>")[1:]}

    drawn = (ROOT / "docs" / "layers.svg").read_text(encoding="utf-8")
    assert arrows(drawn) == arrows(layers.picture(layers.all_imports())), "run: python docs/layers.py"
    assert "#c0392b" not in drawn


def test_no_file_is_longer_than_a_head():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("densnet_core", "plugins", "examples", "benchmarks", "science", "docs")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert long == {}


def test_every_folder_and_module_has_its_place():
    present = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {"__init__"}
    assert present - {"__main__"} == set(layers.ORDER)


def test_the_package_documents_the_same_order():
    text = densnet_core.__doc__ or ""
    positions = [text.index(f"``{layer}``") for layer in layers.LAYERS]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("basis/x.py", "from densnet_core.models.density import DensityModel"),
        ("basis/x.py", "def f():\n    import densnet_core.cli.app"),
        ("plugins/x.py", "from densnet_core import workflow"),
        ("errors.py", "from densnet_core.units import BOLTZMANN"),
        ("reference/x.py", "from . import base"),
        ("reference/x.py", "if TYPE_CHECKING:\n    import typing\nelse:\n    from densnet_core.stores import x"),
        ("wild/x.py", "from densnet_core.errors import InputError"),
    ],
)
def test_the_check_finds_a_violation(tmp_path, module, source):
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli/x.py", "from densnet_core.config import load_config\nfrom densnet_core import __version__\nimport torch"),
        ("reference/x.py", "if TYPE_CHECKING:\n    from densnet_core.stores import x"),
        ("basis/x.py", "from densnet_core.basis.base import Shell\nfrom densnet_core.units import BOLTZMANN"),
    ],
)
def test_the_check_accepts_what_is_right(tmp_path, module, source):
    path = tmp_path / module
    path.parent.mkdir()
    path.write_text(source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    "second",
    [
        "from densnet_core.basis.a import A",
        "from densnet_core.basis import a",
        "import densnet_core.basis.a",
        "def f():\n    from densnet_core.basis.a import A",
        "if TYPE_CHECKING:\n    from densnet_core.basis.a import A",
    ],
)
def test_the_check_finds_a_circle(tmp_path, second):
    (tmp_path / "basis").mkdir()
    (tmp_path / "basis" / "a.py").write_text("from densnet_core.basis.b import B")
    (tmp_path / "basis" / "b.py").write_text(second)
    found = circles(tmp_path)
    assert found == [["densnet_core.basis.a", "densnet_core.basis.b", "densnet_core.basis.a"]]
    (tmp_path / "basis" / "b.py").write_text("from densnet_core.basis.base import Basis")
    assert circles(tmp_path) == []
