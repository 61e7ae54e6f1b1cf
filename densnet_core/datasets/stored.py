"""Data sets from the frames of a reference store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from densnet_core.datasets.dataset import Array, Dataset
from densnet_core.stores.fits import Fit
from densnet_core.stores.labels import LABELS
from densnet_core.stores.reference import ReferenceStore


def dataset_of(store: ReferenceStore, hashes: Sequence[str], labels: Iterable[str], fits: Mapping[str, Fit]) -> Dataset:
    """Frames of a store, by content hash, with those of the labels that they have.

    Parameters
    ----------
    hashes : sequence of str
        Hexadecimal.
    labels : iterable of str
        Names of labels; a density among them is taken from its fit.
    fits : mapping
        Fit of each density by its name ("density", "density_response", "spin_density").
    """
    indices = [store.index_of(bytes.fromhex(h)) for h in hashes]
    names = list(dict.fromkeys(labels))
    held: dict[str, list[Array | None]] = {name: [] for name in names}
    for index in indices:
        present = [name for name in names if name not in fits and name in store.labels(index)]
        result = store.result(index, labels=present)
        for name in names:
            if name in fits:
                held[name].append(fits[name].coefficients(index) if fits[name].has(index) else None)
            elif name in present:
                value = getattr(result, name) if name in LABELS else result.more[name]
                held[name].append(np.asarray(value, dtype=np.float64))
            else:
                held[name].append(None)
    return Dataset([store.structure(i) for i in indices], held)
