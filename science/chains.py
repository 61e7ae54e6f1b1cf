"""Errors of models along chains of thiophenes: of lengths they learned from, and of longer ones.

    python science/chains.py FOLDER RUN [RUN ...] [--picture FILE.png]

RUN is the folder of a finished run of science/systems/thiophenes/model.toml, or of copies with other seeds. "held out"
are its own held-out frames (evaluation.json), "apart" those of science/systems/thiophenes/test-N.npz: dynamics of its
own, which no run learns from. Prints mean absolute errors for each length, of several runs the mean and the standard
deviation over them. The test frames and their fits are kept in FOLDER.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from densnet_core.potentials.densnet import DenSNet
from densnet_core.workflow.evaluation import evaluate
from densnet_core.workflow.folder import RunFolder, read_json
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.stores import fit_for, import_file

LABELS = Path(__file__).parent / "systems" / "thiophenes"
LEVEL = "PBE-D4/def2-SVP"
COLUMNS = {
    "energy, meV/atom": ("energy", "mae_mev_per_atom"),
    "forces, meV/angstrom": ("forces", "mae_mev_per_angstrom"),
    "dipole, D": ("dipole", "mae_debye"),
    "NMAE against fit, %": ("density", "nmae_model_vs_fit_percent"),
}
Row = tuple[int, str]
"""Number of units, which frames."""


def figures(errors: dict[str, Any]) -> list[float]:
    """The columns, and the number of frames."""
    return [*(errors[part][name] for part, name in COLUMNS.values()), errors["frames"]]


def held_out(run: RunFolder) -> Iterator[tuple[Row, list[float]]]:
    """Of each length in a run."""
    for formula, errors in read_json(run.evaluation)["formulas"].items():
        units = re.fullmatch(r"C(\d+)H\d+S\d*", formula)
        if units is None:
            raise SystemExit(f"{run.root} holds {formula}, which is no chain of thiophenes.")
        yield (int(units[1]) // 4, "held out"), figures(errors)


def apart(folder: Path, model: DenSNet) -> Iterator[tuple[Row, list[float]]]:
    """Of the test frames of each length."""
    for file in sorted(LABELS.glob("test-*.npz")):
        store = folder / f"{file.stem}.zarr"
        import_file(file, store, LEVEL, "pyscf")
        with fit_for(store, model, Reporter()) as (opened, fit):
            errors = evaluate(model, opened, fit, range(len(opened)))
        yield (int(file.stem.removeprefix("test-")), "apart"), figures(errors)


def draw(path: Path, rows: dict[Row, np.ndarray]) -> None:
    """One panel for each kind of error; lengths never trained on are shaded."""
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    trained = max(units for units, kind in rows if kind == "held out")
    for index, (axes, title) in enumerate(zip(figure.subplots(2, 2, sharex=True).flat, COLUMNS, strict=True)):
        for kind, style in (("held out", "o-"), ("apart", "s--")):
            own = sorted(units for units, which in rows if which == kind)
            values = [rows[units, kind][:, index] for units in own]
            axes.errorbar(own, [v.mean() for v in values], [v.std() for v in values], fmt=style, label=kind, capsize=3)
        axes.axvspan(trained + 0.5, max(units for units, _ in rows) + 0.5, color="0.93", zorder=0)
        axes.set_title(title)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("thiophene units" if index >= 2 else "")
    figure.axes[0].legend()
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    found: dict[Row, list[list[float]]] = {}
    for path in chosen.runs:
        run = RunFolder(path)
        for row, errors in (*held_out(run), *apart(chosen.folder, DenSNet.load(run.model))):
            found.setdefault(row, []).append(errors)
    rows = {row: np.array(found[row]) for row in sorted(found)}
    print(f"| units | frames | {' | '.join(COLUMNS)} |\n|{' --- |' * (2 + len(COLUMNS))}")
    for (units, kind), values in rows.items():
        spread = [f" ({s:.2g})" if len(values) > 1 else "" for s in values.std(0)]
        cells = [f"{mean:.3g}{around}" for mean, around in zip(values.mean(0)[:-1], spread, strict=False)]
        print(f"| {units} | {values[0, -1]:.0f} {kind} | {' | '.join(cells)} |")
    if chosen.picture is not None:
        draw(chosen.picture, rows)


if __name__ == "__main__":
    main()
