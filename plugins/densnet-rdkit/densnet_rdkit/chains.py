"""Oligomers from the SMILES of their unit."""

from __future__ import annotations

from rdkit import Chem

from densnet_core.errors import InputError
from densnet_core.sampling.base import MoleculeSampler, SamplingContext
from densnet_core.structures import Structure
from densnet_rdkit.config import ChainOptions
from densnet_rdkit.embedding import geometries, molecule


class ChainSampler(MoleculeSampler):
    """Chains of every length asked for, each head to tail, ends closed with hydrogen.

    >>> ChainSampler(ChainOptions(unit="*c1ccc(*)s1", units=[1, 2, 3])).build(0, 1)

    Parameters
    ----------
    options : ChainOptions
    """

    options: ChainOptions

    def __init__(self, options: ChainOptions | None = None) -> None:
        if options is None:
            raise InputError("The sampler 'chains' needs the SMILES of a unit; none was given.")
        super().__init__(options)

    def build(self, charge: int, multiplicity: int, context: SamplingContext | None = None) -> list[Structure]:
        """The chains in the order of ``units``, of each at most ``conformers`` geometries."""
        options, context = self.options, context or SamplingContext()
        made: list[Structure] = []
        advance = context.task("chains", len(options.units))
        for done, length in enumerate(options.units, start=1):
            joined = chain(options.unit, length)
            made += geometries(joined, options.conformers, charge, multiplicity, options, context)
            advance(done, f"of {length} units")
        return made


def chain(unit: str, length: int) -> Chem.Mol:
    """The molecule of ``length`` units, the second open end of each bonded to the first of the next.

    Raises
    ------
    InputError
        If the unit has not exactly two open ends with single bonds.
    """
    template = molecule(unit)
    ends = [atom.GetIdx() for atom in template.GetAtoms() if atom.GetAtomicNum() == 0]
    bonds = [bond for end in ends for bond in template.GetAtomWithIdx(end).GetBonds()]
    if (
        len(ends) != 2
        or len({bond.GetIdx() for bond in bonds}) != 2
        or any(bond.GetBondType() != Chem.BondType.SINGLE for bond in bonds)
    ):
        raise InputError(
            f"The unit {unit!r} must have two open ends, written *, each with one single bond to an atom, as in "
            f"'*c1ccc(*)s1'; found {len(ends)} of them."
        )
    pieces = Chem.MolFromSmiles(f"[H][*:1].[H][*:{length + 1}]", _with_hydrogens())
    for number in range(1, length + 1):
        copy = Chem.Mol(template)
        for end, label in zip(ends, (number, number + 1), strict=True):
            copy.GetAtomWithIdx(end).SetAtomMapNum(label)
        pieces = Chem.CombineMols(pieces, copy)
    # Open ends with the same label are replaced by a bond; stereochemistry at the ends is kept.
    joined = Chem.RemoveHs(Chem.molzip(pieces))
    Chem.AssignStereochemistry(joined, cleanIt=True, force=True)  # a centre closed with hydrogen may be none any more
    return joined


def _with_hydrogens() -> Chem.SmilesParserParams:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    return parameters
