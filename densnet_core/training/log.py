"""What a training tells: NAME.csv, TensorBoard, and the learning curves as a picture."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

VALIDATION = "validation_"
"""Prefix of the figures of validation frames."""


class TrainingLog:
    """NAME.csv, NAME.png and TensorBoard; rows after the step that is resumed are dropped.

    Parameters
    ----------
    folder : Path
    name : str
    resumed_at : int
        Step.
    """

    def __init__(self, folder: Path, name: str, resumed_at: int) -> None:
        self.path, self.name = folder / f"{name}.csv", name
        rows: list[dict[str, Any]] = []
        if resumed_at and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resumed_at]
        self.rows = rows
        self.board = SummaryWriter(  # type: ignore[no-untyped-call]
            str(folder / "tensorboard" / name), purge_step=resumed_at + 1 if resumed_at else None
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a row: the figures of the last batch and of the validation frames."""
        self.rows.append({"step": step, **{key: f"{value:.6g}" for key, value in metrics.items()}})
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        temporary = self.path.with_suffix(".csv.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.path)
        for key, value in metrics.items():
            self.board.add_scalar(f"{self.name}/{key}", value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Draw the curves and end."""
        self.board.close()  # type: ignore[no-untyped-call]
        if len(self.rows) > 1:
            draw_curves(self.rows, self.path.with_suffix(".png"), self.name)


def draw_curves(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """A panel for every figure that was validated, that of the batches in grey; both axes of errors logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name.startswith(VALIDATION)]
    names = names or ["loss"]
    figure = Figure(figsize=(4.0 * len(names), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)
        for key, colour in ((name.removeprefix(VALIDATION), "0.6"), (name, "C0")):
            points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]
            points = [(step, value) for step, value in points if value > 0.0]
            label = "validation" if key.startswith(VALIDATION) else "batch"
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, label=label)
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_title(name.removeprefix(VALIDATION).replace("_", " "), fontsize=9)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
