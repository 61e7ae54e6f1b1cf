"""Harmonic reference: minimum, Hessian, normal modes, their infrared intensities and Raman activities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.md.rigid import rigid_body_vectors
from densnet_core.spectra.intensity import (
    SQUARED_DIPOLE_DERIVATIVE_TO_KM_PER_MOL,
    SQUARED_POLARIZABILITY_DERIVATIVE_TO_ANGSTROM4_PER_DALTON,
    mean_and_rest,
)
from densnet_core.spectra.optimise import Calculate, optimise
from densnet_core.spectra.windows import GAUSSIAN_FWHM
from densnet_core.structures import Structure
from densnet_core.units import DALTON_TO_ELECTRON_MASS, HARTREE_TO_WAVENUMBER

Array = NDArray[np.float64]

NO_RAMAN: Final = 1e-6
"""Angstrom^4/dalton; a mode below scatters nothing, and its depolarization ratio means nothing."""


@dataclass(frozen=True, eq=False)
class HarmonicReference:
    """Minimum, Hessian, dipole and polarizability derivatives of a molecule, atomic units.

    Parameters
    ----------
    structure : Structure
        The minimum.
    energy : float
    hessian : (3 n_atoms, 3 n_atoms)
        Second derivatives of the energy, hartree/bohr^2, symmetric.
    dipole_derivatives : (3 n_atoms, 3)
        d mu / d R, e.
    polarizability_derivatives : (3 n_atoms, 3, 3) or None
        d alpha / d R, bohr^2.
    """

    structure: Structure
    energy: float
    hessian: Array
    dipole_derivatives: Array
    polarizability_derivatives: Array | None = None

    def __post_init__(self) -> None:
        size = 3 * self.structure.n_atoms
        hessian = np.asarray(self.hessian, dtype=np.float64)
        derivatives = np.asarray(self.dipole_derivatives, dtype=np.float64)
        if hessian.shape != (size, size) or derivatives.shape != (size, 3):
            raise InputError(
                f"{self.structure.n_atoms} atoms need a Hessian of shape ({size}, {size}) and dipole derivatives of "
                f"shape ({size}, 3), not {hessian.shape} and {derivatives.shape}."
            )
        if not (np.isfinite(hessian).all() and np.isfinite(derivatives).all()):
            raise InputError("The Hessian or the dipole derivatives contain values that are not finite.")
        object.__setattr__(self, "hessian", 0.5 * (hessian + hessian.T))
        object.__setattr__(self, "dipole_derivatives", derivatives)
        if self.polarizability_derivatives is not None:
            tensors = np.asarray(self.polarizability_derivatives, dtype=np.float64)
            if tensors.shape != (size, 3, 3):
                raise InputError(
                    f"{self.structure.n_atoms} atoms need polarizability derivatives of shape ({size}, 3, 3), not "
                    f"{tensors.shape}."
                )
            if not np.isfinite(tensors).all():
                raise InputError("The polarizability derivatives contain values that are not finite.")
            object.__setattr__(self, "polarizability_derivatives", 0.5 * (tensors + tensors.swapaxes(1, 2)))


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Harmonic vibrations of a molecule, in ascending order.

    Parameters
    ----------
    structure : Structure
        Where the Hessian was taken.
    wavenumbers : (n_modes,)
        cm^-1; an imaginary frequency is given as a negative number.
    eigenvectors : (n_modes, n_atoms, 3)
        Orthonormal, mass-weighted: sqrt(m_A) delta_A of atom A.
    reduced_masses : (n_modes,)
        Dalton; 1 / sum_A |delta_A|^2 with the displacements delta of the normalised eigenvector: the convention of
        Gaussian and PySCF, which for a diatomic is not m_1 m_2 / (m_1 + m_2).
    intensities : (n_modes,)
        Integrated infrared absorption, km/mol.
    raman_activities : (n_modes,) or None
        45 a'^2 + 7 gamma'^2, angstrom^4/dalton; None where polarizabilities are not known.
    depolarization_ratios : (n_modes,) or None
        Of plane-polarised light, 3 gamma'^2 / (45 a'^2 + 4 gamma'^2); 0.75 of a mode that changes no polarizability.
    """

    structure: Structure
    wavenumbers: Array
    eigenvectors: Array
    reduced_masses: Array
    intensities: Array
    raman_activities: Array | None = None
    depolarization_ratios: Array | None = None

    @property
    def n_modes(self) -> int:
        return int(self.wavenumbers.size)

    @property
    def frequencies(self) -> Array:
        """(n_modes,) angular frequencies in atomic units, negative where imaginary."""
        return self.wavenumbers / HARTREE_TO_WAVENUMBER

    @property
    def displacements(self) -> Array:
        """(n_modes, n_atoms, 3) Cartesian displacement per unit of normal coordinate, electron mass^-1/2."""
        return np.asarray(self.eigenvectors / _root_masses(self.structure))

    def __str__(self) -> str:
        rows = [
            f"{index + 1:4d} {nu:10.1f} {intensity:10.2f} {mass:8.3f}"
            for index, (nu, intensity, mass) in enumerate(
                zip(self.wavenumbers, self.intensities, self.reduced_masses, strict=True)
            )
        ]
        return "\n".join(["mode       cm-1     km/mol  dalton", *rows])


