"""The verbs that carry out stages of a configuration: run, sample, reference, train, md, spectrum."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.output import print_json
from densnet_core.config import load_config
from densnet_core.errors import ConfigError

CONFIG = typer.Argument(help="Configuration file (TOML); 'densnet init' writes one.", metavar="CONFIG")


def _application(
    help_text: str,
    carry_out: Callable[[Any], Any],
    show: Callable[[Any, Any], None],
    with_data: tuple[Callable[[Any], Any], Callable[[Any, Any], None]] | None = None,
) -> typer.Typer:
    """A verb that runs one stage, and the stages it needs, of a configuration.

    ``with_data`` is what it does, and shows, where the configuration has [data]; None: it needs a molecule.
    """
    app = typer.Typer(add_completion=False)

    @app.command(help=help_text)
    def verb(
        config: Annotated[Path, CONFIG],
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
    ) -> None:
        read = load_config(config)
        stage, tell = carry_out, show
        if read.data is not None:
            if with_data is None:
                raise ConfigError(
                    f"{config}: this needs a molecule, and [data] names frames. 'densnet train' makes a model of "
                    "them; 'densnet predict', 'densnet export' and docs/python.md go on with it and a geometry."
                )
            stage, tell = with_data
        from densnet_core.cli.progress import RichReporter
        from densnet_core.training import parallel
        from densnet_core.workflow.data_run import DataRun
        from densnet_core.workflow.learning import finish, follow
        from densnet_core.workflow.run import Run

        with parallel.process_group():
            if parallel.rank() > 0:  # of torchrun: the first process does everything but its part of the batches
                follow()
                return
            with RichReporter() as reporter:
                run = Run(read, reporter) if read.data is None else DataRun(read, reporter)
                result = stage(run)
            finish()
        if as_json:
            print_json(_record(run, result))
        else:
            tell(run, result)

    return app


def _record(run: Any, result: Any) -> Any:
    """What a stage hands to a program: its numbers, or where its results lie."""
    if isinstance(result, dict):
        return result
    if isinstance(result, tuple):
        return {"evaluation": result[0], "spectrum": result[1], "files": _files(run)}
    if isinstance(result, Path):
        return {"path": str(result)}
    if isinstance(result, list):
        return {"path": str(run.folder.samples), **json.loads(run.folder.sampling.read_text(encoding="utf-8"))}
    return {"path": str(run.folder.model)}


def _files(run: Any) -> dict[str, str]:
    """Where the results of a whole run lie."""
    folder = run.folder
    paths = {
        "picture": folder.picture,
        "spectrum": folder.spectrum,
        "model": folder.model,
        "potential": folder.potential,
        "trajectory": folder.production,
        "data": run.store_path,
        "logs": folder.training,
    }
    return {name: str(path) for name, path in paths.items()}


def _show_samples(run: Any, result: Any) -> None:
    print(f"{len(result)} geometries: {run.folder.samples}")


def _show_path(run: Any, result: Any) -> None:
    print(result)


def _show_model(run: Any, result: Any) -> None:
    print(f"{result!r}\n{run.folder.model}")


def _show_spectrum(run: Any, result: Any) -> None:
    from densnet_core.cli.report import show_bands

    show_bands(result)
    print(f"{run.folder.picture}\n{run.folder.spectrum}")


def _show_all(run: Any, result: Any) -> None:
    from densnet_core.cli.report import show_bands, show_errors

    errors, spectrum = result
    show_errors(errors)
    show_bands(spectrum)
    for name, path in _files(run).items():
        print(f"{name:<10} {path}")


def _show_model_and_errors(run: Any, result: Any) -> None:
    from densnet_core.workflow.folder import read_json

    _show_errors_by_store(run, read_json(run.folder.evaluation))
    _show_model(run, result)


def _show_errors_by_store(run: Any, result: Any) -> None:
    from densnet_core.cli.report import show_errors

    for of, record in (*result["stores"].items(), *result["formulas"].items()):
        show_errors(record, of)


def _stage(name: str) -> Callable[[Any], Any]:
    def carry_out(run: Any) -> Any:
        return getattr(run, name)()

    return carry_out


run_app = _application("Carry out every stage: what is current is skipped, what is half done is resumed.",
                       _stage("all"), _show_all, (_stage("evaluate"), _show_errors_by_store))  # fmt: skip
sample_app = _application("Make the geometries.", _stage("sample"), _show_samples)
reference_app = _application("Compute energies, forces, dipoles and orbitals of the geometries.",
                             _stage("reference"), _show_path)  # fmt: skip
train_app = _application("Fit the densities and train both networks.", _stage("train"), _show_model,
                         (_stage("train"), _show_model_and_errors))  # fmt: skip
md_app = _application("Run the dynamics: heat bath, then constant energy.", _stage("md"), _show_path)
spectrum_app = _application("Infrared spectrum of the trajectory.", _stage("spectrum"), _show_spectrum)
