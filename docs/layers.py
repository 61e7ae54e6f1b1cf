"""Draws the layers of the core from its imports: docs/layers.svg.

    python docs/layers.py

Each row is a folder or a module of the ground; an arc leads from it up to one that it imports from, the wider the more
imports there are. Drawn in red, and named on the standard error, is what points down: nothing may. The test of
the layers (tests/unit/test_layers.py) reads imports by this script.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "densnet_core"
GROUND: Final = ("errors", "units", "elements", "options", "fragments", "files", "structures")
LAYERS: Final = (
    *("plugins", "basis", "density", "reference", "stores", "graphs", "datasets", "models", "potentials", "training"),
    *("md", "spectra", "sampling", "testing", "config", "workflow", "cli"),
)
ORDER: Final = (*GROUND, *LAYERS)
ROW, LEFT, WIDTH = 26, 110, 560


@dataclass(frozen=True)
class Import:
    """One import of a module of the core by another.

    ``typing_only`` is what stands under ``if TYPE_CHECKING``: a name for type checkers that no program imports.
    """

    module: str
    line: int
    target: str
    typing_only: bool = False


def imports_of(path: Path, module: str) -> Iterator[Import]:
    """Everything of densnet_core that a module imports, at its top or inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_type_checking(node.test)]
    never_run = {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["densnet_core.<relative>"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "densnet_core":
                yield Import(module, node.lineno, name, node in never_run)


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


def all_imports(package: Path = PACKAGE) -> list[Import]:
    """The imports of every module of a package that is laid out as the core."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = ["densnet_core", *path.relative_to(package).with_suffix("").parts]
        found += imports_of(path, ".".join(parts).removesuffix(".__init__"))
    return found


def layer(module: str) -> str:
    """The folder, or module of the ground, that a dotted name lies in; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def downwards(imports: list[Import]) -> list[Import]:
    """Imports of what stands below the importing module, or has no place in the order."""
    rank = {name: number for number, name in enumerate(ORDER)}
    found = []
    for one in imports:
        own, target = layer(one.module), layer(one.target)
        if own in ("", "__main__") or target in ("", "__version__") or one.typing_only:
            continue
        if own not in rank or target not in rank or rank[target] > rank[own]:
            found.append(one)
    return found


def circles(imports: list[Import]) -> list[list[str]]:
    """Modules that import each other, for type checking too; one circle for each module that closes one."""
    modules = {one.module for one in imports}
    edges: dict[str, set[str]] = {}
    for one in imports:
        # "from package.module import name" and "from package import module" alike
        target = one.target if one.target in modules else one.target.rpartition(".")[0]
        if target in modules and layer(target):
            edges.setdefault(one.module, set()).add(target)
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    return found


def picture(imports: list[Import]) -> str:
    """The SVG."""
    against = set(downwards(imports))
    counts: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for one in imports:
        pair = layer(one.module), layer(one.target)
        if pair[0] != pair[1] and all(name in ORDER for name in pair) and not one.typing_only:
            (wrong if one in against else counts)[pair] += 1
    y = {name: 20 + ROW * number for number, name in enumerate(ORDER)}
    height = 30 + ROW * len(ORDER)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(_arcs(counts, y, "#4a6fa5", 0.35)),
        *(_arcs(wrong, y, "#c0392b", 0.9)),
    ]
    for name in ORDER:
        weight = "normal" if name in GROUND else "bold"
        lines.append(f'<text x="{LEFT - 8}" y="{y[name] + 4}" text-anchor="end" font-weight="{weight}">{name}</text>')
        lines.append(f'<circle cx="{LEFT}" cy="{y[name]}" r="3.5" fill="#22313f"/>')
    return "\n".join([*lines, "</svg>", ""])


def _arcs(counts: Mapping[tuple[str, str], int], y: Mapping[str, int], colour: str, opacity: float) -> Iterator[str]:
    for (own, target), count in sorted(counts.items()):
        start, end = y[own], y[target]
        out = LEFT + 0.8 * abs(start - end) + 14
        width = 0.6 + 0.5 * count**0.5
        yield (
            f'<path d="M{LEFT} {start} C{out:.0f} {start} {out:.0f} {end} {LEFT} {end}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:.1f}" stroke-opacity="{opacity}">'
            f"<title>{own} imports {target}: {count}</title></path>"
        )


def main() -> int:
    imports = all_imports()
    (ROOT / "docs" / "layers.svg").write_text(picture(imports), encoding="utf-8")
    for one in downwards(imports):
        print(f"{one.module}, line {one.line}: {one.target} stands below it", file=sys.stderr)
    for circle in circles(imports):
        print(f"circle: {' -> '.join(circle)}", file=sys.stderr)
    return bool(downwards(imports) or circles(imports))


if __name__ == "__main__":
    sys.exit(main())
