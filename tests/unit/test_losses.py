"""Terms of a loss on data so small that their values can be worked out by hand."""

from __future__ import annotations

from math import erf, pi, sqrt

import numpy as np
import pytest
import torch

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import PluginError
from densnet_core.graphs.graph import graph_of
from densnet_core.plugins.manager import get_manager
from densnet_core.plugins.quantity import Objective, Quantity
from densnet_core.structures import Structure
from densnet_core.training.objectives import SquaredError
from densnet_core.training.terms import Term, Wanted, make_terms, term_errors, total_loss

EXPONENT, LENGTH = 0.8, 1.4
BASIS = GaussianBasis("one s function", {1: [Shell(0, (EXPONENT,), (1.0,))]})
ATOM = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
MOLECULE = Structure(np.array([1, 1]), np.array([[0.3, 0.0, 0.0], [0.3, 0.0, LENGTH]]))
STRUCTURES = [ATOM, MOLECULE, ATOM]


def specification(metric: str = "coulomb") -> DensitySpecification:
    return DensitySpecification(BASIS, metric, (1,), states=((0, 1), (0, 2)))  # type: ignore[arg-type]


def norm(metric: str, x: float, y: float | None = None) -> float:
    """(rho|M|rho) of the normalised function with coefficient x on an atom, and y on the other one.

    Two charges q exp(-a r^2) repel each other by q^2 (pi/a)^3 erf(R sqrt(a/2)) / R, one itself by the limit R = 0.
    """
    if metric == "overlap":
        same, between = 1.0, float(np.exp(-0.5 * EXPONENT * LENGTH**2))
    else:
        charge = (2.0 * EXPONENT / pi) ** 1.5 * (pi / EXPONENT) ** 3
        same, between = charge * sqrt(2.0 * EXPONENT / pi), charge * erf(LENGTH * sqrt(0.5 * EXPONENT)) / LENGTH
    return same * x * x if y is None else same * (x * x + y * y) + 2.0 * between * x * y


def term_of(objective: Objective, dataset: Dataset, output: str, metric: str = "coulomb", weight: float = 1.0) -> Term:
    (term,) = make_terms([Wanted(objective, weight, True)], [output], specification(metric), dataset)
    return term


def labelled(name: str, *values: object) -> Dataset:
    return Dataset(STRUCTURES, {name: [None if value is None else np.array(value, float) for value in values]})


def of_density(name: str, dataset: Dataset, metric: str = "coulomb") -> Term:
    return term_of(get_manager().objectives("density")[name], dataset, name, metric)


# --- spin density and response


@pytest.mark.parametrize("metric", ["coulomb", "overlap"])
def test_the_error_of_a_spin_density_is_its_norm_per_atom(metric: str) -> None:
    frames = labelled("spin_density", [1.0], [0.5, -0.5], [0.6])
    term = of_density("spin_density", frames, metric)
    predicted = Expansion(torch.tensor([1.2, 0.6, -0.2, 0.5], dtype=torch.float64))
    errors, sizes = term_errors(term, {"spin_density": predicted}, frames, [0, 1, 2], graph_of(STRUCTURES))
    expected = [norm(metric, 0.2), norm(metric, 0.1, 0.3), norm(metric, 0.1)]
    assert errors is not None
    assert errors.tolist() == pytest.approx(expected, rel=1e-10)
    assert sizes.tolist() == [1.0, 2.0, 1.0]
    # four atoms, of which the mean is 0.4: the mean square deviation is the unit
    deviations = np.array([1.0, 0.5, -0.5, 0.6]) - 0.4
    assert term.loss.unit == pytest.approx((deviations**2).mean() * norm(metric, 1.0), rel=1e-10)
    loss, told = total_loss([term], {"spin_density": predicted}, frames, [0, 1, 2], graph_of(STRUCTURES))
    per_atom = (expected[0] + expected[1] / 2.0 + expected[2]) / 3.0
    assert float(loss) == pytest.approx(per_atom / term.loss.unit, rel=1e-10)
    assert told["spin_density_rms_error_relative"] == pytest.approx(sqrt(per_atom / term.loss.unit), rel=1e-10)


def test_the_error_of_a_response_adds_up_over_the_directions_of_the_field() -> None:
    frames = labelled("density_response", [[1.0], [0.0], [0.4]], [[0.3, -0.3], [0.2, 0.0], [0.0, 0.1]], None)
    term = of_density("density_response", frames)
    predicted = Expansion(torch.tensor([[1.1, 0.3, -0.2], [0.2, 0.2, 0.1], [0.4, 0.2, 0.1]], dtype=torch.float64))
    errors, sizes = term_errors(term, {"density_response": predicted}, frames, [0, 1], graph_of(STRUCTURES[:2]))
    expected = [
        norm("coulomb", 0.1) + norm("coulomb", 0.2),
        norm("coulomb", 0.0, 0.1) + norm("coulomb", 0.0, 0.1) + norm("coulomb", 0.2, 0.0),
    ]
    assert errors is not None
    assert errors.tolist() == pytest.approx(expected, rel=1e-10)
    assert sizes.tolist() == [1.0, 2.0]
    rows = np.array([1.0, 0.0, 0.4, 0.3, -0.3, 0.2, 0.0, 0.0, 0.1])
    assert term.loss.unit == pytest.approx(3.0 * rows.var() * norm("coulomb", 1.0), rel=1e-10)


