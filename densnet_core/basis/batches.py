"""Leading dimensions of positions, exponents and coefficients, brought together."""

from __future__ import annotations

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.errors import InputError


def batch_of(*tensors: tuple[Tensor, int], bases: tuple[MolecularBasis, ...]) -> tuple[int, ...]:
    """Leading dimensions of tensors, each with its number of other dimensions, and of the exponents of bases."""
    shapes = [tensor.shape[: tensor.dim() - n_dims] for tensor, n_dims in tensors]
    shapes += [group.exponents.shape[:-2] for functions in bases for group in functions.groups]
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def precision_of(left: MolecularBasis, right: MolecularBasis) -> torch.dtype:
    """The dtype of the exponents; ``InputError`` if the bases differ in it."""
    found = {group.exponents.dtype for functions in (left, right) for group in functions.groups}
    if len(found) > 1:
        raise InputError(
            f"The exponents are {' and '.join(sorted(map(str, found)))}; make both bases, and what scales them, of one "
            "dtype."
        )
    return found.pop()


def flat(tensor: Tensor, n_dims: int, batch: tuple[int, ...]) -> Tensor:
    """(n_batch, ...) with n_dims dimensions after the batch."""
    rest = tensor.shape[tensor.dim() - n_dims :]
    return tensor.expand(*batch, *rest).reshape(-1, *rest)