def harmonic_reference(
    calculate: Calculate,
    structure: Structure,
    *,
    displacement: float = 0.005,
    max_force: float = 5e-5,
    max_calculations: int = 100,
) -> HarmonicReference:
    """Optimise a geometry and take Hessian and dipole derivatives at the minimum.

    Parameters
    ----------
    calculate : Calculate
        Energies, forces and dipoles of a batch of structures.
    structure : Structure
        Start of the optimisation.
    displacement : float
        Step of the central differences, bohr.
    max_force : float
        Largest force component at the minimum, hartree/bohr.
    max_calculations : int
        Most calculations the optimisation may take.

    Raises
    ------
    ConvergenceError
        If the optimisation does not converge.
    """
    minimum = optimise(calculate, structure, max_force=max_force, max_calculations=max_calculations)
    return finite_differences(calculate, minimum, displacement=displacement)


def finite_differences(calculate: Calculate, structure: Structure, *, displacement: float = 0.005) -> HarmonicReference:
    """Hessian and dipole derivatives at a geometry as it is, by central differences of forces and dipoles.

    Those of the polarizability too, where ``calculate`` gives it. The geometry and its 6 n_atoms displacements go to
    ``calculate`` as one batch.
    """
    if not 0 < displacement < 0.5:
        raise InputError(f"The displacement must be between 0 and 0.5 bohr, not {displacement}.")
    size = 3 * structure.n_atoms
    shifts = displacement * np.eye(size).reshape(size, structure.n_atoms, 3)
    batch = [structure]
    for shift in shifts:
        batch += [structure.with_positions(structure.positions + shift)]
        batch += [structure.with_positions(structure.positions - shift)]
    results = calculate(batch)
    if len(results) != len(batch):
        raise InputError(f"{len(batch)} structures were to be calculated, {len(results)} results came back.")
    forces = np.array([np.asarray(result[1]).reshape(size) for result in results[1:]])
    dipoles = np.array([result[2] for result in results[1:]])
    tensors = [result[3] for result in results[1:] if len(result) > 3 and result[3] is not None]
    of_tensors = None
    if len(tensors) == len(dipoles):
        of_tensors = (np.array(tensors[0::2]) - np.array(tensors[1::2])) / (2.0 * displacement)
    return HarmonicReference(
        structure=structure,
        energy=float(results[0][0]),
        hessian=-(forces[0::2] - forces[1::2]) / (2.0 * displacement),
        dipole_derivatives=(dipoles[0::2] - dipoles[1::2]) / (2.0 * displacement),
        polarizability_derivatives=of_tensors,
    )


