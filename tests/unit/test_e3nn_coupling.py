"""The product of the e3nn backbone against e3nn's own tensor product and against integrals over the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from densnet_e3nn.coupling import natural_paths
from e3nn import o3

from densnet_core.basis.conventions import to_magnetic_order
from densnet_core.basis.harmonics import gaunt

GENERATOR = torch.Generator().manual_seed(3)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("path", [(0, 0, 0), (1, 1, 0), (1, 1, 2), (2, 1, 1), (2, 2, 2), (2, 3, 3), (3, 3, 4)])
def test_a_path_equals_e3nns_channelwise_product(path: tuple[int, int, int]) -> None:
    """'uvu' with one edge channel; component normalisation puts sqrt(2 l3 + 1) before the coupling coefficients."""
    channels, n_edges = 3, 4
    first, second, third = path
    irreps = [
        f"{n}x{o3.Irrep(degree, (-1) ** degree)}" for n, degree in ((channels, first), (1, second), (channels, third))
    ]
    torch.set_default_dtype(torch.float64)
    try:
        theirs = o3.TensorProduct(
            *irreps,
            instructions=[(0, 0, 0, "uvu", True)],
            irrep_normalization="component",
            path_normalization="element",
            shared_weights=False,
        )
    finally:
        torch.set_default_dtype(torch.float32)
    features, edge = random(n_edges, channels, 2 * first + 1), random(n_edges, 2 * second + 1)
    weights = random(n_edges, channels)
    expected = theirs(features.flatten(1), edge, weights).reshape(n_edges, channels, 2 * third + 1)

    paths = natural_paths(first, second, third)
    rows = paths.path_of_row == paths.triples.index(path)
    assert paths.component_of_row[rows].tolist() == list(range(third**2, (third + 1) ** 2))
    table = paths.table[rows][:, first**2 : (first + 1) ** 2, second**2 : (second + 1) ** 2]
    ours = torch.einsum("kij,eui,ej,eu->euk", table, features, edge, weights)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_rows_have_unit_variance() -> None:
    paths = natural_paths(4, 3, 5)
    torch.testing.assert_close((paths.table**2).sum((1, 2)), torch.ones(paths.n_rows, dtype=torch.float64))


def test_natural_paths_are_those_with_an_integral_over_the_sphere() -> None:
    """Every one is a multiple of the Gaunt coefficients, and every triple that has some is there."""
    highest = 4
    paths = natural_paths(highest, highest, highest)
    degrees = range(highest + 1)
    assert set(paths.triples) == {(a, b, c) for a in degrees for b in degrees for c in degrees if gaunt(a, b, c).any()}
    for index, (a, b, c) in enumerate(paths.triples):
        rows = paths.table[paths.path_of_row == index][:, a**2 : (a + 1) ** 2, b**2 : (b + 1) ** 2].numpy()
        magnetic = np.ix_(*(to_magnetic_order(degree) for degree in (a, b, c)))
        integrals = gaunt(a, b, c)[magnetic].transpose(2, 0, 1)
        factor = (rows * integrals).sum() / (integrals**2).sum()
        np.testing.assert_allclose(rows, factor * integrals, rtol=0, atol=1e-13)
        assert abs(factor) > 0.1
