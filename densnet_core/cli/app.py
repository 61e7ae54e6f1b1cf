"""The command ``densnet``: its verbs, and what becomes of an error.

Exit codes: 0 done, 2 something the user can mend, 130 interrupted, 70 a defect of DenSNet or of a plugin.
"""

from __future__ import annotations

import errno
import io
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final, TextIO

import typer

from densnet_core import __version__
from densnet_core.errors import CodeChangedWarning, DenSNetError

# One line per verb: name, "module:attribute" of its Typer application, help. The module is imported when the verb runs,
# so that `densnet --help` needs none of them; a module imports torch and the like inside its functions all the same.
VERBS: Final[tuple[tuple[str, str, str], ...]] = (
    ("run", "densnet_core.cli.stages:run_app", "Do everything a configuration says, from geometry to spectrum."),
    ("sample", "densnet_core.cli.stages:sample_app", "Make the geometries to be labelled."),
    ("reference", "densnet_core.cli.stages:reference_app", "Compute the reference data of the geometries."),
    ("train", "densnet_core.cli.stages:train_app", "Fit the densities and train the networks."),
    ("evaluate", "densnet_core.cli.evaluate:app", "Errors of a trained model on labelled frames."),
    ("predict", "densnet_core.cli.predict:app", "Energy, forces and density properties of geometries."),
    ("vibrations", "densnet_core.cli.vibrations:app", "Minimum, normal modes and thermochemistry of a molecule."),
    ("md", "densnet_core.cli.dynamics:md_app", "Molecular dynamics with the trained model."),
    ("spectrum", "densnet_core.cli.dynamics:spectrum_app", "Infrared spectrum of the dynamics."),
    ("export", "densnet_core.cli.export:app", "Write a trained model as TorchScript for OpenMM."),
    ("data", "densnet_core.cli.data:app", "Look into stores; check, import, merge and upgrade them."),
    ("models", "densnet_core.cli.models:app", "List the shipped models and their errors; pack one."),
    ("basis", "densnet_core.cli.basis:app", "Show bases, and optimise one on your data."),
    ("init", "densnet_core.cli.init:app", "Write a commented configuration for a molecule."),
    ("config", "densnet_core.cli.config:app", "Check a configuration file, or print the schema."),
    ("plugins", "densnet_core.cli.plugins:app", "List the components: what there is and how to install the rest."),
    ("doctor", "densnet_core.cli.doctor:app", "Check the installation and the machine."),
)

EXIT_USER: Final = 2
EXIT_DEFECT: Final = 70
EXIT_INTERRUPTED: Final = 130
_FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def main() -> None:
    """Entry point of the command ``densnet``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # ? where the encoding lacks a character, in place of an exception
    warnings.showwarning = _show_warning
    sys.exit(run(sys.argv[1:]))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours are for the user, in one line; others name the line of code that they are about."""
    if issubclass(category, CodeChangedWarning):
        print(f"Warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; errors become one message on stderr."""
    debug = "--debug" in arguments[: _verb_position(arguments)]
    try:
        typer.main.get_command(_application(arguments))(args=list(arguments), prog_name="densnet")
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:
            print("Interrupted.", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error, debug)
    return 0


def _report(error: Exception, debug: bool) -> int:
    if isinstance(error, DenSNetError):
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_USER
    if isinstance(error, OSError) and error.errno in _FULL_OR_READ_ONLY:
        print(f"Error: {error.strerror}: {error.filename or 'the disk'}. Make room or choose another.", file=sys.stderr)
        return EXIT_USER
    print(_defect(error) + ("" if debug else " 'densnet --debug ...' shows where."), file=sys.stderr)
    return EXIT_DEFECT


def _defect(error: Exception) -> str:
    """Whose defect it is, and where to report one of a plugin."""
    from densnet_core.plugins.blame import blame
    from densnet_core.plugins.discovery import describe
    from densnet_core.plugins.manager import get_manager

    guilty = blame(error, get_manager().plugins)
    if guilty is None:
        return f"Defect in DenSNet {__version__}: {describe(error)}."
    return f"Defect in {guilty}: {describe(error)}. {guilty.advice}"


def _verb_position(arguments: Sequence[str]) -> int:
    """Index of the first word that is not an option of ``densnet`` itself (none of those takes a value)."""
    return next((at for at, word in enumerate(arguments) if not word.startswith("-")), len(arguments))


def _application(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        help="Machine-learned molecular simulation with the electron density at its centre.",
        add_completion=False,
        no_args_is_help=True,
        callback=_global_options,
    )
    for name, application, summary in VERBS:
        _add_lazy(app, name, application, summary)
    core_verbs = [verb[0] for verb in VERBS]
    if not set(arguments[_verb_position(arguments) :][:1]) & set(core_verbs):
        from densnet_core.plugins.manager import get_manager

        for sentence in get_manager().add_commands(app, core_verbs):
            print(f"Warning: {sentence}", file=sys.stderr)
    return app


def _add_lazy(app: typer.Typer, name: str, application: str, summary: str) -> None:
    """Register a verb that hands all its arguments, ``--help`` included, to ``application``."""

    def forward(context: typer.Context) -> None:
        module, _, attribute = application.partition(":")
        inner = typer.main.get_command(getattr(import_module(module), attribute))
        inner(args=context.args, prog_name=f"densnet {name}")

    app.command(
        name,
        help=summary,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(forward)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"densnet {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Both are done with elsewhere: the version by its callback, the traceback by ``run``."""
