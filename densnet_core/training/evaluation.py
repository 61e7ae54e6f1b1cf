"""Errors of a trained model on labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.electron import DensityErrors, ExpandedDensity, OrbitalDensity, density_errors
from densnet_core.errors import InputError
from densnet_core.units import AU_TO_DEBYE, EV_PER_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]


class ErrorSummary:
    """Collects the errors of frame after frame and sums them up.

    Density errors are means over frames; those of energies, forces and dipoles are mean absolute errors over frames
    and Cartesian components (dipoles: over the length of the error vector).
    """

    def __init__(self) -> None:
        self.density: list[DensityErrors] = []
        self.electrons: list[float] = []
        self.dipole: list[float] = []
        self.energy: list[float] = []
        self.forces: list[Array] = []
        self.n_atoms: list[int] = []

    def add(
        self,
        reference: OrbitalDensity,
        fit: ExpandedDensity,
        model: ExpandedDensity,
        energy_error: float,
        force_errors: Array,
        dipole: Array,
    ) -> None:
        """Add a frame: the three densities, the energy error (hartree), force errors (n_atoms, 3), true dipole (3,)."""
        structure = reference.structure
        self.density.append(density_errors(reference, fit, model))
        self.electrons.append(abs(model.electron_count() - structure.n_electrons))
        self.dipole.append(float(np.linalg.norm(model.dipole() - dipole)))
        self.energy.append(energy_error)
        self.forces.append(np.asarray(force_errors))
        self.n_atoms.append(structure.n_atoms)

    def to_dict(self) -> dict[str, Any]:
        """The record that ``densnet evaluate --json`` prints; keys name their units."""
        if not self.density:
            raise InputError("There is no frame to evaluate.")
        forces = np.concatenate([f.reshape(-1) for f in self.forces])
        energy, atoms = np.array(self.energy), np.array(self.n_atoms)
        milli = 1e3 * HARTREE_TO_EV
        return {
            "frames": len(self.density),
            "density": {
                "nmae_fit_floor_percent": _mean([e.fit_floor for e in self.density]),
                "nmae_model_vs_fit_percent": _mean([e.model_vs_fit for e in self.density]),
                "nmae_model_vs_reference_percent": _mean([e.model_vs_reference for e in self.density]),
                "electron_count_max_error": float(max(self.electrons)),
            },
            "dipole": {"mae_debye": _mean(self.dipole) * AU_TO_DEBYE},
            "energy": {
                "mae_mev": float(np.abs(energy).mean()) * milli,
                "mae_mev_per_atom": float((np.abs(energy) / atoms).mean()) * milli,
                "mean_error_mev": float(energy.mean()) * milli,
            },
            "forces": {
                "mae_mev_per_angstrom": float(np.abs(forces).mean()) * 1e3 * EV_PER_ANGSTROM,
                "rmse_mev_per_angstrom": float(np.sqrt((forces**2).mean())) * 1e3 * EV_PER_ANGSTROM,
            },
        }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
