"""Conformers of a molecule given as SMILES."""

from __future__ import annotations

from densnet_core.errors import InputError
from densnet_core.sampling.base import MoleculeSampler, SamplingContext
from densnet_core.structures import Structure
from densnet_rdkit.config import ConformerOptions
from densnet_rdkit.embedding import geometries, molecule


class ConformerSampler(MoleculeSampler):
    """Relaxed geometries of one molecule.

    Parameters
    ----------
    options : ConformerOptions
    """

    options: ConformerOptions

    def __init__(self, options: ConformerOptions | None = None) -> None:
        if options is None:
            raise InputError("The sampler 'conformers' needs a molecule as SMILES; none was given.")
        super().__init__(options)

    def build(self, charge: int, multiplicity: int, context: SamplingContext | None = None) -> list[Structure]:
        """At most ``count`` different geometries; heavy atoms in the order of the SMILES, then the hydrogens."""
        found = molecule(self.options.smiles)
        return geometries(found, self.options.count, charge, multiplicity, self.options, context or SamplingContext())
