"""Options of the samplers that use RDKit; light to import."""

from typing import Annotated, Literal

from pydantic import Field

from densnet_core.options import Options
from densnet_core.sampling.config import TorsionOptions


class _Embedding(Options):
    relax: Literal["force-field", "gfn2-xtb"] = Field(
        default="force-field",
        description="How geometries are relaxed: MMFF94 (UFF where it lacks parameters), or GFN2-xTB after it.",
    )
    min_difference: float = Field(
        default=0.01,
        ge=0,
        description="Conformers whose distances differ by less than this part of themselves are one.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the embedding.")


class ConformerOptions(_Embedding):
    """Options of the sampler ``conformers``: relaxed geometries of a molecule given as SMILES."""

    smiles: str = Field(min_length=1, description="The molecule.", examples=["CCO"])
    count: int = Field(
        default=10, ge=1, description="Embeddings; fewer geometries come out if several relax to the same one."
    )


class ChainOptions(_Embedding):
    """Options of the sampler ``chains``: oligomers of a unit, each of several lengths, ends closed with hydrogen."""

    unit: str = Field(
        min_length=1,
        description="SMILES of the repeated unit with two open ends, written *.",
        examples=["*c1ccc(*)s1"],
    )
    units: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 2, 3, 4], min_length=1, description="Numbers of units of the chains."
    )
    conformers: int = Field(
        default=1, ge=1, description="Embeddings of each chain; fewer geometries come out if several relax to one."
    )


class RotatableBondOptions(TorsionOptions):
    """Options of the sampler ``rdkit-torsions``: rigid rotations about the rotatable bonds."""

    hydrogens: bool = Field(
        default=False, description="Also bonds that turn hydrogens only, such as those of methyl and hydroxyl."
    )
