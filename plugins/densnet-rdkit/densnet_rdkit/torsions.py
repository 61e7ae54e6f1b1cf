"""Torsion scans about the bonds that RDKit finds rotatable."""

from __future__ import annotations

from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.torsions import Bond, scan
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_rdkit.config import RotatableBondOptions

# A single bond outside of rings between atoms with further neighbours, neither of them part of a triple bond (a linear
# group does not turn anything).
_ROTATABLE = Chem.MolFromSmarts("[!$(*#*)&!D1]-;!@[!$(*#*)&!D1]")


class RotatableBondSampler(Sampler):
    """All combinations of equally spaced rotations about the rotatable bonds of a geometry.

    Parameters
    ----------
    options : RotatableBondOptions or None
    """

    options: RotatableBondOptions

    def __init__(self, options: RotatableBondOptions | None = None) -> None:
        super().__init__(options or RotatableBondOptions())
        self.random = self.options.count is not None

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """The scan, beginning with the geometry as it is.

        Raises
        ------
        InputError
            If no bond is rotatable, or bond orders cannot be told from the geometry.
        """
        bonds = rotatable_bonds(structure, hydrogens=self.options.hydrogens)
        if not bonds:
            more = "" if self.options.hydrogens else " Set hydrogens = true for methyl, hydroxyl and the like."
            raise InputError(f"RDKit finds no rotatable bond in {structure.formula}.{more}")
        return scan(structure, bonds, self.options, context or SamplingContext())


def rotatable_bonds(structure: Structure, *, hydrogens: bool = False) -> list[Bond]:
    """Rotatable bonds as pairs of atoms, counted from 0, ascending.

    Bonds and their orders are told from the geometry (xyz2mol; Y. Kim and W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769
    (2015)).

    Parameters
    ----------
    hydrogens : bool
        Also bonds that turn hydrogens only.
    """
    lines = [
        f"{symbol(int(z))} {x:.8f} {y:.8f} {w:.8f}"
        for z, (x, y, w) in zip(structure.numbers, structure.positions * BOHR_TO_ANGSTROM, strict=True)
    ]
    with rdBase.BlockLogs():
        found = Chem.MolFromXYZBlock("\n".join([str(len(lines)), "", *lines]) + "\n")
        try:
            rdDetermineBonds.DetermineBonds(found, charge=structure.charge)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"RDKit cannot tell the bonds of {structure.formula} from its geometry ({error}). Use the sampler "
                "'torsion-scan' and name the bonds."
            ) from error
    pairs = {(min(i, j), max(i, j)) for i, j in found.GetSubstructMatches(_ROTATABLE)}
    if not hydrogens:
        pairs = {pair for pair in pairs if all(_has_heavy_branch(found, *ends) for ends in (pair, pair[::-1]))}
    return sorted(pairs)


def _has_heavy_branch(found: Chem.Mol, atom: int, other: int) -> bool:
    """True if ``atom`` has a neighbour besides ``other`` that is no hydrogen."""
    neighbours = found.GetAtomWithIdx(atom).GetNeighbors()
    return any(n.GetAtomicNum() > 1 and n.GetIdx() != other for n in neighbours)
