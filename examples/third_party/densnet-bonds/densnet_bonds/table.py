"""The stage ``quadrupole_table``: quadrupoles of the held-out frames, predicted and computed, as a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from densnet_core.graphs.graph import graph_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage

from densnet_bonds.config import QuadrupoleTableOptions

LABEL = "traceless_quadrupole"
COMPONENTS = {"xx": (0, 0), "xy": (0, 1), "xz": (0, 2), "yy": (1, 1), "yz": (1, 2), "zz": (2, 2)}


class QuadrupoleTable(Stage):
    """A row for each component of each held-out frame that has the label."""

    name = "quadrupole_table"
    options: QuadrupoleTableOptions

    def needs(self, run: Project) -> tuple[str, ...]:
        return ("evaluate",)

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.root / "quadrupoles.csv",)

    def summary(self, run: Project) -> str:
        return "quadrupoles of the held-out frames"

    def work(self, run: Project) -> None:
        """Written under another name first, so that a killed run leaves no part of a table."""
        (path,) = self.outputs(run)
        unfinished = path.with_suffix(".partial")
        model, digits = run.model(), self.options.decimals
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", "component", "predicted_e_bohr2", "reference_e_bohr2"])
            for source, parts in zip(run.sources, run.parts, strict=True):
                with ReferenceStore.open(source.path) as store:
                    for content in parts["test"]:
                        index = store.index_of(bytes.fromhex(content))
                        if LABEL not in store.labels(index):
                            continue
                        reference = np.asarray(store.result(index, labels=[LABEL]).more[LABEL])
                        graph = graph_of([store.structure(index)], model.cutoff)
                        predicted = model.evaluate(graph, (LABEL,))[LABEL][0].numpy()
                        for name, at in COMPONENTS.items():
                            writer.writerow(
                                [content, name, f"{predicted[at]:.{digits}f}", f"{reference[at]:.{digits}f}"]
                            )
        unfinished.replace(path)
