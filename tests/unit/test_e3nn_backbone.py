"""The angular momenta that the backbone's features can have, and what is said about those they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from densnet_e3nn.backbone import E3nnBackbone
from densnet_e3nn.config import E3nnOptions
from scipy.special import spherical_jn

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.models.backbone import BackboneShape
from densnet_core.structures import Structure

ELEMENTS = (1, 8)
HYDRONIUM = Structure(
    np.array([8, 1, 1, 1]), np.array([[0.0, 0.1, 0.2], [1.7, 0.2, 0.5], [-0.9, 1.5, 0.6], [-0.8, -1.5, 0.8]]), 1
)
HIGHEST = {  # (layers, l_max, l_max_edge): highest l, counted by hand from the products
    (1, 2, 2): 4,  # two harmonics of l = 2 at one atom
    (1, 1, 3): 3,
    (1, 2, 3): 4,
    (2, 2, 1): 4,
    (2, 2, 2): 4,
    (2, 2, 3): 5,
    (2, 1, 4): 5,
    (3, 1, 2): 3,
}


@pytest.mark.parametrize(("layers", "l_max", "l_max_edge"), HIGHEST)
def test_features_reach_the_highest_l_and_no_further(layers: int, l_max: int, l_max_edge: int) -> None:
    """Otherwise functions of that l would silently have no coefficients, whatever is learned."""
    options = E3nnOptions(channels=4, layers=layers, l_max=l_max, l_max_edge=l_max_edge)
    highest = HIGHEST[layers, l_max, l_max_edge]
    torch.manual_seed(0)
    backbone = E3nnBackbone(BackboneShape(ELEMENTS, -1, 0, highest), options)
    backbone.check()
    graph = graph_of([HYDRONIUM])
    species = (graph.numbers == 8).long()
    features = backbone(graph, species, None).detach()
    sizes = [float(features[l_**2 : (l_ + 1) ** 2].norm(dim=0).mean()) for l_ in range(highest + 1)]
    assert min(sizes) > 1e-4 * max(sizes)
    beyond = E3nnBackbone(BackboneShape(ELEMENTS, -1, 0, highest + 1), options)  # as a stored model may have been made
    assert not beyond(graph, species, None).detach()[(highest + 1) ** 2 :].any()
    with pytest.raises(InputError, match=rf"reach l = {highest} .* but l = {highest + 1} is asked for.*l_max_edge"):
        beyond.check()


def effective_neighbours(structures: list[Structure], cutoff: float, n_radial: int) -> float:
    """Atom by atom: the Bessel functions are sqrt(2) k pi j_0(k pi x), times the envelope of Gasteiger et al."""
    total, n_atoms = 0.0, 0
    for structure in structures:
        for here in range(structure.n_atoms):
            for there in set(range(structure.n_atoms)) - {here}:
                x = float(np.linalg.norm(structure.positions[here] - structure.positions[there])) / cutoff
                if x < 1.0:
                    k_pi = np.pi * np.arange(1, n_radial + 1)
                    radial = np.sqrt(2.0) * k_pi * spherical_jn(0, k_pi * x)
                    total += float(np.mean((radial * (1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8)) ** 2))
        n_atoms += structure.n_atoms
    return total / n_atoms


def test_sums_over_neighbours_are_in_units_of_the_effective_number_of_neighbours() -> None:
    """A mean over all atoms of the data, whatever the order of molecules and atoms and however they are turned."""
    options = E3nnOptions(channels=4, radial_functions=5, cutoff_angstrom=3.0)
    backbone = E3nnBackbone(BackboneShape(ELEMENTS, -1, 0, 1), options)
    far = Structure(np.array([8, 8, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 9.0]]))
    atom = Structure(np.array([8]), np.zeros((1, 3)))
    expected = effective_neighbours([HYDRONIUM, far, atom], backbone.cutoff, 5)
    assert expected > 2.0
    matrix, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    order = [2, 0, 3, 1]
    turned = Structure(HYDRONIUM.numbers[order], HYDRONIUM.positions[order] @ matrix.T + 7.0, 1)
    for structures in ([HYDRONIUM, far, atom], [atom, far, turned]):
        backbone.fit_statistics(Dataset(structures, {}))
        assert float(backbone.neighbors) == pytest.approx(expected, rel=1e-12)
    backbone.fit_statistics(Dataset([atom], {}))
    assert float(backbone.neighbors) == 1.0  # without any neighbour nothing is divided by zero
