"""Between the flat coefficient vector of a molecule and per-atom equivariant features.

Inside an atom the shells of one l are far from orthogonal, and coefficients of near-dependent shells are large and
cancel. Networks therefore work with *orthonormal* amplitudes y, c = W y with W = S^-1/2 of the atom's own block of
the metric (one small matrix per element and l): |y|^2 is the norm of the atom's density in that metric.

Where a model multiplies the exponents of an atom's shells of one l by f, their radial parts R(r) become
f^(3/4) R(sqrt(f) r). With r in units of f^-1/2 every integral is the old one times a power of f: overlaps stay,
Coulomb integrals are divided by f, electron counts by f^(3/4). So W needs a factor only.
"""

from __future__ import annotations

from math import pi
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from densnet_core.basis.base import SHELL_LETTERS, Basis, Metric
from densnet_core.basis.conventions import from_magnetic_order
from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.models.features import degrees_of_components, own_element, species_of

DEPENDENT = 1e-12
"""Shells of one atom whose metric has eigenvalues in a smaller ratio than this cannot be told apart in float64."""


_METRIC_POWER: Final = {"coulomb": -1.0, "overlap": 0.0}
"""The power of f in the metric of an atom's functions of one l whose exponents are multiplied by f."""
_COUNT_POWER: Final = -0.75
"""The same for their electron counts."""