def normal_modes(harmonic: HarmonicReference) -> NormalModes:
    """Vibrations with translations and rotations projected out: 3N-6 modes, 3N-5 of a linear molecule.

    Masses are the standard atomic weights. At a geometry that is no minimum the modes are those of the projected
    Hessian.
    """
    structure = harmonic.structure
    roots = np.repeat(_root_masses(structure).ravel(), 3)
    rigid = rigid_body_vectors(structure.masses, structure.positions)
    # The rows after the first len(rigid) complete the rigid motions to an orthonormal basis of all motions.
    vibrations = np.linalg.svd(rigid, full_matrices=True)[2][len(rigid) :]
    weighted = harmonic.hessian / np.outer(roots, roots)
    squares, vectors = np.linalg.eigh(vibrations @ weighted @ vibrations.T)
    eigenvectors = vectors.T @ vibrations
    cartesian = eigenvectors / roots
    derivatives = cartesian @ harmonic.dipole_derivatives
    activities, ratios = _raman(cartesian, harmonic.polarizability_derivatives)
    return NormalModes(
        structure=structure,
        wavenumbers=np.sign(squares) * np.sqrt(np.abs(squares)) * HARTREE_TO_WAVENUMBER,
        eigenvectors=eigenvectors.reshape(-1, structure.n_atoms, 3),
        reduced_masses=1.0 / (cartesian**2).sum(axis=1) / DALTON_TO_ELECTRON_MASS,
        intensities=SQUARED_DIPOLE_DERIVATIVE_TO_KM_PER_MOL * (derivatives**2).sum(axis=1),
        raman_activities=activities,
        depolarization_ratios=ratios,
    )


def _raman(cartesian: Array, derivatives: Array | None) -> tuple[Array, Array] | tuple[None, None]:
    """Raman activities and depolarization ratios of modes (n_modes, 3 n_atoms), in Placzek's approximation.

    With a' the mean of the diagonal of d alpha / d Q and gamma' its anisotropy (D. A. Long, The Raman Effect, Wiley
    2002, chapter 5).
    """
    if derivatives is None:
        return None, None
    mean, rest = mean_and_rest(np.einsum("qi,ixy->qxy", cartesian, derivatives))
    anisotropy = 1.5 * (rest**2).sum(axis=(1, 2))  # gamma'^2
    unit = SQUARED_POLARIZABILITY_DERIVATIVE_TO_ANGSTROM4_PER_DALTON
    whole = 45.0 * mean**2 + 4.0 * anisotropy
    ratios = np.where(whole * unit > NO_RAMAN, 3.0 * anisotropy / np.maximum(whole, NO_RAMAN / unit), 0.75)
    return unit * (45.0 * mean**2 + 7.0 * anisotropy), ratios


def broadened(modes: NormalModes, grid: Array, width: float) -> Array:
    """Absorption (n,) in km/mol per cm^-1 at wavenumbers ``grid`` (n,), every line a Gaussian of its intensity.

    Parameters
    ----------
    modes : NormalModes
        Imaginary frequencies absorb nothing.
    grid : (n,)
        cm^-1.
    width : float
        Full width at half maximum, cm^-1.
    """
    if not width > 0:
        raise InputError(f"The width of a line must be positive, not {width} cm^-1.")
    real = modes.wavenumbers > 0
    sigma = width / GAUSSIAN_FWHM
    distances = (grid[:, None] - modes.wavenumbers[real]) / sigma
    return np.asarray(np.exp(-0.5 * distances**2) @ modes.intensities[real] / (sigma * np.sqrt(2.0 * np.pi)))


def _root_masses(structure: Structure) -> Array:
    """(n_atoms, 1) square roots of the masses in electron masses."""
    return np.asarray(np.sqrt(structure.masses * DALTON_TO_ELECTRON_MASS)[:, None])
