"""The deployable TorchScript file of a potential: it needs torch alone and works in any OpenMM script."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from densnet_core import __version__
from densnet_core.errors import DataError, InputError
from densnet_core.potentials.trace import flatten
from densnet_core.potentials.whole import BondTree
from densnet_core.structures import Array, Structure
from densnet_core.units import BOHR_TO_NANOMETER, HARTREE_TO_KJ_PER_MOL, KJ_PER_MOL_NANOMETER

METADATA_FILE: Final = "densnet.json"
FORMAT: Final = "densnet-torchscript-2"
EnergyAndForces = Callable[[Tensor], tuple[Tensor, Tensor]]


class _MolecularUnits(nn.Module):
    """Nanometer in, kJ/mol and kJ/(mol nm) out, around a function in atomic units."""

    def __init__(self, atomic: nn.Module, n_replicas: int, n_atoms: int) -> None:
        super().__init__()
        self.atomic = atomic
        self.shape = (n_replicas, n_atoms, 3)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        # Detached, because openmm-torch may hand over positions that require a gradient.
        energies, forces = self.atomic((positions.detach() * (1.0 / BOHR_TO_NANOMETER)).view(self.shape))
        return energies.sum() * HARTREE_TO_KJ_PER_MOL, forces.view(-1, 3) * KJ_PER_MOL_NANOMETER


class _File(nn.Module):
    """What the file holds: chooses the atoms of the model, puts them together in a box, calls the traced module.

    Without autograd's bookkeeping: openmm-torch hands over positions that require a gradient, and TorchScript then runs
    another, slower graph even though the first operation detaches them: 4.1 instead of 2.6 ms for four water molecules.
    """

    def __init__(self, traced: nn.Module, shape: tuple[int, int], atoms: Sequence[int] | None, tree: BondTree) -> None:
        super().__init__()
        self.traced = traced
        self.n_replicas, self.n_atoms = shape
        self.subset, self.connected = atoms is not None, tree.n_molecules == 1
        own = range(shape[0] * shape[1]) if atoms is None else atoms
        self.last = max(own)
        self.atoms: Tensor
        self.parents: Tensor
        self.paths: Tensor
        self.register_buffer("atoms", torch.tensor(list(own), dtype=torch.int64))
        self.register_buffer("parents", torch.tensor(tree.parents, dtype=torch.int64))
        self.register_buffer("paths", torch.tensor(tree.paths)[None, :, :, None])

    def forward(self, positions: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.subset and positions.shape[0] <= self.last:
            raise ValueError("The DenSNet file is for particles that this System does not have: see its atoms.")
        if not self.subset and positions.shape[0] != self.n_replicas * self.n_atoms:
            raise ValueError("The System has other particles than the DenSNet file: export it with atoms for a subset.")
        with torch.no_grad():
            own = positions.index_select(0, self.atoms) if self.subset else positions
            if box is not None:
                own = self.whole(own, box.to(positions.dtype))
            energy, found = self.traced(own)
            if self.subset:
                found = torch.zeros_like(positions, dtype=found.dtype).index_add(0, self.atoms, found)
        return energy, found

    def whole(self, positions: Tensor, box: Tensor) -> Tensor:
        """As ``BondTree.whole``. Products are sums here: see ``trace._PRODUCTS`` for what freezing makes of others."""
        if not self.connected:
            raise ValueError("The DenSNet file holds several molecules and cannot tell which images belong together.")
        molecules = positions.view(self.n_replicas, self.n_atoms, 3)
        steps = molecules - molecules.index_select(1, self.parents)
        turns = torch.round((steps.unsqueeze(3) * torch.linalg.inv(box)).sum(2))
        shifts = (self.paths * turns.unsqueeze(1)).sum(2)
        return (molecules - (shifts.unsqueeze(3) * box).sum(2)).view(-1, 3)


def export_torchscript(
    function: EnergyAndForces,
    n_replicas: int,
    n_atoms: int,
    path: str | Path,
    metadata: Mapping[str, Any],
    example: Array | None = None,
    atoms: Sequence[int] | None = None,
    tree: BondTree | None = None,
) -> None:
    """Write the file that ``BoundPotential.save_torchscript`` promises.

    The first two calls of a loaded file are slow (0.2 s in all at 800 operators), because TorchScript's profiling
    executor compiles in them; no other warm-up is needed.

    Parameters
    ----------
    function : callable
        (n_replicas, n_atoms, 3) float64 positions in bohr to energies (n_replicas,) in hartree and forces
        (n_replicas, n_atoms, 3) in hartree/bohr, both float64; may call ``torch.autograd.grad``. A neighbour list or
        branch that depends on positions would be frozen as it is at the example, and is refused.
    n_replicas, n_atoms : int
        Fixed for the file.
    path : path
        Written completely or not at all.
    metadata : mapping
        JSON data kept in the file as ``densnet.json``; see ``replica_metadata``. Format, units, shapes and versions
        are added.
    example : (n_atoms, 3), optional
        Positions in bohr to trace at; by default points on a grid of 2 bohr.
    atoms : (n_replicas * n_atoms,), optional
        Indices of the model's atoms among the particles of a System; others get no force. None: there are no others.
    tree : BondTree, optional
        Bonds of the n_atoms, along which they are put together where the System has a periodic box. Atoms that it does
        not connect are refused there, when they are called; None connects none.

    Raises
    ------
    InputError
        If the function gives wrong shapes or types, values that are not finite, or depends on its input in a way
        that a trace cannot hold.
    """
    if atoms is not None:
        _check_atoms(atoms, n_replicas * n_atoms)
    positions, elsewhere = _two_geometries(n_replicas, n_atoms, example)
    _check_result(function(positions), n_replicas, n_atoms)
    wrapped = _MolecularUnits(flatten(function, positions), n_replicas, n_atoms).eval()
    argument = (positions * BOHR_TO_NANOMETER).reshape(-1, 3)
    with torch.no_grad():
        traced = torch.jit.trace(wrapped, (argument,), check_trace=False)  # type: ignore[no-untyped-call]
        tree = tree or BondTree.of(n_atoms, ())
        script = torch.jit.script(_File(traced, (n_replicas, n_atoms), atoms, tree).eval())
        _compare(script, function, elsewhere, atoms)
    # Not frozen here: openmm-torch freezes it itself, and frozen constants would not follow the module to a GPU.
    known = {**metadata, "atoms": None if atoms is None else [int(atom) for atom in atoms]}
    extra = {METADATA_FILE: json.dumps(_complete(known, n_replicas, n_atoms), indent=1)}
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        torch.jit.save(script, str(partial), _extra_files=extra)  # type: ignore[no-untyped-call]
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def replica_metadata(structures: Sequence[Structure]) -> dict[str, Any]:
    """What an OpenMM script needs to know of replicas of a molecule.

    Formula, numbers, charge, multiplicity and fragments (none if the molecule is one) are those of one replica.
    ``masses_dalton`` and ``positions_nanometer`` are those of every particle: replicas may be of different isotopes.
    """
    first = structures[0]
    return {
        "formula": first.formula,
        "numbers": first.numbers.tolist(),
        "charge": first.charge,
        "multiplicity": first.multiplicity,
        "fragments": [asdict(fragment) for fragment in first.fragments],
        "masses_dalton": np.concatenate([structure.masses for structure in structures]).tolist(),
        "positions_nanometer": (
            np.concatenate([structure.positions for structure in structures]) * BOHR_TO_NANOMETER
        ).tolist(),
    }


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The ``densnet.json`` of an exported file; ``DataError`` if it is not one."""
    extra = {METADATA_FILE: ""}
    try:
        torch.jit.load(str(path), _extra_files=extra)  # type: ignore[no-untyped-call]
        metadata = json.loads(extra[METADATA_FILE])
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path} is not a TorchScript file that DenSNet has exported: {error}") from error
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} has the format {metadata.get('format')!r}; this version reads {FORMAT!r}.")
    return dict(metadata)


