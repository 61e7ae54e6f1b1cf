"""Errors of a trained model on labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.electron import DensityErrors, ExpandedDensity, OrbitalDensity, density_errors
from densnet_core.errors import InputError
from densnet_core.units import AU_TO_DEBYE, EV_PER_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]


class ErrorSummary:
    """Collects the errors of frame after frame and sums them up.

    Density errors are means over frames; those of energies, forces and dipoles are mean absolute errors and root mean
    squares over frames and Cartesian components (dipoles: over the length of the error vector).
    """

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.density: list[DensityErrors] = []
        self.electrons: list[float] = []
        self.dipole: list[float] = []
        self.energy: list[tuple[float, float]] = []
        self.forces: list[tuple[Array, Array]] = []
        self.n_atoms: list[int] = []

    def add(
        self,
        reference: OrbitalDensity,
        fit: ExpandedDensity,
        model: ExpandedDensity,
        energy: tuple[float, float],
        forces: tuple[Array, Array],
        dipole: Array,
    ) -> None:
        """Add a frame: the three densities, the true dipole (3,); of model and reference each, energy and forces.

        Energies in hartree, forces (n_atoms, 3) in hartree/bohr.
        """
        structure = reference.structure
        self.frames.append(structure.content_hash().hex())
        self.density.append(density_errors(reference, fit, model))
        self.electrons.append(abs(model.electron_count() - structure.n_electrons))
        self.dipole.append(float(np.linalg.norm(model.dipole() - dipole)))
        self.energy.append(energy)
        self.forces.append((np.asarray(forces[0]), np.asarray(forces[1])))
        self.n_atoms.append(structure.n_atoms)

    def to_dict(self) -> dict[str, Any]:
        """The record that ``densnet evaluate --json`` prints; keys name their units.

        "worst" names the frames with the largest errors by their content hash.
        """
        if not self.density:
            raise InputError("There is no frame to evaluate.")
        errors = [found - wanted for found, wanted in self.forces]
        forces = np.concatenate([error.reshape(-1) for error in errors])
        energy, atoms = np.array([found - wanted for found, wanted in self.energy]), np.array(self.n_atoms)
        milli, force_unit = 1e3 * HARTREE_TO_EV, 1e3 * EV_PER_ANGSTROM
        of_reference = [e.model_vs_reference for e in self.density]
        rms = np.array([_rms(error) for error in errors])
        return {
            "frames": len(self.density),
            "density": {
                "nmae_fit_floor_percent": _mean([e.fit_floor for e in self.density]),
                "nmae_model_vs_fit_percent": _mean([e.model_vs_fit for e in self.density]),
                "nmae_model_vs_reference_percent": _mean(of_reference),
                "electron_count_max_error": float(max(self.electrons)),
                "worst": {"frame": self.frames[int(np.argmax(of_reference))], "nmae_percent": float(max(of_reference))},
            },
            "dipole": {
                "mae_debye": _mean(self.dipole) * AU_TO_DEBYE,
                "rmse_debye": _rms(np.array(self.dipole)) * AU_TO_DEBYE,
                "worst": {"frame": self.frames[int(np.argmax(self.dipole))], "debye": max(self.dipole) * AU_TO_DEBYE},
            },
            "energy": {
                "mae_mev": float(np.abs(energy).mean()) * milli,
                "rmse_mev": _rms(energy) * milli,
                "mae_mev_per_atom": float((np.abs(energy) / atoms).mean()) * milli,
                "mean_error_mev": float(energy.mean()) * milli,
                "worst": {
                    "frame": self.frames[int(np.argmax(np.abs(energy)))],
                    "error_mev": float(energy[int(np.argmax(np.abs(energy)))]) * milli,
                },
            },
            "forces": {
                "mae_mev_per_angstrom": float(np.abs(forces).mean()) * force_unit,
                "rmse_mev_per_angstrom": _rms(forces) * force_unit,
                "worst": {
                    "frame": self.frames[int(np.argmax(rms))],
                    "rmse_mev_per_angstrom": float(rms.max()) * force_unit,
                },
            },
        }

    def draw_parity(self, path: Path) -> None:
        """Energies per atom (about the mean of the reference) and force components, model against reference; a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        energies = np.array(self.energy) / np.array(self.n_atoms)[:, None] * HARTREE_TO_EV
        forces = np.array([np.concatenate([pair[side].reshape(-1) for pair in self.forces]) for side in (0, 1)])
        panels = (
            ("energy, eV per atom", energies.T - energies[:, 1].mean()),
            ("force components, eV/\u00c5", forces * EV_PER_ANGSTROM),
        )
        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        for index, (title, (found, wanted)) in enumerate(panels):
            axes = figure.add_subplot(1, 2, index + 1)
            ends = [min(found.min(), wanted.min()), max(found.max(), wanted.max())]
            axes.plot(ends, ends, color="0.6", linewidth=1.0)
            axes.plot(wanted, found, ".", color="C0", markersize=3.0)
            axes.set_xlabel("reference")
            axes.set_ylabel("model")
            axes.set_title(title, fontsize=10)
        figure.savefig(path, dpi=120)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _rms(errors: Array) -> float:
    return float(np.sqrt((errors**2).mean()))
