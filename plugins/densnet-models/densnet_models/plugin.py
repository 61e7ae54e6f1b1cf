"""What this distribution offers to DenSNet. Light: a model is read when it is asked for."""

from densnet_core.plugins import Component, Kind, hookimpl

SUMMARIES = {
    "water": "Water, PBE/aug-cc-pVDZ",
    "ethanol": "Ethanol, anti and gauche, PBE/aug-cc-pVDZ",
    "ethanethiol": "Ethanethiol, anti and gauche, PBE/aug-cc-pVDZ",
    "resorcinol": "Resorcinol, three rotamers, PBE/aug-cc-pVDZ",
    "thiophenes": "Chains of thiophenes, PBE-D4/def2-SVP",
}


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.MODEL,
            name=name,
            target=f"densnet_models.packages:{name.capitalize()}",
            config="densnet_core.options:Options",
            summary=summary,
            install="pip install densnet-models",
            api="2.0",
            requires=("densnet_gaunt",),
        )
        for name, summary in SUMMARIES.items()
    ]
