"""Data sets from the frames of a reference store, which are read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.datasets.dataset import Array, Dataset
from densnet_core.datasets.kept import Kept
from densnet_core.datasets.sequences import Lazy
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import DataError
from densnet_core.stores.fits import Fit
from densnet_core.stores.labels import value_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure

FRAME_CACHE_BYTES: Final = 100_000_000
"""Of the structures and labels of a data set that are kept once read; a small data set is then in memory."""
DIPOLE: Final = "dipole"
OBJECT_BYTES: Final = 200
"""Of an array beside its elements."""


class StoredFrames:
    """Some frames of a store, in an order of their own. It can be sent to other processes, which open the store.

    Parameters
    ----------
    path : Path
        Of the store, which must stay where it is.
    hashes : sequence of bytes
        Content hashes of the frames.
    indices : (n,) int64
        Of the frames in the store.
    fits : mapping
        Name of the fit of each density.
    moments : Fit or None
        That has the dipole moments of frames without such a label.
    """

    def __init__(
        self,
        path: Path,
        hashes: Sequence[bytes],
        indices: NDArray[np.int64],
        fits: Mapping[str, str],
        moments: Fit | None = None,
    ) -> None:
        self.path, self.hashes, self.indices, self.fits = path, list(hashes), indices, dict(fits)
        self.moments = None if moments is None else (moments.name, moments.basis, AtomicPrior.from_dict(moments.prior))
        self._begin()

    def _begin(self) -> None:
        self._store: ReferenceStore | None = None
        self._lock = RLock()
        self._kept: Kept[Any] = Kept(FRAME_CACHE_BYTES, _bytes_of)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_store", "_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def structure(self, index: int) -> Structure:
        """A geometry; ``DataError`` if the store holds another frame at its place by now."""
        found: Structure = self._kept.get((None, index), lambda: self._read_structure(index))
        return found

    def label(self, name: str, index: int) -> Array:
        """A label of a frame that has it; ``DataError`` if it cannot be read."""
        found: Array = self._kept.get((name, index), lambda: self._read_label(name, index))
        return found

    def _opened(self) -> ReferenceStore:
        if self._store is None:
            store = ReferenceStore.open(self.path)
            for table in (store.frame_table, *(store.fit(name).table for name in self.fits.values())):
                table.streams = {name: table.chunks(name) for name in table.columns if not name.endswith("_offsets")}
            self._store = store
        return self._store

    def _read_structure(self, index: int) -> Structure:
        with self._lock:
            structure = self._opened().structure(int(self.indices[index]))
        if structure.content_hash() != self.hashes[index]:
            raise DataError(
                f"Frame {self.indices[index]} of {self.path} is another one than when the training began: the store "
                "was changed meanwhile. Start the training again."
            )
        return structure

    def _read_label(self, name: str, index: int) -> Array:
        place = int(self.indices[index])
        with self._lock:
            store = self._opened()
            if name in self.fits:
                value = store.fit(self.fits[name]).coefficients(place)
            elif name == DIPOLE and self.moments is not None and name not in store.labels(place):
                fit, basis, prior = self.moments
                coefficients = store.fit(fit).coefficients(place)
                value = ExpandedDensity(store.structure(place), basis, coefficients, prior).dipole()
            else:
                value = value_of(store.result(place, labels=[name]), name)
        value = np.asarray(value, dtype=np.float64)
        if not np.isfinite(value).all():
            raise DataError(
                f"The {name} of frame {place} of {self.path} cannot be read; 'densnet data verify' says what is wrong."
            )
        return value


def _bytes_of(value: Structure | Array) -> int:
    if isinstance(value, Structure):
        return value.numbers.nbytes + value.positions.nbytes + 4 * OBJECT_BYTES
    return value.nbytes + OBJECT_BYTES


class StoredStructures(Lazy[Structure]):
    """The geometries of the frames of a store."""

    def __init__(self, frames: StoredFrames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames.indices)

    def one(self, index: int) -> Structure:
        return self.frames.structure(index)


class StoredLabel(Lazy[Array | None]):
    """A label of the frames of a store.

    Parameters
    ----------
    frames : StoredFrames
    name : str
    present : (n,) bool
        Which frames have it.
    """

    def __init__(self, frames: StoredFrames, name: str, present: NDArray[np.bool_]) -> None:
        self.frames, self.name, self.present = frames, name, present

    def __len__(self) -> int:
        return len(self.present)

    def one(self, index: int) -> Array | None:
        return self.frames.label(self.name, index) if self.present[index] else None

    def has(self, index: int) -> bool:
        return bool(self.present[index])


def dataset_of(store: ReferenceStore, hashes: Sequence[str], labels: Iterable[str], fits: Mapping[str, Fit]) -> Dataset:
    """Frames of a store, by content hash, with those of the labels that they have.

    Frames are read from the folder of the store when they are needed, so there may be more than fit in memory.

    Parameters
    ----------
    hashes : sequence of str
        Hexadecimal.
    labels : iterable of str
        Names of labels; a density among them is taken from its fit.
    fits : mapping
        Fit of each density by its name ("density", "density_response", "spin_density"). One of differences to atoms
        that holds dipole moments exactly has the "dipole" of frames without that label.
    """
    contents = [bytes.fromhex(h) for h in hashes]
    indices = np.array([store.index_of(content) for content in contents], dtype=np.int64)
    names = list(dict.fromkeys(labels))
    density = fits.get("density")
    moments = density if density is not None and density.prior and DIPOLE in density.constraints else None
    used = {name: fits[name].name for name in names if name in fits}
    frames = StoredFrames(store.path.resolve(), contents, indices, used, moments)
    there = [store.labels(int(index)) for index in indices]
    present = {
        name: [fits[name].has(int(i)) for i in indices] if name in fits else [name in own for own in there]
        for name in names
    }
    if moments is not None and DIPOLE in present:
        present[DIPOLE] = [own or moments.has(int(i)) for own, i in zip(present[DIPOLE], indices, strict=True)]
    held = {name: StoredLabel(frames, name, np.array(present[name], dtype=bool)) for name in names}
    return Dataset(StoredStructures(frames), held)
