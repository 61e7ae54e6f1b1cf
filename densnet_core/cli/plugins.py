"""The verb ``plugins``: the list, and check."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from densnet_core.cli.output import print_json, print_table
from densnet_core.errors import InputError, PluginError
from densnet_core.plugins.component import Component
from densnet_core.plugins.manager import Manager, get_manager

if TYPE_CHECKING:
    from densnet_core.testing.suites import Finding

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def plugins(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every known component, whether it can be used, and how to install it."""
    if context.invoked_subcommand is not None:
        return
    rows = get_manager().status()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ["kind", "name", "distribution", "version", "status", "install"],
        [[row.kind, row.name, row.distribution, row.version or "", row.status, row.install or ""] for row in rows],
    )


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of an installed component.")],
    kind: Annotated[str, typer.Option(help="Its kind, where several kinds have a component of this name.")] = "",
    options: Annotated[
        list[str] | None,
        typer.Option(help="Options of the component: key=value as in TOML, or a TOML file; may be given again."),
    ] = None,
) -> None:
    """Run the conformance suite of a component's kind on it; exit code 1 if a test fails.

    The suite is that of densnet_core.testing which plugin authors subclass in their own tests.
    """
    if find_spec("pytest") is None:
        raise PluginError(
            "The suites run under pytest, which is not installed. Install it with: pip install 'densnet-core[testing]'"
        )
    from densnet_core.testing.suites import run_suite, suite_of

    manager = get_manager()
    component = named(manager, name, kind)
    suite = suite_of(manager, component, table_of(options or []))
    if suite is None:
        raise InputError(f"There is no suite for components of kind {component.kind}.")
    print(f"{suite.__name__} on {component.kind} {component.name} of {manager.origin(component)}")
    findings = run_suite(suite, _print_finding)
    counts = {outcome: sum(one.outcome == outcome for one in findings) for outcome in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))
    if counts["failed"]:
        raise typer.Exit(1)


def named(manager: Manager, name: str, kind: str) -> Component:
    """The installed component of a name, and of a kind if one is given.

    Raises
    ------
    InputError
        There is none, or there are several kinds with one.
    """
    if kind:
        return manager.find(kind, name)
    found = [component for component in manager.components() if component.name == name]
    if len(found) > 1:
        kinds = " or ".join(f"--kind {component.kind}" for component in found)
        raise InputError(f"Several components are called {name!r}; say which: {kinds}.")
    if found:
        return found[0]
    rows = manager.status()
    for row in rows:
        if row.name == name:
            return manager.find(row.kind, name)  # which says what is wrong with it
    raise InputError(manager.unknown(f"component {name!r}", name, [row.name for row in rows]))


def table_of(texts: Sequence[str]) -> dict[str, Any]:
    """Options from texts ``key=value`` and paths of TOML files, later ones over earlier ones.

    Raises
    ------
    InputError
        A file cannot be read, or is not TOML.
    """
    table: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if equals:
            try:
                table |= tomllib.loads(f"{key} = {value}")
            except tomllib.TOMLDecodeError:  # a bare word
                table[key.strip()] = value.strip()
            continue
        try:
            table |= tomllib.loads(Path(text).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"--options {text}: expected key=value or a TOML file ({error}).") from error
    return table


def _print_finding(finding: Finding) -> None:
    words = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}
    name = finding.test.removeprefix("test_").replace("_", " ")
    print(f"{words[finding.outcome]:8s} {name}" + (f": {finding.detail}" if finding.detail else ""), flush=True)
