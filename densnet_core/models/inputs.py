"""Optional inputs: what a model does not use is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import DensitySpecification, describe_states
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DensityModel


class Declares(Protocol):
    """A density or energy model."""

    inputs: frozenset[str]
    specification: DensitySpecification


def check_specification(model: Declares) -> None:
    """Refuse a model for data in which an input varies that it does not use.

    Raises
    ------
    InputError
        Naming model and inputs.
    """
    missing = sorted(model.specification.varies - model.inputs)
    if missing:
        specification = model.specification
        found = f"states {describe_states(specification.states)}" + (
            f", levels {', '.join(specification.levels)}" if "level" in missing else ""
        )
        raise InputError(
            f"{type(model).__name__} does not use {' and '.join(missing)}, which differ within the training data "
            f"({found}). Take a model that declares them among its inputs, or train one model for each."
        )


def check_data(model: Declares, dataset: Dataset) -> None:
    """Refuse a model for training data whose states its specification lacks, or in which an unused input varies.

    Raises
    ------
    InputError
        Naming what the data and what the specification have.
    """
    check_specification(model)
    specification = model.specification
    if unknown := sorted(set(dataset.states) - set(specification.states)):
        raise InputError(
            f"The data have fragments with (charge, multiplicity) {describe_states(unknown)}, and the model is made "
            f"for {describe_states(specification.states)}. Make its specification with the states of the data."
        )


def check_taught(model: DensityModel, dataset: Dataset, start: DensityModel | None = None) -> None:
    """Refuse further densities of which the training frames do not teach enough.

    What they do not teach of an element would stay as random as it began, and what was learned before would decay while
    the features change.

    Parameters
    ----------
    start : DensityModel or None
        A finished model that the training starts from: the elements whose density of that kind it has learned.

    Raises
    ------
    InputError
        Naming the density, and the elements that no frame with it has.
    """
    for name in sorted(model.densities - {"density"}):
        indices = dataset.having(name)
        advice = f'Compute it ([reference] properties = ["{name}"]), or leave it out of [density] options.'
        if not indices:
            raise InputError(f"{type(model).__name__} predicts {name!r}, and no training frame has one. {advice}")
        known = {int(z) for i in indices for z in dataset.structures[i].numbers}
        if start is not None and name in start.densities:
            known |= set(start.specification.elements)
        if missing := [symbol(z) for z in model.specification.elements if z not in known]:
            raise InputError(
                f"{type(model).__name__} predicts {name!r}, and no training frame that has one contains "
                f"{', '.join(missing)}. {advice}"
            )


def check_graph(models: Iterable[Declares], graph: Graph) -> None:
    """Refuse a graph with optional parts that none of the models uses.

    Raises
    ------
    InputError
    """
    held = list(models)
    used = frozenset[str]().union(*(model.inputs for model in held))
    ignored = sorted(graph.optional - used)
    if ignored:
        names = " and ".join(type(model).__name__ for model in held)
        raise InputError(
            f"The graph has {' and '.join(ignored)}, which {names} would ignore; leave it out, or take a model that "
            "declares it among its inputs."
        )
