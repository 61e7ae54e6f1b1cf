"""The verb ``models``: the shipped models, and making one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.output import print_json, print_table

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models with their errors on held-out frames, by molecule.

    Their names stand wherever a model is asked for: densnet md ethanol molecule.xyz, load_model("ethanol").
    """
    if context.invoked_subcommand is not None:
        return
    from densnet_core.workflow.shipping import model_cards

    cards, problems = model_cards()
    if as_json:
        print_json(cards)
    else:
        print_table(
            [
                "model",
                "molecule",
                "level",
                "frames",
                "forces meV/Å",
                "energy meV",
                "NMAE vs fit %",
                "vs reference %",
                "dipole D",
            ],
            [row for card in cards for row in _rows(card)],
        )
    for problem in problems:
        print(f"Warning: {problem}", file=sys.stderr)


@app.command()
def pack(
    model: Annotated[Path, typer.Argument(help="Finished model, a folder or zip file.")],
    store: Annotated[Path, typer.Argument(help="Labelled frames; some that it has not learned become its checks.")],
    output: Annotated[Path, typer.Argument(help="The zip file to write; its stem is the model's name.")],
) -> None:
    """Make a model ready to be carried by a distribution: one file, without paths of this machine, with checks."""
    from densnet_core.workflow.shipping import pack as packed

    packed(model, store, output, output.stem)
    print(output)


def _rows(card: dict[str, Any]) -> list[list[str]]:
    from densnet_core.workflow.shipping import FIGURES

    return [
        [card["name"], formula, card["level_of_theory"], str(errors["frames"])]
        + ["" if errors[name] is None else f"{errors[name]:.3g}" for name in FIGURES]
        for formula, errors in card["held_out"].items()
    ]
