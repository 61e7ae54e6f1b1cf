"""The verbs that carry out stages of a configuration, or the same work on stores, models and trajectories."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.output import print_json, print_table
from densnet_core.config import Config, load_config
from densnet_core.errors import InputError

CONFIG = typer.Argument(help="Configuration file (TOML); 'densnet init' writes one.", metavar="CONFIG")
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and why; do nothing.")]
Again = Annotated[
    list[str] | None, typer.Option(help="A stage to make anew although it is current; may be given several times.")
]


@dataclass(frozen=True)
class Verb:
    """What a verb does with a configuration.

    Parameters
    ----------
    stages : callable
        From the run to the stages that are brought up to date.
    record, show : callable
        The result as plain data; the result printed.
    """

    stages: Callable[[Any], tuple[str, ...]]
    record: Callable[[Any], Any]
    show: Callable[[Any], None]

    def carry_out(self, config: Config, as_json: bool, dry_run: bool, again: list[str] | None) -> None:
        from densnet_core.workflow.run import Run

        if dry_run:
            show_verdicts(Run(config, again=again or ()), self.stages, as_json)
            return
        from densnet_core.cli.progress import RichReporter
        from densnet_core.training import parallel
        from densnet_core.workflow.learning import finish, follow

        with parallel.process_group():
            if parallel.rank() > 0:  # of torchrun: the first process does everything but its part of the batches
                follow()
                return
            with RichReporter() as reporter:
                run = Run(config, reporter, again=again or ())
                run.do(*self.stages(run))
            finish()
        if as_json:
            print_json(self.record(run))
        else:
            self.show(run)


def show_verdicts(run: Any, stages: Callable[[Any], tuple[str, ...]], as_json: bool) -> None:
    """One line per stage: what would be done with it, and why."""
    verdicts = run.verdicts(*stages(run))
    words = {True: "to do", False: "current", None: "depends"}
    if as_json:
        print_json([{"stage": v.stage, "state": words[v.todo], "reason": v.reason} for v in verdicts])
        return
    print_table(["stage", "state", "why"], [[v.stage, words[v.todo], v.reason] for v in verdicts])


def _one(*names: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda run: names


def _application(help_text: str, verb: Verb) -> typer.Typer:
    """A verb that works on a configuration and on nothing else."""
    app = typer.Typer(add_completion=False)

    @app.command(help=help_text)
    def command(
        config: Annotated[Path, CONFIG], as_json: AsJson = False, dry_run: DryRun = False, again: Again = None
    ) -> None:
        verb.carry_out(load_config(config), as_json, dry_run, again)

    return app


# Results, for people and for programs


def _path_of(stage: str) -> Callable[[Any], Path]:
    return lambda run: run.stage(stage).outputs(run)[0]


def _samples(run: Any) -> dict[str, Any]:
    return {"path": str(run.folder.samples), **json.loads(run.folder.sampling.read_text(encoding="utf-8"))}


def _show_samples(run: Any) -> None:
    print(f"{len(run.samples())} geometries: {run.folder.samples}")


def _show_model(run: Any) -> None:
    if run.data is not None:
        _show_errors(run)
    print(f"{run.model()!r}\n{run.folder.model}")


def _show_errors(run: Any) -> None:
    """By store and formula, where there are several."""
    from densnet_core.cli.report import show_errors

    record = run.result("evaluate")
    if run.data is None:
        show_errors(record)
    else:
        for of, own in (*record["stores"].items(), *record["formulas"].items()):
            show_errors(own, of)


def _show_spectrum(run: Any) -> None:
    from densnet_core.cli.report import show_bands

    show_bands(run.result("spectrum"))
    print(f"{run.folder.picture}\n{run.folder.page}\n{run.folder.spectrum}")


def _files(run: Any) -> dict[str, str]:
    """Where the results of a whole run lie; of the stages of plugins first."""
    folder = run.folder
    paths = {name: run.stage(name).outputs(run)[0] for name in run.selection.stages}
    if run.data is None:
        paths |= {"picture": folder.picture, "page": folder.page, "spectrum": folder.spectrum}
    paths["model"] = folder.model
    if run.data is None:
        paths |= {"potential": folder.potential, "trajectory": folder.production, "data": run.store_path}
    return {name: str(path) for name, path in {**paths, "logs": folder.training}.items()}


def _everything(run: Any) -> dict[str, Any]:
    made = {"evaluation": run.result("evaluate")}
    if run.data is None:
        made["spectrum"] = run.result("spectrum")
    return {**made, "files": _files(run)}


def _show_everything(run: Any) -> None:
    from densnet_core.cli.report import show_bands

    _show_errors(run)
    if run.data is None:
        show_bands(run.result("spectrum"))
    for name, path in _files(run).items():
        print(f"{name:<10} {path}")


ALL = Verb(lambda run: run.everything, _everything, _show_everything)
SAMPLE = Verb(_one("sample"), _samples, _show_samples)
TRAIN = Verb(
    lambda run: ("train",) if run.data is None else ("train", "evaluate"),
    lambda run: {"path": str(run.folder.model)},
    _show_model,
)
SPECTRUM = Verb(_one("spectrum"), lambda run: run.result("spectrum"), _show_spectrum)


def only(stage: str) -> Verb:
    """A verb that ends with one stage and shows where its result lies."""
    path = _path_of(stage)
    return Verb(_one(stage), lambda run: {"path": str(path(run))}, lambda run: print(path(run)))


sample_app = _application("Make the geometries.", SAMPLE)
reference_app = _application("Compute energies, forces, dipoles and orbitals of the geometries.", only("reference"))
run_app = typer.Typer(add_completion=False)


@run_app.command()
def run(
    config: Annotated[Path, CONFIG],
    as_json: AsJson = False,
    dry_run: DryRun = False,
    again: Again = None,
    to: Annotated[str, typer.Option(metavar="STAGE", help="Go no further than this stage.")] = "",
) -> None:
    """Carry out every stage: what is current is skipped, what is half done is resumed."""
    (only(to) if to else ALL).carry_out(load_config(config), as_json, dry_run, again)


train_app = typer.Typer(add_completion=False)
BASIS, STEPS, OUTPUT = "densnet-m", 5000, Path("trained")
"""Of a training without a configuration."""


@train_app.command()
def train(
    config: Annotated[Path | None, CONFIG] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="STORE", help="Instead of a configuration: a store, or several."),
    ] = None,
    basis: Annotated[str, typer.Option(help="With --data: the density basis.")] = BASIS,
    steps: Annotated[int, typer.Option(min=1, help="With --data: steps of each network.")] = STEPS,
    output: Annotated[Path, typer.Option(help="With --data: directory of the results.")] = OUTPUT,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    again: Again = None,
) -> None:
    """Fit the densities and train both networks: of a configuration, or of stores as they are."""
    if (config is None) == (not data):
        raise InputError("Name a configuration file, or stores to learn from with --data.")
    if config is not None:
        if (basis, steps, output) != (BASIS, STEPS, OUTPUT):
            raise InputError(
                f"{config} is a configuration, which sets [basis], the steps in [training] and output; --basis, "
                "--steps and --output are for --data."
            )
        TRAIN.carry_out(load_config(config), as_json, dry_run, again)
        return
    from densnet_core.config.load import config_of

    table = {
        "schema": 1,
        "output": str(output.absolute()),
        "data": {"stores": [str(path.absolute()) for path in data or ()]},
        "basis": {"name": basis},
        "training": {name: {"steps": steps} for name in ("density", "energy")},
    }
    TRAIN.carry_out(config_of(table, output.absolute() / "train.toml"), as_json, dry_run, again)