def test_of_a_batch_only_the_molecules_with_the_label_are_compared() -> None:
    """Parts of densities, of quantities of atoms and of molecules are cut out of the outputs of the whole batch."""
    graph = graph_of(STRUCTURES)
    densities = labelled("spin_density", [1.0], None, [0.5])
    term = of_density("spin_density", densities)
    predicted = Expansion(torch.tensor([1.2, 7.0, 8.0, 0.6], dtype=torch.float64))
    errors, sizes = term_errors(term, {"spin_density": predicted}, densities, [0, 1, 2], graph)
    assert errors is not None
    assert errors.tolist() == pytest.approx([norm("coulomb", 0.2), norm("coulomb", 0.1)], rel=1e-10)
    assert sizes.tolist() == [1.0, 1.0]

    charges = labelled("charges", [0.0], [0.1, -0.1], None)
    term = term_of(Objective("charges", "density", ("charges",), ("charges",), unit=1.0), charges, "charges")
    found, _ = term_errors(term, {"charges": torch.tensor([0.2, 0.2, -0.4, 9.0])}, charges, [0, 1, 2], graph)
    assert found is not None
    assert found.tolist() == pytest.approx([0.04, (0.01 + 0.09) / 2.0])
    assert term_errors(term, {"charges": torch.tensor([9.0])}, charges, [2], graph_of([ATOM]))[0] is None


# --- squared errors


def squared(quantity: Quantity, dataset: Dataset, unit: float | None = None) -> SquaredError:
    objective = Objective("it", "density", (quantity.name,), (quantity.name,), unit=unit)
    return SquaredError(objective, {quantity.name: quantity}, specification(), dataset)


def quantity(per: str, rank: int, extensive: bool, depends_on_origin: bool = False) -> Quantity:
    return Quantity("label", "1", per, rank, extensive, depends_on_origin)  # type: ignore[arg-type]


def test_scalars_of_atoms_are_averaged_over_the_atoms_of_each_frame() -> None:
    frames = labelled("label", [0.3], [0.1, -0.1], [0.6])
    loss = squared(quantity("atom", 0, False), frames)
    outputs = {"label": torch.tensor([0.5, 0.2, -0.4, 0.6], dtype=torch.float64)}
    assert loss.errors(outputs, frames, [0, 1, 2]).tolist() == pytest.approx([0.04, (0.01 + 0.09) / 2.0, 0.0])
    assert loss.sizes(frames, [0, 1]).tolist() == [1.0, 1.0]
    # frames have the means 0.3, 0.0 and 0.6: about 0.3 the squares are 0, (0.04 + 0.16) / 2 and 0.09
    assert loss.unit == pytest.approx((0.0 + 0.1 + 0.09) / 3.0)


def test_vectors_of_atoms_are_averaged_over_axes_and_atoms() -> None:
    frames = labelled("label", [[3.0, 0.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]], None)
    loss = squared(quantity("atom", 1, False), frames)
    outputs = {"label": torch.tensor([[3.0, 0.0, 0.3], [0.0, 0.0, 0.0], [0.6, 0.0, 2.0]], dtype=torch.float64)}
    errors = loss.errors(outputs, frames, [0, 1])
    assert errors.tolist() == pytest.approx([0.09 / 3.0, (1.0 / 3.0 + 0.36 / 3.0) / 2.0])
    assert loss.unit == pytest.approx((9.0 / 3.0 + (1.0 + 4.0) / 6.0) / 2.0)  # a vector has no mean that is invariant


def test_an_extensive_quantity_of_molecules_counts_per_atom() -> None:
    frames = labelled("label", -0.5, -1.2, -0.4)
    loss = squared(quantity("molecule", 0, True), frames)
    outputs = {"label": torch.tensor([-0.4, -1.0, -0.4], dtype=torch.float64)}
    errors = loss.errors(outputs, frames, [0, 1, 2])
    assert errors.tolist() == pytest.approx([0.01, 0.04, 0.0])
    assert loss.sizes(frames, [0, 1, 2]).tolist() == [1.0, 2.0, 1.0]
    # per atom -0.5, -0.6 and -0.4, of mean -0.5; the molecule is off by 2 * 0.1, squared and per atom
    assert loss.unit == pytest.approx((0.0 + 0.04 / 2.0 + 0.01) / 3.0)


def test_matrices_of_molecules_are_averaged_over_their_components() -> None:
    one, two = np.diag([1.0, 1.0, 4.0]), np.diag([2.0, 2.0, 5.0])
    frames = Dataset(STRUCTURES, {"label": [one, two, None]})
    outputs = {"label": torch.tensor(np.stack([one, two + 0.3]))}
    for extensive, atoms in ((True, 2.0), (False, 1.0)):
        loss = squared(quantity("molecule", 2, extensive), frames)
        assert loss.errors(outputs, frames, [0, 1]).tolist() == pytest.approx([0.0, 0.09])
        assert loss.sizes(frames, [0, 1]).tolist() == [1.0, atoms]
        assert loss.unit == pytest.approx((18.0 / 9.0 + 33.0 / 9.0 / atoms) / 2.0)


def test_a_squared_error_whose_unit_or_meaning_cannot_be_known_is_the_plugins_fault() -> None:
    frames = labelled("label", [0.3], [0.1], [0.6])
    moving = quantity("molecule", 1, True, depends_on_origin=True)
    with pytest.raises(PluginError, match="must give its unit: the spread of 'label' depends on where the molecules"):
        squared(moving, frames)
    assert squared(moving, frames, unit=0.5).unit == 0.5
    with pytest.raises(PluginError, match="compares one announced quantity of atoms or molecules"):
        squared(quantity("function", 0, False), frames, unit=1.0)
    with pytest.raises(PluginError, match="Give it a loss of its own"):
        SquaredError(Objective("it", "density", ("label",), ("label",)), {}, specification(), frames)
