"""The verb ``config``: check and schema."""

from pathlib import Path
from typing import Annotated, Any

import typer

from densnet_core.cli.output import print_json
from densnet_core.config import Config, load_config
from densnet_core.plugins.manager import get_manager

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check a configuration file, or print the schema.")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The configuration file.")]) -> None:
    """Check a configuration: its keys and values, its components and their options, geometry, basis and networks.

    The frames of [data] files are imported for it, as by the first stage.
    """
    from densnet_core.workflow.run import Run

    run = Run(load_config(file))
    config = run.config
    if run.data is not None:
        run.do("imports")
    run.check(*run.everything)
    if run.data is not None:
        n_frames = sum(len(source.frames) for source in run.sources)
        what = f"{n_frames} frames of {len(run.sources)} stores, {run.sources[0].level}"
    else:
        count = run.sampling.taken(run.structure)
        frames = "" if count is None else f"{count} frames, "
        what = (
            f"{run.structure.formula}, {run.level} with {run.backend.component.name}, {frames}"
            f"{config.md.nve_ps:g} ps x {config.md.replicas} with {config.md.engine}"
        )
    print(f"{file} is fine: {what}.\nResults go to {config.output_directory}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a configuration; under "x-components" those of every installed component's options."""
    manager = get_manager()
    components: dict[str, dict[str, Any]] = {}
    for component in manager.components():
        options = manager.options_model(component).model_json_schema()
        components.setdefault(str(component.kind), {})[component.name] = options
    print_json(Config.model_json_schema() | {"x-components": components})
