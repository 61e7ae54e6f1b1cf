"""From networks to named outputs: densities, what follows from them, energies and forces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.graphs.graph import Graph
from densnet_core.models.density import DENSITIES, DensityModel, densities_up_to
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.manager import Manager


@dataclass(frozen=True)
class Derived:
    """How a quantity follows from densities, from which, and up to which degree of coefficients; None: all."""

    function: Callable[[Graph, Mapping[str, Expansion], DensitySpecification], Tensor]
    l_max: int | None
    densities: frozenset[str]

    def __call__(self, graph: Graph, densities: Mapping[str, Expansion], specification: DensitySpecification) -> Tensor:
        return self.function(graph, densities, specification)


Densities = Callable[[Graph], Mapping[str, Expansion]]
"""A density model, or what gives its densities in another way."""


def common_cutoff(density: DensityModel, energy: EnergyModel) -> float | None:
    """Distance in bohr beyond which no pair of atoms of the graph matters to either of two models, or None.

    What acts farther (``long_range``) has pairs of its own.
    """
    cutoffs = [model.cutoff for model in (density, energy) if model.cutoff is not None]
    return max(cutoffs) if len(cutoffs) == 2 else None


def derived_quantities(densities: Collection[str], manager: Manager) -> dict[str, Derived]:
    """Functions from predicted densities to the quantities that can be had from them, by name."""
    found = {}
    for name, quantity in manager.quantities().items():
        if quantity.output is not None and set(quantity.densities) <= set(densities):
            function = manager.load_target(quantity.output, f"quantity {name!r}")
            found[name] = Derived(function, quantity.l_max, frozenset(quantity.densities))
    return found


def degree_for(names: Iterable[str], derived: Mapping[str, Derived], energy: EnergyModel | None = None) -> int | None:
    """The highest degree of the coefficients that outputs and the energy model need; -1: of none, None: of all."""
    of_energy = set() if energy is None else {*energy.outputs, "forces"}
    degrees = [derived[name].l_max if name in derived else None for name in set(names) - of_energy]
    degrees += [] if energy is None else [energy.l_max]
    known = [degree for degree in degrees if degree is not None]
    return max(known, default=-1) if len(known) == len(degrees) else None


def densities_for(
    names: Iterable[str], derived: Mapping[str, Derived], energy: EnergyModel | None = None
) -> frozenset[str]:
    """The densities that outputs, those named themselves included, and the energy model need; one at least."""
    needed = set[str]() if energy is None else set(energy.densities)
    for name in names:
        needed |= derived[name].densities if name in derived else {name} & set(DENSITIES)
    return frozenset(needed or {"density"})


def density_outputs(
    model: DensityModel, graph: Graph, names: Collection[str], derived: Mapping[str, Derived]
) -> dict[str, Any]:
    """Densities (``Expansion``) and derived quantities of a graph, those that are asked for."""
    densities = densities_up_to(model, graph, degree_for(names, derived), densities_for(names, derived))
    return {
        name: densities[name] if name in densities else derived[name](graph, densities, model.specification)
        for name in names
    }


def energy_outputs(
    density: Densities, energy: EnergyModel, graph: Graph, forces: bool = True, training: bool = False
) -> tuple[dict[str, Tensor], Mapping[str, Expansion]]:
    """What the energy model gives, with "forces" (n_atoms, 3), hartree/bohr, if asked for; and the densities.

    Forces are minus the gradient of the energy through the energy model and the density model.

    Parameters
    ----------
    training : bool
        Keep the graph, so that a loss on the outputs can be differentiated.
    """
    if not forces:
        with torch.set_grad_enabled(training):
            densities = density(graph)
            return energy(graph, densities), densities
    with torch.enable_grad():  # type: ignore[no-untyped-call]
        positions = graph.positions.detach().requires_grad_()
        moved = graph.with_positions(positions)
        densities = density(moved)
        outputs: dict[str, Tensor] = energy(moved, densities)
        (gradient,) = torch.autograd.grad(outputs["energy"].sum(), positions, create_graph=training)
    if not training:
        outputs = {name: value.detach() for name, value in outputs.items()}
        densities = {name: one.detached() for name, one in densities.items()}
    return {**outputs, "forces": -gradient}, densities
