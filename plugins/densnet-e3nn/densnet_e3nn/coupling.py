"""Channel-wise Clebsch-Gordan products as a few dense operations.

A small molecule keeps a network busy with the overhead of its operations, not with arithmetic. So all paths
(l1, l2) -> l3 of a product are done at once: one row k for every pair of path and component of l3, one table of
coupling coefficients (from e3nn's ``wigner_3j``), one batched matrix product.

Only paths with l1 + l2 + l3 even are used: features then keep the natural parity (-1)^l.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor


@dataclass(frozen=True)
class Paths:
    """Paths of a product of features of l <= l1_max with features of l <= l2_max into l3 <= l3_max.

    Parameters
    ----------
    triples : list of (l1, l2, l3)
    table : (n_rows, (l1_max + 1)^2, (l2_max + 1)^2)
        Coupling coefficients, scaled so that independent inputs of unit variance give rows of unit variance.
    path_of_row : (n_rows,) int64
    component_of_row : (n_rows,) int64
        Component (l3, m3) that the row adds to.
    """

    triples: tuple[tuple[int, int, int], ...]
    table: Tensor
    path_of_row: Tensor
    component_of_row: Tensor

    @property
    def n_rows(self) -> int:
        return int(self.path_of_row.shape[0])


def natural_paths(l1_max: int, l2_max: int, l3_max: int) -> Paths:
    """All natural-parity paths, as in ``Paths``."""
    triples = tuple(
        (l1, l2, l3)
        for l3 in range(l3_max + 1)
        for l1 in range(l1_max + 1)
        for l2 in range(l2_max + 1)
        if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0
    )
    tables, paths, components = [], [], []
    for index, (l1, l2, l3) in enumerate(triples):
        coupling = o3.wigner_3j(l1, l2, l3, dtype=torch.float64) * (2 * l3 + 1) ** 0.5
        block = torch.zeros(2 * l3 + 1, (l1_max + 1) ** 2, (l2_max + 1) ** 2, dtype=torch.float64)
        block[:, l1**2 : (l1 + 1) ** 2, l2**2 : (l2 + 1) ** 2] = coupling.permute(2, 0, 1)
        tables.append(block)
        paths += [index] * (2 * l3 + 1)
        components += list(range(l3**2, (l3 + 1) ** 2))
    return Paths(triples, torch.cat(tables), torch.tensor(paths), torch.tensor(components))
