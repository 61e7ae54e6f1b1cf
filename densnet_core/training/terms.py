"""Which terms a loss has, and their weighted sum over the frames that have the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion, functions_of
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError, nearest
from densnet_core.graphs.graph import Graph
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.plugins.quantity import Objective, Quantity
from densnet_core.training.objectives import Loss, SquaredError


@dataclass(frozen=True, eq=False)
class Term:
    """A loss with its weight."""

    objective: Objective
    loss: Loss
    weight: float


@dataclass(frozen=True, eq=False)
class Wanted:
    """An objective that a training shall have, before there are data.

    Parameters
    ----------
    objective : Objective
    weight : float
    asked : bool
        The configuration names it: it is then an error if it cannot be.
    """

    objective: Objective
    weight: float
    asked: bool


def wanted_objectives(stage: str, weights: Mapping[str, float], manager: Manager | None = None) -> list[Wanted]:
    """The objectives of a stage with a weight, by default or by the configuration.

    Raises
    ------
    InputError
        A weight names no objective of this stage.
    """
    known = (manager or get_manager()).objectives(stage)
    for name in weights:
        if name not in known:
            raise InputError(f"training.{stage}.weights: there is no objective {name!r}. {nearest(name, known)}")
    found = [Wanted(one, float(weights.get(name, one.weight)), name in weights) for name, one in known.items()]
    return [one for one in found if one.weight > 0.0]


def wanted_labels(wanted: Iterable[Wanted]) -> list[str]:
    """Names of the labels that objectives compare with, each once."""
    return list(dict.fromkeys(label for one in wanted for label in one.objective.labels))


def make_terms(
    wanted: Sequence[Wanted],
    available: Iterable[str],
    specification: DensitySpecification,
    dataset: Dataset,
    manager: Manager | None = None,
) -> list[Term]:
    """The terms for which there are outputs and labels.

    Parameters
    ----------
    available : iterable of str
        Names of the outputs that the networks give.
    dataset : Dataset
        Training frames, from which the units come.

    Raises
    ------
    InputError
        An objective that the configuration asks for has no output or no label, or nothing is left to learn from.
    """
    manager = manager or get_manager()
    outputs, terms = set(available), []
    quantities = manager.quantities()
    for one in wanted:
        objective = one.objective
        lacking = [f"no output {name!r}" for name in objective.outputs if name not in outputs]
        lacking += [f"no frame with the label {name!r}" for name in objective.labels if not dataset.having(name)]
        if lacking and one.asked:
            raise InputError(f"The objective {objective.name!r} cannot be learned: there is {' and '.join(lacking)}.")
        if not lacking:
            known: dict[str, Quantity] = {
                n: quantities[n] for n in (*objective.labels, *objective.outputs) if n in quantities
            }
            kind = (
                SquaredError
                if objective.loss is None
                else manager.load_target(objective.loss, f"objective {objective.name!r}")
            )
            terms.append(Term(objective, kind(objective, known, specification, dataset), one.weight))
    if not terms:
        raise InputError(
            "There is nothing to learn: the frames have none of the labels "
            f"{', '.join(wanted_labels(wanted)) or '(no objective has a weight)'}."
        )
    return terms


def total_loss(
    terms: Sequence[Term],
    outputs: Mapping[str, Any],
    dataset: Dataset,
    indices: Sequence[int],
    graph: Graph,
    counts: Sequence[int] | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the terms, each the mean over those frames of a batch that have its labels; and its parts.

    Parameters
    ----------
    indices : sequence of int
        Frames of the graph.
    counts : sequence of int or None
        For each term the number of frames with its labels in the whole batch, if part of it is elsewhere: the losses of
        the parts then add up to that of the batch.

    Raises
    ------
    InputError
        No frame of the batch has any label.
    """
    counts = counts or [len(places_having(term, dataset, indices)) for term in terms]
    if not any(counts):
        raise InputError("No frame of a batch has any of the labels; leave frames without labels out.")
    loss = torch.zeros((), dtype=torch.float64, device=graph.positions.device)
    told: dict[str, float] = {}
    for term, count in zip(terms, counts, strict=True):
        errors, sizes = term_errors(term, outputs, dataset, indices, graph)
        if errors is None:
            continue
        loss = loss + term.weight * (errors / sizes).sum() / (count * term.loss.unit)
        told |= term.loss.report(errors.detach(), sizes)
    return loss, {"loss": loss.item(), **told}


def places_having(term: Term, dataset: Dataset, indices: Sequence[int]) -> list[int]:
    """Places of those frames that have all labels of a term."""
    places: Sequence[int] = range(len(indices))
    for name in term.objective.labels:
        there = set(dataset.having(name, indices))
        places = [place for place in places if indices[place] in there]
    return list(places)


def term_errors(
    term: Term, outputs: Mapping[str, Any], dataset: Dataset, indices: Sequence[int], graph: Graph
) -> tuple[Tensor | None, Tensor]:
    """Squared errors of the frames of a batch that have the term's labels (None if none has), and their sizes."""
    chosen = [int(i) for i in indices]
    having = places_having(term, dataset, chosen)
    if not having:
        return None, torch.ones(0)
    held = [chosen[place] for place in having]
    if len(having) < len(chosen):
        names = term.objective.outputs
        outputs = {name: _of_molecules(name, outputs[name], graph, having, term.loss) for name in names}
    errors = term.loss.errors(outputs, dataset, held)
    return errors, term.loss.sizes(dataset, held).to(errors.device)


def report(
    terms: Sequence[Term], dataset: Dataset, make_graph: Callable[[Sequence[int]], Graph], outputs: Any
) -> dict[str, float]:
    """What every term says of all frames of a data set, and the weighted "loss" of all together.

    Parameters
    ----------
    make_graph : callable
        From indices of frames to their graph.
    outputs : callable
        From a graph to the networks' outputs.
    """
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in terms]
    for portion in dataset.portions():
        graph = make_graph(portion)
        given = outputs(graph)
        for term, parts in zip(terms, found, strict=True):
            errors, sizes = term_errors(term, given, dataset, portion, graph)
            if errors is not None:
                parts.append((errors.detach(), sizes))
    told: dict[str, float] = {}
    loss = 0.0
    for term, parts in zip(terms, found, strict=True):
        if parts:
            errors, sizes = torch.cat([e for e, _ in parts]), torch.cat([s for _, s in parts])
            loss += term.weight * float((errors / sizes).mean()) / term.loss.unit
            told |= term.loss.report(errors, sizes)
    return {"loss": loss, **told} if told else {}


def _of_molecules(name: str, output: Any, graph: Graph, places: Sequence[int], loss: Loss) -> Any:
    """The part of an output that belongs to some molecules of a graph."""
    keep = torch.zeros(graph.n_molecules, dtype=torch.bool, device=graph.numbers.device)
    keep[list(places)] = True
    atoms = keep[graph.molecule]
    if isinstance(output, Expansion):
        functions = functions_of(loss.specification.basis, graph.numbers)
        scales = None if output.scales is None else output.scales[atoms]
        return replace(output, coefficients=output.coefficients[..., atoms[functions.function_atoms]], scales=scales)
    per_atom = name in loss.quantities and loss.quantities[name].per == "atom"
    return output[atoms if per_atom else keep]
