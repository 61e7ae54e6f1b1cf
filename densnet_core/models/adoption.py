"""A new network takes over what a finished one of the same architecture has learned.

A tensor whose axes count elements, states or paths is copied entry by entry, by what the entries are and not by their
place: a model for C, H and O hands its three elements to one for C, H, O and S.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn

Axes = Sequence[Sequence[Hashable]]
"""What the entries along each axis of a tensor are, after it is reshaped to their numbers."""


def adopt(new: nn.Module, old: nn.Module) -> None:
    """Copy parameters and buffers of a module and its parts into another.

    A module says with a method ``named_axes() -> mapping of str to Axes`` what the axes of its own tensors (or of those
    of its parts, as ``part.weight``) are; entries that both know are copied. Other tensors are copied if their shapes
    are the same and stay as they are if not.

    Parameters
    ----------
    new, old : Module
        Of the same architecture.
    """
    axes = [_axes_of(module) for module in (new, old)]
    source = old.state_dict()
    with torch.no_grad():
        for name, value in new.state_dict().items():
            if name not in source:
                continue
            if name in axes[0] and name in axes[1]:
                _copy_common(value, source[name].to(value), axes[0][name], axes[1][name])
            elif value.shape == source[name].shape:
                value.copy_(source[name])


def _axes_of(module: nn.Module) -> dict[str, Axes]:
    found: dict[str, Axes] = {}
    for prefix, part in module.named_modules():
        named = getattr(part, "named_axes", None)
        if named is not None:
            own: Mapping[str, Axes] = named()
            found |= {f"{prefix}.{name}" if prefix else name: axes for name, axes in own.items()}
    return found


def _copy_common(value: Tensor, given: Tensor, new: Axes, old: Axes) -> None:
    places, sources = [], []
    for own, others in zip(new, old, strict=True):
        index = {key: place for place, key in enumerate(others)}
        pairs = [(place, index[key]) for place, key in enumerate(own) if key in index]
        if not pairs:
            return
        places.append(torch.tensor([one for one, _ in pairs], device=value.device))
        sources.append(torch.tensor([other for _, other in pairs], device=value.device))
    view = value.view([len(axis) for axis in new])
    taken = given.reshape([len(axis) for axis in old])
    view[_grid(places)] = taken[_grid(sources)]


def _grid(indices: Sequence[Tensor]) -> tuple[Tensor, ...]:
    n = len(indices)
    return tuple(one.reshape([-1 if axis == place else 1 for axis in range(n)]) for place, one in enumerate(indices))
