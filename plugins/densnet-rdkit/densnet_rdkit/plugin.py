"""What this distribution offers to DenSNet. Light: RDKit is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl


def _sampler(name: str, target: str, config: str, summary: str) -> Component:
    return Component(
        kind=Kind.SAMPLER,
        name=name,
        target=f"densnet_rdkit.{target}",
        config=f"densnet_rdkit.config:{config}",
        summary=summary,
        install="pip install densnet-rdkit",
        api="2.0",
        requires=("rdkit",),
    )


@hookimpl
def densnet_components() -> list[Component]:
    return [
        _sampler(
            "conformers",
            "conformers:ConformerSampler",
            "ConformerOptions",
            "Conformers of a molecule given as SMILES",
        ),
        _sampler(
            "chains",
            "chains:ChainSampler",
            "ChainOptions",
            "Oligomers of any lengths from the SMILES of their unit",
        ),
        _sampler(
            "rdkit-torsions",
            "torsions:RotatableBondSampler",
            "RotatableBondOptions",
            "Rigid rotations about the rotatable bonds that RDKit finds",
        ),
    ]