class CoefficientLayout(nn.Module):
    """Index tables and orthonormalisation of a basis for a fixed list of elements.

    Amplitudes are stored as ((l_max + 1)^2, n_atoms, width) in magnetic order, ``width`` being the largest number of
    shells that any element has for one l; entries without a function are zero.

    Parameters
    ----------
    basis : Basis
    elements : tuple of int
    metric : {"coulomb", "overlap"}
        Metric of the orthonormalisation.

    Raises
    ------
    InputError
        An element without functions, or shells of one atom that depend on each other.
    """

    def __init__(self, basis: Basis, elements: tuple[int, ...], metric: Metric = "coulomb") -> None:
        super().__init__()
        self.elements, self.metric = elements, metric
        self.l_max = basis.max_l(elements)
        self.n_components = (self.l_max + 1) ** 2
        by_l = {z: [[s for s in basis.shells(z) if s.l == l_] for l_ in range(self.l_max + 1)] for z in elements}
        self.width = max(len(shells) for z in elements for shells in by_l[z])
        sizes = [basis.n_functions([z]) for z in elements]
        largest = max(sizes)
        slots = np.full((len(elements), largest), -1, dtype=np.int64)
        present = np.zeros((len(elements), self.l_max + 1, self.width))
        to_coefficients = np.zeros((len(elements), self.l_max + 1, self.width, self.width))
        to_amplitudes = np.zeros_like(to_coefficients)
        for index, z in enumerate(elements):
            slots[index, : sizes[index]] = self._slots(basis, z)
            blocks = _atom_blocks(basis, z, metric)
            for l_, block in blocks.items():
                n = block.shape[0]
                values, vectors = np.linalg.eigh(block)
                if values[0] < DEPENDENT * values[-1]:
                    raise InputError(
                        f"The {SHELL_LETTERS[l_]} shells of {symbol(z)} in basis {basis.name!r} depend on each other "
                        f"(smallest eigenvalue of their metric {values[0] / values[-1]:.1e} of the largest); leave "
                        "out a repeated shell or spread the exponents."
                    )
                present[index, l_, :n] = 1.0
                to_coefficients[index, l_, :n, :n] = vectors @ np.diag(values**-0.5) @ vectors.T
                to_amplitudes[index, l_, :n, :n] = vectors @ np.diag(values**0.5) @ vectors.T
        counts = np.zeros((len(elements), self.width))
        n_primitives = max(len(shell.exponents) for z in elements for shell in basis.shells(z))
        exponents = np.ones((len(elements), self.l_max + 1, self.width, n_primitives))
        radial = np.zeros_like(exponents)
        for index, z in enumerate(elements):
            functions = MolecularBasis(basis, [z])
            for group in functions.groups:
                rows, columns = group.exponents.shape
                exponents[index, group.l, :rows, :columns] = group.exponents.numpy()
                radial[index, group.l, :rows, :columns] = group.coefficients.numpy()
                if group.l == 0:
                    values = functions.electron_counts()[group.functions[:, 0]].numpy()
                    counts[index, : len(values)] = values
        amplitudes_count = np.einsum("ek,ekj->ej", counts, to_coefficients[:, 0])
        self.sizes: Tensor
        self.slots: Tensor
        self.present: Tensor
        self.to_coefficients: Tensor
        self.to_amplitudes: Tensor
        self.counts: Tensor
        self.exponents: Tensor
        self.radial: Tensor
        self.l_of_component: Tensor
        for name, values in {
            "sizes": np.array(sizes),
            "slots": slots,
            "present": present,
            "to_coefficients": to_coefficients,
            "to_amplitudes": to_amplitudes,
            "counts": amplitudes_count,
            "exponents": exponents,
            "radial": radial,
        }.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("l_of_component", degrees_of_components(self.l_max), persistent=False)

    def _slots(self, basis: Basis, number: int) -> NDArray[np.int64]:
        """For each function of an element, its place component * width + shell among the amplitudes of the atom."""
        seen = [0] * (self.l_max + 1)
        places: list[int] = []
        for shell in basis.shells(number):
            components = shell.l**2 + from_magnetic_order(shell.l)
            places += [int(component) * self.width + seen[shell.l] for component in components]
            seen[shell.l] += 1
        return np.array(places)

    def species(self, numbers: Tensor) -> Tensor:
        """(n_atoms,) index of each atomic number in ``elements``.

        Raises
        ------
        InputError
            Naming the elements that are not covered. Not checked where a compiler hands in numbers without values.
        """
        return species_of(numbers, self.elements)

    def flat_places(self, species: Tensor) -> Tensor:
        """(n_functions,) index of every function among amplitudes laid out as (n_atoms, n_components, width)."""
        per_atom = self.slots[species]
        atoms = torch.arange(species.shape[0], device=species.device)[:, None]
        places = atoms * (self.n_components * self.width) + per_atom
        return places[per_atom >= 0]

    def coefficients(self, amplitudes: Tensor, species: Tensor, places: Tensor, scales: Tensor | None = None) -> Tensor:
        """Flat coefficients (n_functions,) of amplitudes (n_components, n_atoms, width); zero where those of high
        l are left out.

        ``scales`` (n_atoms, l_max + 1) are factors of the exponents; None: those of the basis.
        """
        degrees, n_elements = self.l_of_component[: amplitudes.shape[0]], len(self.elements)
        transform = self.to_coefficients.permute(1, 3, 0, 2).reshape(self.l_max + 1, self.width, -1)
        own = own_element(torch.bmm(amplitudes, transform.to(amplitudes.dtype)[degrees]), species, n_elements)
        missing = self.n_components - len(degrees)
        padded = nn.functional.pad(own, (0, 0, 0, 0, 0, missing)).transpose(0, 1)
        if scales is not None:
            padded = padded * self._per_component(scales, -0.5 * _METRIC_POWER[self.metric])
        return padded.reshape(-1)[places]

    def amplitudes(self, coefficients: Tensor, species: Tensor, places: Tensor, scales: Tensor | None = None) -> Tensor:
        """Amplitudes (n_components, n_atoms, width) of flat coefficients (n_functions,): the inverse."""
        padded = self._padded(coefficients, species, places)
        if scales is not None:
            padded = padded * self._per_component(scales, 0.5 * _METRIC_POWER[self.metric])
        transform = self.to_amplitudes.to(coefficients.dtype)[species][:, self.l_of_component]
        return torch.einsum("amkj,amj->mak", transform, padded)

    def projected_amplitudes(self, coefficients: Tensor, species: Tensor, places: Tensor, scales: Tensor) -> Tensor:
        """Amplitudes of every atom's own density projected on its functions with the exponents of the basis.

        They tell of the density and not of the functions that it is expanded in, so densities with different exponents
        can be compared. With ``scales`` of one they are the ordinary amplitudes.

        Parameters
        ----------
        coefficients : (n_functions,)
            Of functions with scaled exponents.
        scales : (n_atoms, l_max + 1)
        """
        padded = self._padded(coefficients, species, places)
        mixed = (self.to_coefficients[species] @ self._between(species, scales)).to(coefficients.dtype)
        return torch.einsum("amkj,amj->mak", mixed[:, self.l_of_component], padded)

    def electron_counts(self, species: Tensor, scales: Tensor | None = None) -> Tensor:
        """(n_atoms, width) electrons in each s amplitude of one."""
        counts = self.counts[species]
        if scales is None:
            return counts
        return counts * scales[:, :1] ** (_COUNT_POWER - 0.5 * _METRIC_POWER[self.metric])

    def _per_component(self, scales: Tensor, power: float) -> Tensor:
        return (scales**power)[:, self.l_of_component, None]

    def _padded(self, coefficients: Tensor, species: Tensor, places: Tensor) -> Tensor:
        n_atoms = species.shape[0]
        flat = coefficients.new_zeros(n_atoms * self.n_components * self.width).index_put((places,), coefficients)
        return flat.reshape(n_atoms, self.n_components, self.width)

    def _between(self, species: Tensor, scales: Tensor) -> Tensor:
        """(n_atoms, l_max + 1, width, width) metric between functions of the basis and the same with scaled exponents.

        On one centre, with Y_lm the same: the overlap of r^l exp(-a r^2) and r^l exp(-b r^2) is
        Gamma(l + 3/2) / 2 (a + b)^-(l + 3/2), their Coulomb integral pi / 2 Gamma(l + 1/2) / (a b) (a + b)^-(l + 1/2)
        (from its Fourier integral).
        """
        degree = torch.arange(self.l_max + 1, dtype=torch.float64, device=scales.device)
        factor = scales[:, :, None, None]
        fixed, own = self.exponents[species], self.radial[species]
        moved = fixed * factor
        moved_radial = own * factor ** (0.5 * degree[:, None, None] + 0.75)
        a, b = fixed[..., :, None, :, None], moved[..., None, :, None, :]
        half = 0.5 if self.metric == "coulomb" else 1.5
        power = (degree + half)[:, None, None, None, None]
        values = torch.exp(torch.lgamma(power) - power * torch.log(a + b))
        values = values * (0.5 * pi) / (a * b) if self.metric == "coulomb" else 0.5 * values
        return torch.einsum("alkjpq,alkp,aljq->alkj", values, own, moved_radial)


def _atom_blocks(basis: Basis, number: int, metric: Metric) -> dict[int, NDArray[np.float64]]:
    """Metric between the shells of one atom for each l (the same for every m)."""
    functions = MolecularBasis(basis, [number])
    matrix = two_center(metric, functions, torch.zeros((1, 3), dtype=torch.float64))
    blocks = {}
    for group in functions.groups:
        first = group.functions[:, 0]
        blocks[group.l] = cast("NDArray[np.float64]", matrix[first][:, first].numpy())
    return blocks
