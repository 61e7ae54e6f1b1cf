"""Imports inside the core only point upwards in the list of folders that the package's docstring gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import densnet_core

PACKAGE = Path(densnet_core.__file__).parent
LAYERS = (
    *("plugins", "basis", "density", "reference", "stores", "graphs", "datasets", "models", "potentials", "training"),
    *("md", "spectra", "sampling", "testing", "config", "workflow", "cli"),
)
# The ground: above all other folders, in this order among themselves.
TOP = ("errors", "units", "elements", "options", "fragments", "files", "structures")
ORDER = {name: rank for rank, name in enumerate((*TOP, *LAYERS))}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything of densnet_core that a module imports, at its top or inside a function.

    What stands under ``if TYPE_CHECKING:`` is not imported: a type may be named from below, code may not be used.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_type_checking(node.test)]
    never_run = {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in never_run:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["densnet_core.<relative>"]
        elif isinstance(node, ast.ImportFrom) and node.module == "densnet_core":
            names = [f"densnet_core.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "densnet_core")


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


def violations(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        own = relative.parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        for line, name in imported(path):
            target = name.partition(".")[2].partition(".")[0]
            if target in ("", "__version__"):
                continue
            if target not in ORDER or own not in ORDER or ORDER[target] > ORDER[own]:
                found.append(f"{relative}:{line} imports {name}")
    return found


def test_the_core_imports_upwards_only():
    assert violations(PACKAGE) == []


def test_every_folder_and_module_has_its_place():
    present = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {"__init__"}
    assert present - {"__main__"} == set(ORDER)


def test_the_package_documents_the_same_order():
    text = densnet_core.__doc__ or ""
    positions = [text.index(f"``{layer}``") for layer in LAYERS]
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
