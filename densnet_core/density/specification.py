"""What a model is made for: the density basis, the elements, and the states of the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from densnet_core.basis.base import GaussianBasis, Metric
from densnet_core.basis.library import large_basis
from densnet_core.structures import Structure

State = tuple[int, int]
"""Charge and multiplicity of a fragment."""
NEUTRAL_SINGLET: State = (0, 1)


@dataclass(frozen=True, eq=False)
class DensitySpecification:
    """What a density model predicts: the difference to the prior, expanded in a basis, for some elements and states.

    Parameters
    ----------
    basis : GaussianBasis
    metric : {"coulomb", "overlap"}
        Of the error that training minimises, and of the amplitudes that networks work with.
    elements : tuple of int
        Atomic numbers, ascending.
    largest_factor : float
        The model may multiply the exponents of every atom and angular momentum by factors between 1/f and f; 1 keeps
        them as they are in the basis.
    states : tuple of (charge, multiplicity)
        Those of the fragments in the training data, ascending; any other is refused.
    levels : tuple of str
        Levels of theory of the training data; ``Graph.level`` counts in them. Empty: one level, which need not be
        told.
    """

    basis: GaussianBasis
    metric: Metric
    elements: tuple[int, ...]
    largest_factor: float = 1.0
    states: tuple[State, ...] = (NEUTRAL_SINGLET,)
    levels: tuple[str, ...] = ()

    @property
    def adapts_exponents(self) -> bool:
        return self.largest_factor > 1.0

    @property
    def varies(self) -> frozenset[str]:
        """Which of "charge", "multiplicity" and "level" differ within the training data: inputs a model must use."""
        names = [
            name for index, name in enumerate(("charge", "multiplicity")) if len({s[index] for s in self.states}) > 1
        ]
        return frozenset([*names, "level"] if len(self.levels) > 1 else names)

    @property
    def label_basis(self) -> GaussianBasis:
        """The basis in which reference densities are given to the training.

        Fixed exponents learn from fits in their own basis. Functions that move have no coefficients of their own to
        learn from: their reference is held in a large fixed set.
        """
        return large_basis(self.elements) if self.adapts_exponents else self.basis


def describe_states(states: Iterable[tuple[float, int]]) -> str:
    """States in words: ``(0, 1), (1, 2)``."""
    return ", ".join(f"({charge:g}, {multiplicity})" for charge, multiplicity in states)


def states_of(structures: Sequence[Structure]) -> tuple[State, ...]:
    """Charge and multiplicity of all fragments of structures, each once, ascending."""
    return tuple(sorted({(part.charge, part.multiplicity) for s in structures for part in s.parts}))
