"""Leading dimensions of positions, exponents and coefficients, brought together."""

from __future__ import annotations

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis


def batch_of(*tensors: tuple[Tensor, int], bases: tuple[MolecularBasis, ...]) -> tuple[int, ...]:
    """Leading dimensions of tensors, each with its number of other dimensions, and of the exponents of bases."""
    shapes = [tensor.shape[: tensor.dim() - n_dims] for tensor, n_dims in tensors]
    shapes += [group.exponents.shape[:-2] for functions in bases for group in functions.groups]
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def flat(tensor: Tensor, n_dims: int, batch: tuple[int, ...]) -> Tensor:
    """(n_batch, ...) with n_dims dimensions after the batch."""
    rest = tensor.shape[tensor.dim() - n_dims :]
    return tensor.expand(*batch, *rest).reshape(-1, *rest)
