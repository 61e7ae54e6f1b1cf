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
    """Check a configuration: its keys and values, its components and their options, geometry, basis and networks.

    The frames of [data] files are imported for it, as by the first stage.
    """
    config = load_config(file)

    from densnet_core.workflow.data_run import DataRun
    from densnet_core.workflow.run import Run

    if config.data is not None:
        data_run = DataRun(config)
        data_run.check()
        n_frames = sum(len(source.frames) for source in data_run.sources)
        print(
            f"{file} is fine: {n_frames} frames of {len(data_run.sources)} stores, {data_run.sources[0].level}.\n"
            f"Results go to {config.output_directory}"
        )
        return
    run = Run(config)
    run.check()
    check_spectrum(config)
    print(
        f"{file} is fine: {run.structure.formula}, {run.level} with {run.backend.component.name}, "
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
