"""From an RDKit molecule to relaxed geometries."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem

from densnet_core.elements import nuclide
from densnet_core.errors import ConvergenceError, InputError
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.checks import BONDED, Defect, defect, relative_distances
from densnet_core.sampling.distinct import on_hash_grid
from densnet_core.sampling.select import without_near_duplicates
from densnet_core.structures import Structure, masses_of
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_rdkit.config import ChainOptions, ConformerOptions

MAX_FORCE_FIELD_STEPS = 10_000


def molecule(smiles: str) -> Chem.Mol:
    """A molecule without explicit hydrogens.

    Raises
    ------
    InputError
        If RDKit cannot read the SMILES; the message has its reason.
    """
    with rdBase.BlockLogs():  # the reason goes into the error, not to the terminal
        raw = Chem.MolFromSmiles(smiles, sanitize=False)
        problems = [] if raw is None else [problem.Message() for problem in Chem.DetectChemistryProblems(raw)]
        found = Chem.MolFromSmiles(smiles)
    if found is None or found.GetNumAtoms() == 0:
        reason = f": {problems[0]}" if problems else " (an unknown atom, or a ring or bracket that is not closed?)"
        raise InputError(f"RDKit does not understand the SMILES {smiles!r}{reason}.")
    return found


def geometries(
    found: Chem.Mol,
    count: int,
    charge: int,
    multiplicity: int,
    options: ConformerOptions | ChainOptions,
    context: SamplingContext,
) -> list[Structure]:
    """At most ``count`` different relaxed geometries, the first embedding first.

    Embedding by distance geometry with torsion preferences (ETKDG version 3; S. Wang et al., J. Chem. Inf. Model. 60,
    2044 (2020)). Stereocentres that the SMILES leaves open come out either way.

    Raises
    ------
    InputError
        If the molecule has another charge, is several molecules, or cannot be embedded.
    """
    smiles = Chem.MolToSmiles(found)
    if any(atom.GetAtomicNum() == 0 for atom in found.GetAtoms()):
        raise InputError(
            f"{smiles} has an open end, written *; a molecule has none. Write the atom that belongs there."
        )
    if (formal := Chem.GetFormalCharge(found)) != charge:
        raise InputError(f"{smiles} has charge {formal:+d}, [system] says {charge:+d}; they have to agree.")
    if (parts := len(Chem.GetMolFrags(found))) > 1:
        raise InputError(f"{smiles} is {parts} molecules; only one molecule can be made from SMILES.")
    hydrogenated = Chem.AddHs(found)
    parameters = AllChem.ETKDGv3()
    # RDKit multiplies the seed by the number of the conformer: 0 would embed the same one again and again, and small
    # seeds would share theirs.
    parameters.randomSeed = int(np.random.default_rng(options.seed).integers(1, 2**20))
    parameters.numThreads = 1
    embedded = list(AllChem.EmbedMultipleConfs(hydrogenated, count, parameters))
    if not embedded:  # long chains may need a random start
        parameters.useRandomCoords = True
        embedded = list(AllChem.EmbedMultipleConfs(hydrogenated, count, parameters))
    if not embedded:
        raise InputError(f"RDKit finds no geometry for {smiles}. Check its stereochemistry, or give a geometry.")
    _relax_by_force_field(hydrogenated, smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in hydrogenated.GetAtoms()])
    masses = masses_of([(atom.GetAtomicNum(), _isotope_mass(atom)) for atom in hydrogenated.GetAtoms()])
    taken = []
    for identifier in embedded:
        positions = hydrogenated.GetConformer(identifier).GetPositions() / BOHR_TO_ANGSTROM
        embedded_one = Structure(numbers, positions, charge, multiplicity, masses)
        geometry, fault = _finished(embedded_one, hydrogenated, options.relax)
        if fault is None:
            taken.append(on_hash_grid(geometry))
        else:
            context.refused.add(fault)
    if not taken:
        raise InputError(f"No geometry of {smiles} is intact: {context.refused.example}.")
    return without_near_duplicates(taken, options.min_difference)


def _isotope_mass(atom: Chem.Atom) -> float | None:
    """Mass in dalton of an atom whose isotope the SMILES names; the core's for deuterium and tritium."""
    if not (isotope := atom.GetIsotope()):
        return None
    name = f"{isotope}{atom.GetSymbol()}"
    return nuclide(name)[1] if name in ("2H", "3H") else float(atom.GetMass())


def _relax_by_force_field(hydrogenated: Chem.Mol, smiles: str) -> None:
    if hydrogenated.GetNumAtoms() == 1:
        return
    if AllChem.MMFFHasAllMoleculeParams(hydrogenated):
        AllChem.MMFFOptimizeMoleculeConfs(hydrogenated, numThreads=1, maxIters=MAX_FORCE_FIELD_STEPS)
    elif AllChem.UFFHasAllMoleculeParams(hydrogenated):
        AllChem.UFFOptimizeMoleculeConfs(hydrogenated, numThreads=1, maxIters=MAX_FORCE_FIELD_STEPS)
    else:
        raise InputError(f"Neither MMFF94 nor UFF has parameters for {smiles}. Give a geometry instead of SMILES.")


def _finished(structure: Structure, hydrogenated: Chem.Mol, relax: str) -> tuple[Structure, Defect | None]:
    if relax == "gfn2-xtb":
        try:
            from densnet_xtb.method import GFN2
        except ImportError as error:
            raise InputError('relax = "gfn2-xtb" needs GFN2-xTB: pip install densnet-xtb') from error
        try:
            structure = GFN2().relaxed(structure)
        except ConvergenceError as error:
            return structure, Defect("not relaxed", str(error))
    fault = defect(structure, structure)
    return structure, fault or _lost_bond(structure, hydrogenated)


def _lost_bond(structure: Structure, hydrogenated: Chem.Mol) -> Defect | None:
    """A bond of the molecular graph that the geometry does not have."""
    relative = relative_distances(structure)
    for bond in hydrogenated.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if relative[i, j] > BONDED:
            names = "-".join(f"{bond.GetOwningMol().GetAtomWithIdx(k).GetSymbol()}{k + 1}" for k in (i, j))
            return Defect("bond lost", f"{names} at {relative[i, j]:.2f} times the sum of the covalent radii")
    return None
