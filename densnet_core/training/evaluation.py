"""Errors of a trained model on labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.density.electron import DensityErrors, ExpandedDensity, OrbitalDensity, density_errors
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """What a model says of a frame against its reference; None where the reference has nothing.

    Parameters
    ----------
    structure : Structure
    electrons : float
        By how much the predicted number of electrons is off.
    density : DensityErrors or None
    dipole : float or None
        Length of the error vector, e bohr.
    energy, forces, polarizability : pair or None
        Of model and reference, hartree; (n_atoms, 3) hartree/bohr; (3, 3) bohr^3.
    """

    structure: Structure
    electrons: float
    density: DensityErrors | None = None
    dipole: float | None = None
    energy: tuple[float, float] | None = None
    forces: tuple[Array, Array] | None = None
    polarizability: tuple[Array, Array] | None = None

    @property
    def name(self) -> str:
        """Content hash, hexadecimal."""
        return self.structure.content_hash().hex()


def frame_errors(
    structure: Structure,
    model: ExpandedDensity,
    density: tuple[OrbitalDensity, ExpandedDensity] | None = None,
    energy: tuple[float, float] | None = None,
    forces: tuple[Array, Array] | None = None,
    dipole: Array | None = None,
    polarizability: tuple[Array, Array] | None = None,
) -> FrameErrors:
    """Errors of a frame in what its reference has.

    Parameters
    ----------
    model : ExpandedDensity
        The density that the model predicts.
    density : pair or None
        That of the reference and its fit.
    energy, forces, polarizability : pair or None
        See ``FrameErrors``.
    dipole : (3,) or None
        Of the reference, e bohr.
    """
    return FrameErrors(
        structure,
        abs(model.electron_count() - structure.n_electrons),
        None if density is None else density_errors(*density, model),
        None if dipole is None else float(np.linalg.norm(model.dipole() - dipole)),
        energy,
        None if forces is None else (np.asarray(forces[0]), np.asarray(forces[1])),
        polarizability,
    )


class ErrorSummary:
    """Collects the errors of frame after frame, each of what its reference has, and sums them up.

    Density errors are means over frames; those of energies, forces, dipoles and polarizabilities are mean absolute
    errors and root mean squares over frames and Cartesian components (dipoles: over the length of the error vector).
    """

    def __init__(self) -> None:
        self.frames: list[FrameErrors] = []

    def add(self, frame: FrameErrors) -> None:
        """Let a frame count."""
        self.frames.append(frame)

    def to_dict(self) -> dict[str, Any]:
        """The record that ``densnet evaluate --json`` prints; keys name their units.

        "worst" names the frames with the largest errors by their content hash. A quantity that no frame has is left
        out; "frames" of a quantity says how many have it.
        """
        if not self.frames:
            raise InputError("There is no frame to evaluate.")
        parts = (
            ("density", _density_record),
            ("dipole", _dipole_record),
            ("polarizability", _polarizability_record),
            ("energy", _energy_record),
            ("forces", _forces_record),
        )
        record: dict[str, Any] = {"frames": len(self.frames)}
        for name, make in parts:
            if held := [frame for frame in self.frames if getattr(frame, name) is not None]:
                record[name] = {"frames": len(held), **make(held)}
        return record

    def draw_parity(self, path: Path) -> None:
        """Energies per atom and force components, model against reference; a PNG.

        Energies are about the mean reference of their molecules of the same formula and charge. Nothing is drawn if no
        frame has energy or forces.
        """
        panels = []
        if any(frame.energy is not None for frame in self.frames):
            panels.append(("energy, eV per atom", self._energies_about_means()))
        if forces := [frame.forces for frame in self.frames if frame.forces is not None]:
            pairs = np.concatenate([np.stack(pair).reshape(2, -1) for pair in forces], axis=1)
            panels.append(("force components, eV/\u00c5", pairs * EV_PER_ANGSTROM))
        if not panels:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        for index, (title, (found, wanted)) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), index + 1)
            ends = [min(found.min(), wanted.min()), max(found.max(), wanted.max())]
            axes.plot(ends, ends, color="0.6", linewidth=1.0)
            axes.plot(wanted, found, ".", color="C0", markersize=3.0)
            axes.set_xlabel("reference")
            axes.set_ylabel("model")
            axes.set_title(title, fontsize=10)
        figure.savefig(path, dpi=120)

    def _energies_about_means(self) -> Array:
        """(2, n_frames) energies of model and reference, eV per atom."""
        groups: dict[tuple[str, int], list[int]] = {}
        pairs: list[tuple[float, float]] = []
        for frame in self.frames:
            if frame.energy is not None:
                structure = frame.structure
                groups.setdefault((structure.formula, structure.charge), []).append(len(pairs))
                pairs.append((frame.energy[0] / structure.n_atoms, frame.energy[1] / structure.n_atoms))
        energies = np.array(pairs).T * HARTREE_TO_EV
        for places in groups.values():
            energies[:, places] -= energies[1, places].mean()
        return energies


def _density_record(frames: Sequence[FrameErrors]) -> dict[str, Any]:
    held = [frame.density for frame in frames if frame.density is not None]
    of_reference = [errors.model_vs_reference for errors in held]
    worst = int(np.argmax(of_reference))
    return {
        "nmae_fit_floor_percent": _mean([errors.fit_floor for errors in held]),
        "nmae_model_vs_fit_percent": _mean([errors.model_vs_fit for errors in held]),
        "nmae_model_vs_reference_percent": _mean(of_reference),
        "electron_count_max_error": float(max(frame.electrons for frame in frames)),
        "worst": {"frame": frames[worst].name, "nmae_percent": float(of_reference[worst])},
    }


def _dipole_record(frames: Sequence[FrameErrors]) -> dict[str, Any]:
    errors = np.array([frame.dipole for frame in frames]) * AU_TO_DEBYE
    worst = int(np.argmax(errors))
    return {
        "mae_debye": float(errors.mean()),
        "rmse_debye": _rms(errors),
        "worst": {"frame": frames[worst].name, "debye": float(errors[worst])},
    }


def _polarizability_record(frames: Sequence[FrameErrors]) -> dict[str, Any]:
    pairs = [frame.polarizability for frame in frames if frame.polarizability is not None]
    errors = np.array([found - wanted for found, wanted in pairs]) * BOHR_TO_ANGSTROM**3
    of_frames = [_rms(error) for error in errors]
    worst = int(np.argmax(of_frames))
    return {
        "mae_angstrom3": float(np.abs(errors).mean()),
        "rmse_angstrom3": _rms(errors),
        "worst": {"frame": frames[worst].name, "rmse_angstrom3": of_frames[worst]},
    }


def _energy_record(frames: Sequence[FrameErrors]) -> dict[str, Any]:
    pairs = np.array([frame.energy for frame in frames]) * 1e3 * HARTREE_TO_EV
    errors = pairs[:, 0] - pairs[:, 1]
    atoms = np.array([frame.structure.n_atoms for frame in frames])
    worst = int(np.argmax(np.abs(errors)))
    return {
        "mae_mev": float(np.abs(errors).mean()),
        "rmse_mev": _rms(errors),
        "mae_mev_per_atom": float((np.abs(errors) / atoms).mean()),
        "mean_error_mev": float(errors.mean()),
        "worst": {"frame": frames[worst].name, "error_mev": float(errors[worst])},
    }


def _forces_record(frames: Sequence[FrameErrors]) -> dict[str, Any]:
    pairs = [frame.forces for frame in frames if frame.forces is not None]
    errors = [(found - wanted) * 1e3 * EV_PER_ANGSTROM for found, wanted in pairs]
    components = np.concatenate([error.reshape(-1) for error in errors])
    of_frames = [_rms(error) for error in errors]
    worst = int(np.argmax(of_frames))
    return {
        "mae_mev_per_angstrom": float(np.abs(components).mean()),
        "rmse_mev_per_angstrom": _rms(components),
        "worst": {"frame": frames[worst].name, "rmse_mev_per_angstrom": of_frames[worst]},
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _rms(errors: Array) -> float:
    return float(np.sqrt((errors**2).mean()))
