"""The verb ``evaluate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from densnet_core.cli.output import print_json

app = typer.Typer(add_completion=False)


class Part(StrEnum):
    """Which frames of a store to evaluate on."""

    AUTO = "auto"
    TEST = "test"
    ALL = "all"


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Trained model: folder, zip file or shipped name.")],
    store: Annotated[Path, typer.Argument(help="Store of labelled frames.")],
    frames: Annotated[
        Part, typer.Option("--frames", help="Held-out frames, or all; auto: held-out ones if the store has a split.")
    ] = Part.AUTO,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw energies and forces against the reference, a PNG file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the errors as JSON on stdout.")] = False,
) -> None:
    """Errors of a model on a store; frames it was trained on are always left out."""
    from densnet_core.cli.progress import RichReporter
    from densnet_core.cli.report import show_errors
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.workflow.evaluation import evaluate, frames_to_evaluate
    from densnet_core.workflow.stores import fit_for

    with RichReporter() as reporter:
        trained = DenSNet.load(model)
        with fit_for(store, trained, reporter) as (opened, fit):
            indices, left_out = frames_to_evaluate(trained, opened, frames.value)
            if left_out:
                reporter.note(f"{left_out} frames that the model was trained on are left out.")
            record = evaluate(trained, opened, fit, indices, reporter.task("evaluating", len(indices)), picture)
    if as_json:
        print_json(record)
    else:
        show_errors(record)
