"""Train a model that densnet-models ships, and put it there with its errors on held-out frames.

    python science/ship.py water|ethanol|ethanethiol ...

The configuration is science/systems/NAME/model.toml, the labels lie beside it. What is finished is not done again, and
a killed run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from data_sets import figures, table

from densnet_core.config.load import load_config
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run
from densnet_core.workflow.shipping import pack

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "plugins" / "densnet-models" / "densnet_models"


def ship(name: str) -> None:
    """Train, evaluate and pack one."""
    run = Run(load_config(HERE / "systems" / name / "model.toml"), Reporter())
    errors = run.do("evaluate")
    source = run.sources[0]
    pack(run.folder.model, source.path, SHIPPED / f"{name}.zip", name)
    table(name, {formula: [figures(one)] for formula, one in errors["formulas"].items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="+", choices=sorted(path.parent.name for path in HERE.glob("systems/*/model.toml"))
    )
    for name in parser.parse_args().names:
        ship(name)


if __name__ == "__main__":
    main()
