"""What this distribution offers to DenSNet. Light: OpenMM is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.MD_ENGINE,
            name="openmm",
            target="densnet_openmm.engine:OpenMMEngine",
            config="densnet_openmm.config:OpenMMOptions",
            summary="Langevin and Verlet dynamics with OpenMM, through a Python force or openmm-torch",
            install="pip install densnet-openmm",
            api="2.0",
            requires=("openmm",),
        )
    ]
