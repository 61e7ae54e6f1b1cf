"""What this distribution offers to DenSNet. Light: tblite is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.SAMPLER,
            name="xtb-langevin",
            target="densnet_xtb.sampler:XTBLangevinSampler",
            config="densnet_xtb.config:XTBLangevinOptions",
            summary="Langevin dynamics with GFN2-xTB",
            install="pip install densnet-xtb",
            api="2.0",
            requires=("tblite",),
        )
    ]
