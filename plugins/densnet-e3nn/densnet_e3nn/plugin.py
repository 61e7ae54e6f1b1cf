"""What this distribution offers to DenSNet. Light: torch and e3nn are imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.BACKBONE,
            name="e3nn",
            target="densnet_e3nn.backbone:E3nnBackbone",
            config="densnet_e3nn.config:E3nnOptions",
            summary="Equivariant message passing with e3nn",
            install="pip install densnet-e3nn",
            api="2.0",
            requires=("e3nn",),
        )
    ]
