"""The verb ``models``: the shipped models, and making one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from densnet_core.cli.output import print_json, print_table

if TYPE_CHECKING:
    from densnet_core.workflow.shipping import ModelCard

app = typer.Typer(add_completion=False)
FIGURES = {
    "forces_mae_mev_per_angstrom": ("forces", "mae_mev_per_angstrom"),
    "energy_mae_mev": ("energy", "mae_mev"),
    "density_nmae_model_vs_fit_percent": ("density", "nmae_model_vs_fit_percent"),
    "density_nmae_model_vs_reference_percent": ("density", "nmae_model_vs_reference_percent"),
    "dipole_mae_debye": ("dipole", "mae_debye"),
}


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
        print_json([_record(card) for card in cards])
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


def _record(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "summary": card.summary,
        "distribution": card.distribution,
        "path": str(card.path),
        "level_of_theory": card.document.get("level_of_theory"),
        "basis": card.document.get("basis", {}).get("name"),
        "training_frames": len(card.document.get("training_frames", [])),
        "held_out": {
            formula: {"frames": errors.get("frames")}
            | {name: errors.get(part, {}).get(figure) for name, (part, figure) in FIGURES.items()}
            for formula, errors in card.formulas.items()
        },
    }


def _rows(card: ModelCard) -> list[list[str]]:
    record = _record(card)
    return [
        [card.name, formula, str(record["level_of_theory"]), str(errors["frames"])]
        + ["" if errors[name] is None else f"{errors[name]:.3g}" for name in FIGURES]
        for formula, errors in record["held_out"].items()
    ]
