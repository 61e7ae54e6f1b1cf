"""What this distribution offers to DenSNet. Light: Parsl is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.EXECUTOR,
            name="parsl",
            target="densnet_parsl.executor:ParslExecutor",
            config="densnet_parsl.config:ParslOptions",
            summary="Parsl: this machine, Slurm or PBS",
            install="pip install densnet-parsl",
            api="2.0",
            requires=("parsl",),
        )
    ]
