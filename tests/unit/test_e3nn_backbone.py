"""The angular momenta that the backbone's features can have, and what is said about those they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from densnet_e3nn.backbone import E3nnBackbone
from densnet_e3nn.config import E3nnOptions

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
