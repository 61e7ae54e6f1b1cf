"""The verb ``config``: check and schema."""

from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.output import print_json
from densnet_core.config import Config, check_spectrum, load_config
from densnet_core.plugins.manager import get_manager

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check a configuration file, or print the schema.")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The configuration file.")]) -> None:
    """Check a configuration: its keys and values, its components and their options, geometry, basis and networks."""
    config = load_config(file)

    from densnet_core.workflow.run import Run

    run = Run(config)
    run.check()
    check_spectrum(config)
    print(
        f"{file} is fine: {run.structure.formula}, {config.reference.level} with {config.reference.backend}, "
        f"{config.training.frames} frames, {config.md.nve_ps:g} ps x {config.md.replicas} with {config.md.engine}.\n"
        f"Results go to {config.output_directory}"
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of a configuration; under "x-components" those of every installed component's options."""
    manager = get_manager()
    components: dict[str, dict[str, Any]] = {}
    for component in manager.components():
        options = manager.options_model(component).model_json_schema()
        components.setdefault(str(component.kind), {})[component.name] = options
    print_json(Config.model_json_schema() | {"x-components": components})
