"""What this distribution offers to DenSNet. Light: torch is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.BACKBONE,
            name="gaunt",
            target="densnet_gaunt.backbone:GauntBackbone",
            config="densnet_gaunt.config:GauntOptions",
            summary="Sums over neighbours, then products on the sphere: about twice as fast as e3nn",
            install="pip install densnet-gaunt",
            api="2.0",
        )
    ]