def _complete(metadata: Mapping[str, Any], n_replicas: int, n_atoms: int) -> dict[str, Any]:
    return {
        **metadata,
        "format": FORMAT,
        "n_replicas": n_replicas,
        "n_atoms": n_atoms,
        "units": {"positions": "nanometer", "energy": "kJ/mol", "forces": "kJ/(mol nm)"},
        "versions": {"densnet-core": __version__, "torch": torch.__version__},
    }


def _two_geometries(n_replicas: int, n_atoms: int, example: Array | None) -> tuple[Tensor, Tensor]:
    """Geometries to trace at and to compare at, (n_replicas, n_atoms, 3) float64; no two replicas are equal."""
    if n_replicas < 1 or n_atoms < 1:
        raise InputError(f"There must be at least one replica and one atom, not {n_replicas} and {n_atoms}.")
    if example is None:
        edge = int(np.ceil(n_atoms ** (1.0 / 3.0)))
        corners = np.stack(np.unravel_index(np.arange(n_atoms), (edge, edge, edge)), axis=1)
        example = 2.0 * corners.astype(np.float64)
    base = np.asarray(example, dtype=np.float64)
    if base.shape != (n_atoms, 3):
        raise InputError(f"The example must have shape ({n_atoms}, 3), not {base.shape}.")
    noise = np.random.default_rng(0).normal(scale=0.05, size=(2, n_replicas, n_atoms, 3))
    first, second = torch.from_numpy(base + noise)
    return first, second


