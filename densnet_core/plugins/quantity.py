"""The records by which a plugin announces labels, outputs and terms of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Quantity:
    """Something that a frame can be labelled with, that a model gives, or both. Making one imports nothing heavy.

    Parameters
    ----------
    name : str
        A word of letters, digits and underscores; the name of the label in stores and of the output of potentials.
    unit : str
        For people; values are in atomic units throughout.
    per : {"molecule", "atom", "function"}
        What the first axis of a batch counts; "function" is a basis function of the density.
    rank : int
        Cartesian axes of three of one value: 0 a scalar, 1 a vector, 2 a matrix.
    extensive : bool
        Whether the value of two molecules far apart is the sum of theirs.
    depends_on_origin : bool
        Whether it changes when the molecule is moved, as the dipole of an ion does.
    summary : str
        One line for people.
    reference : str or None
        ``"package.module:function"`` with ``function(structure, result, density) -> array``: the label from a
        finished calculation, with ``result`` a ``ReferenceResult`` and ``density`` its ``OrbitalDensity``. None: a
        reference backend, or the imported data, must give it.
    output : str or None
        ``"package.module:function"`` with ``function(graph, densities, specification) -> Tensor``: the value that the
        predicted densities (a dict of ``Expansion``) have, differentiable, first axis as ``per`` says. None: a model
        must give it under this name.
    densities : tuple of str
        Densities that ``output`` is made from; a model that does not predict them does not give the quantity.
    l_max : int or None
        Highest angular momentum of the functions whose coefficients ``output`` takes; None: all.
    """

    name: str
    unit: str
    per: Literal["molecule", "atom", "function"]
    rank: int
    extensive: bool
    depends_on_origin: bool
    summary: str = ""
    reference: str | None = None
    output: str | None = None
    densities: tuple[str, ...] = ("density",)
    l_max: int | None = None


@dataclass(frozen=True)
class Objective:
    """A term of a loss: what is compared with what, and how. A frame counts in the terms whose labels it has.

    Parameters
    ----------
    name : str
        The word of the configuration: its weight is ``[training.STAGE.weights] NAME``.
    stage : {"density", "energy"}
        Which network it trains.
    labels, outputs : tuple of str
        Names of the quantities that the loss gets.
    loss : str or None
        ``"package.module:Class"``, a subclass of ``densnet_core.training.objectives.Loss``. None: the squared error of
        the one output against the one label.
    unit : float or None
        Squared error that counts as one, atomic units; None: the spread of the labels in the training data. Must be
        given for a quantity that depends on the origin.
    weight : float
        Where the configuration says nothing; 0 leaves the term out.
    summary : str
    """

    name: str
    stage: Literal["density", "energy"]
    labels: tuple[str, ...]
    outputs: tuple[str, ...]
    loss: str | None = None
    unit: float | None = None
    weight: float = 0.0
    summary: str = ""
