"""What this distribution offers to DenSNet. Light: ASE is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.MD_ENGINE,
            name="ase",
            target="densnet_ase.engine:ASEEngine",
            config="densnet_ase.config:ASEOptions",
            summary="Langevin and Verlet dynamics with ASE's integrators",
            install="pip install densnet-ase",
            api="2.0",
            requires=("ase",),
        )
    ]