def _check_result(result: tuple[Tensor, Tensor], n_replicas: int, n_atoms: int) -> None:
    for name, value, shape in zip(
        ("energies", "forces"), result, ((n_replicas,), (n_replicas, n_atoms, 3)), strict=True
    ):
        if tuple(value.shape) != shape or value.dtype != torch.float64:
            raise InputError(f"{name} must be float64 of shape {shape}, not {value.dtype} of {tuple(value.shape)}.")
        if not torch.isfinite(value).all():
            raise InputError(f"The {name} at the example geometry are not finite; give another example.")


def _check_atoms(atoms: Sequence[int], wanted: int) -> None:
    if len(set(atoms)) != wanted or len(atoms) != wanted or min(atoms) < 0:
        raise InputError(
            f"atoms must be {wanted} different indices of particles, one for each atom of every replica; found "
            f"{list(atoms)}."
        )


def _compare(script: Any, function: EnergyAndForces, positions: Tensor, atoms: Sequence[int] | None) -> None:
    """Refuse a trace that differs from its function at a geometry it has not seen."""
    with torch.enable_grad():  # type: ignore[no-untyped-call]
        energies, forces = (value.detach() for value in function(positions))
    reason = "depends on positions through control flow or a neighbour list, which a TorchScript trace cannot hold"
    try:
        own = (positions * BOHR_TO_NANOMETER).reshape(-1, 3)
        places = list(range(len(own)) if atoms is None else atoms)
        particles = own.new_zeros((max(places) + 1, 3))
        particles[places] = own
        energy, found = script(particles)
        found = found[places]
    except RuntimeError as error:
        raise InputError(f"The exported graph fails at another geometry; the potential {reason}: {error}") from error
    energy_error = _relative_error(energy, energies.sum() * HARTREE_TO_KJ_PER_MOL)
    force_error = _relative_error(found, forces.reshape(-1, 3) * KJ_PER_MOL_NANOMETER)
    # Networks may compute in float32; anything structural is wrong by far more than this.
    if not (energy_error < 1e-5 and force_error < 1e-4):
        raise InputError(
            f"At another geometry the exported graph differs from the potential (energy by {energy_error:.1e}, forces "
            f"by {force_error:.1e}, relative); the potential {reason}."
        )


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / (1.0 + expected.abs().max()))
