"""Values of the functions of a molecule, put together from those of its groups of shells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis


def in_function_order(functions: MolecularBasis, blocks: Sequence[Tensor]) -> Tensor:
    """(..., n_functions) from one (..., n_shells, 2l+1) block for each of ``functions.groups``."""
    order = torch.argsort(torch.cat([group.functions.reshape(-1) for group in functions.groups]))
    return torch.cat([block.flatten(-2) for block in blocks], dim=-1).index_select(-1, order)
