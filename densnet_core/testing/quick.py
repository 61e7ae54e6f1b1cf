"""The short form of the suites: what any network must do, checked in seconds before the first label is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.errors import PluginError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.structures import Structure
from densnet_core.testing.comparisons import assert_exportable, difference, slope
from densnet_core.testing.network_data import labelled, moved, turned
from densnet_core.testing.networks import (
    SINGLE,
    TRANSFORMATIONS,
    as_after_training,
    coefficient_rotation,
    degrees_of,
    electron_counts,
    energies_and_forces,
    far_shift,
    frozen,
    in_double_precision,
    on_a_grid,
)

TOLERANCE = 1e-6
"""Relative, in float64: a mistake shows as 1e-3 or more, tables in float32 as 1e-8."""
ELECTRONS = 1e-8
STEPS = (2e-3, 1e-4, 5e-6)
"""Bohr, of the differences of energies."""
N_FRAMES = 4
"""Of the data from which the statistics are taken."""


def quick_check(density_model: DensityModel, energy_model: EnergyModel, structure: Structure) -> None:
    """Check charge, symmetry, gradient and export of two networks on one molecule; they are left as they are.

    Works on copies in float64 whose statistics come from invented labels of the molecule, and with random numbers for
    parameters that start at zero.

    Parameters
    ----------
    density_model, energy_model : networks
        New or trained, of the same specification.
    structure : Structure
        Of the run; a small molecule is checked fastest.

    Raises
    ------
    PluginError
        Naming the model, what was found, what is expected and, where it is known, the likely mistake.
    """
    structure = structure.with_positions(on_a_grid(structure.positions))
    density, energy = in_double_precision(density_model), in_double_precision(energy_model)
    data = _invented_data(density, structure)
    with _named(type(density).__name__, structure):
        density.fit_statistics(data)
    as_after_training(density)
    with _named(type(energy).__name__, structure):
        energy.fit_statistics(data, density)
    as_after_training(energy)
    with frozen(density, energy):
        _check_density(density, structure)
        _check_energy(density, energy, structure)
        _check_export(density, energy, structure)


def _invented_data(model: DensityModel, structure: Structure) -> Dataset:
    """Displaced copies of the molecule with labels that no calculation gave."""
    random = np.random.default_rng(0)
    shifts = random.normal(scale=0.1, size=(N_FRAMES, *structure.positions.shape))
    frames = [structure.with_positions(structure.positions + shift) for shift in shifts]
    return labelled(frames, model.specification)


def _check_density(model: DensityModel, structure: Structure) -> None:
    """Declared densities, electrons, rotation, translation and repetition of a density model."""
    name, graph = type(model).__name__, graph_of([structure])
    with _named(name, structure):
        found = _densities(model, graph)
    if set(found) != model.densities or "density" not in found:
        raise PluginError(
            f"{name} returns {', '.join(sorted(found))}, but declares the densities "
            f"{', '.join(sorted(model.densities))}; expected the same, 'density' among them."
        )
    n = model.specification.basis.n_functions(graph.numbers.tolist())
    for kind, one in found.items():
        expected = (3, n) if kind == "density_response" else (n,)
        if tuple(one.coefficients.shape) != expected or one.coefficients.dtype != torch.float64:
            raise PluginError(
                f"{name} gives {one.coefficients.dtype} coefficients {tuple(one.coefficients.shape)} for the {kind} of "
                f"{structure.formula}; expected torch.float64 {expected}."
            )
    electrons = float(electron_counts(model.specification, graph, found["density"]))
    if not abs(electrons + structure.charge) <= ELECTRONS:
        raise PluginError(
            f"The difference density that {name} gives {structure.formula} holds {electrons:.9f} electrons; expected "
            f"{-structure.charge}, minus the charge of the molecule, exactly."
        )
    for what, other in (("again", structure), ("moved far away", moved(structure, far_shift()))):
        error = difference(_densities(model, graph_of([other]))["density"].coefficients, found["density"].coefficients)
        if not error <= TOLERANCE:
            cause = "random numbers are drawn" if other is structure else "positions are used as they are, or rounded"
            raise PluginError(
                f"The density of {structure.formula}, computed {what}, differs by {error:.0e} of its largest "
                f"coefficient; expected the same from {name}. Probably {cause}."
            )
    for what, matrix in TRANSFORMATIONS.items():
        _check_turned(model, structure, what, torch.tensor(matrix), found)


def _check_turned(
    model: DensityModel, structure: Structure, what: str, matrix: Tensor, before: dict[str, Expansion]
) -> None:
    """Coefficients of the turned molecule are the turned coefficients."""
    basis, numbers = model.specification.basis, structure.numbers.tolist()
    after = _densities(model, graph_of([turned(structure, matrix.numpy())]))
    rotation, degrees = coefficient_rotation(basis, numbers, matrix.numpy()), degrees_of(basis, numbers)
    for kind, one in before.items():
        expected = one.coefficients @ rotation.T
        expected = matrix @ expected if kind == "density_response" else expected
        largest = float(expected.abs().max()) or 1.0
        errors = {
            l_: difference(after[kind].coefficients[..., degrees == l_], expected[..., degrees == l_], relative=False)
            for l_ in range(int(degrees.max()) + 1)
        }
        wrong = [l_ for l_, error in errors.items() if not error <= TOLERANCE * largest]
        if wrong:
            raise PluginError(
                f"The {kind} that {type(model).__name__} gives {structure.formula} {what} differs by "
                f"{max(errors.values()) / largest:.0e} of its largest coefficient from the {kind} {what}: features of "
                f"l = {', '.join(map(str, wrong))} {_likely(wrong, what)}."
            )


def _likely(wrong: list[int], what: str) -> str:
    if wrong == [1]:
        return "are probably in the wrong order (expected y, z, x, which is m = -1, 0, 1)"
    if 0 in wrong:
        return "depend on how the molecule is turned; only those of l = 0 may enter a nonlinear function as they are"
    if what == "inverted":
        return "have the wrong parity; expected (-1)^l"
    return "are not what turns with the molecule; expected real harmonics in the order m = -l..l for every l"


def _check_energy(density: DensityModel, energy: EnergyModel, structure: Structure) -> None:
    """Declared outputs, invariance, translation and forces of an energy model."""
    name, graph = type(energy).__name__, graph_of([structure])
    if missing := energy.densities - density.densities:
        raise PluginError(
            f"{name} reads {', '.join(sorted(missing))}, which {type(density).__name__} does not predict; choose "
            "models that fit together."
        )
    with _named(name, structure), torch.no_grad():
        found = energy(graph, density(graph))
    value = found.get("energy")
    if set(found) != energy.outputs or value is None or value.shape != (1,) or value.dtype != torch.float64:
        shapes = ", ".join(f"{key} {tuple(one.shape)} {one.dtype}" for key, one in found.items())
        raise PluginError(
            f"{name} returns {shapes} for one molecule; expected {', '.join(sorted(energy.outputs))}, the energy (1,) "
            "torch.float64."
        )
    with _named(name, structure):
        _, forces = energies_and_forces(density, energy, graph)
    size = max(float(forces.abs().max()), 1e-6)
    cases = {"computed again": structure, "moved far away": moved(structure, far_shift())}
    cases |= {what: turned(structure, matrix) for what, matrix in TRANSFORMATIONS.items()}
    for what, other in cases.items():
        again, _ = energies_and_forces(density, energy, graph_of([other]))
        if not difference(again, value, relative=False) <= TOLERANCE * size:
            raise PluginError(
                f"The energy that {name} gives {structure.formula} {what} differs by {float(again - value):.1e} "
                "hartree; expected the same."
            )
    _check_slope(density, energy, graph, forces, structure)


def _check_slope(
    density: DensityModel, energy: EnergyModel, graph: Graph, forces: Tensor, structure: Structure
) -> None:
    direction = torch.randn(forces.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def function(positions: Tensor) -> Tensor:
        there = graph.with_positions(positions)
        total: Tensor = energy(there, density(there))["energy"].sum()
        return total

    found = -float((forces * direction).sum())
    # An untrained energy can be steep beyond measure: a right gradient agrees for one step, a wrong one for none.
    slopes = [float(slope(function, graph.positions, direction, step)) for step in STEPS]
    expected = min(slopes, key=lambda one: abs(one - found))
    if not abs(found - expected) <= SINGLE * float(forces.norm() * direction.norm()):
        raise PluginError(
            f"Along a random direction the gradient of the energy of {structure.formula} through "
            f"{type(energy).__name__} and {type(density).__name__} is {found:.6g} hartree/bohr by autograd and "
            f"{expected:.6g} by differences of energies. Probably a value is detached from the positions or the "
            "density, or a step is not differentiable."
        )


def _check_export(density: DensityModel, energy: EnergyModel, structure: Structure) -> None:
    graph = graph_of([structure])

    def function(positions: Tensor) -> tuple[Tensor, ...]:
        return energies_and_forces(density, energy, graph.with_positions(positions))

    generator = torch.Generator().manual_seed(2)
    elsewhere = graph.positions + 0.1 * torch.randn(graph.positions.shape, generator=generator, dtype=torch.float64)
    what = f"function of {type(density).__name__} and {type(energy).__name__}"
    try:
        assert_exportable(function, graph.positions, [elsewhere], what)
    except AssertionError as error:
        raise PluginError(
            f"{error} Engines need a trace without decisions on values and without random numbers; use torch.where and "
            "operations on whole tensors."
        ) from error


def _densities(model: DensityModel, graph: Graph) -> dict[str, Expansion]:
    with torch.no_grad():
        result: dict[str, Expansion] = model(graph)
    return result


@contextmanager
def _named(model: str, structure: Structure) -> Iterator[None]:
    """Whatever a network raises becomes an error that names it."""
    try:
        yield
    except Exception as error:
        raise PluginError(f"{model} fails on {structure.formula}: {type(error).__name__}: {error}") from error
