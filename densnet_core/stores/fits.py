"""Density fits kept beside the frames: coefficient vectors in one basis, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.errors import DataError, InputError
from densnet_core.reference.base import Metric
from densnet_core.stores.arrays import Column
from densnet_core.stores.commit import WriterLock, sync_folder
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.records import remove_group
from densnet_core.stores.table import Table

Array = NDArray[np.float64]

COEFFICIENT_COLUMNS: Final = (
    Column(
        "coefficients",
        "<f8",
        "electrons bohr^(-3/2)",
        "coefficients of all frames; atoms in their order, functions of an atom in the order of the basis",
        axis="coefficient",
        chunk_rows=65536,
    ),
)


class Fit:
    """Coefficients of the fitted density for the first ``len(fit)`` frames of a store, in the frames' order.

    Get one from ``ReferenceStore.create_fit`` or ``ReferenceStore.fit``.

    Attributes
    ----------
    name : str
    basis : GaussianBasis
    metric : {"coulomb", "overlap"}
    prior : dict
        Record of the atomic densities that were subtracted before the fit; empty if rho itself was fitted.
    constrained : bool
        True if the fit was made to hold the exact number of electrons.
    """

    def __init__(
        self,
        store: DurableStore,
        name: str,
        lock: WriterLock | None,
        numbers: Callable[[int], NDArray[np.int64]],
        n_frames: Callable[[], int],
    ) -> None:
        self.name = name
        self.table = Table(store, f"fits/{name}", COEFFICIENT_COLUMNS, lock)
        self._numbers = numbers
        self._n_frames = n_frames
        attributes = self.table.attributes
        try:
            self.basis = GaussianBasis.from_dict(attributes["basis"])
            self.metric: Metric = attributes["metric"]
            self.prior: dict[str, Any] = attributes["prior"]
            self.constrained = bool(attributes["constrained"])
            if self.metric not in get_args(Metric) or not isinstance(self.prior, dict):
                raise ValueError(f"metric {self.metric!r}, prior of type {type(self.prior).__name__}")
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"The record of the fit {name!r} in {store.root} is damaged: {error!r}.") from error

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        kind = "difference to the prior" if self.prior else "whole density"
        return (
            f"Fit({self.name!r}: {len(self)} of {self._n_frames()} frames, {kind}, basis {self.basis.name!r}, "
            f"{self.metric} metric{', exact charge' if self.constrained else ''})"
        )

    def append(self, coefficients: Sequence[Array]) -> None:
        """Add the coefficients of the next frames, in one commit.

        Parameters
        ----------
        coefficients : sequence of (n_functions,) arrays
            Of frames ``len(fit)``, ``len(fit) + 1``, ...

        Raises
        ------
        InputError
            If there is no such frame, or a vector is not finite or has not one entry per function of its frame.
        """
        first = len(self)
        if first + len(coefficients) > self._n_frames():
            raise InputError(
                f"{len(coefficients)} more coefficient vectors for the fit {self.name!r}, which has {first}: the store "
                f"has only {self._n_frames()} frames."
            )
        frames = []
        for index, vector in enumerate(coefficients, start=first):
            values = np.asarray(vector, dtype=np.float64)
            expected = (self.basis.n_functions(self._numbers(index)),)
            if values.shape != expected:
                raise InputError(
                    f"Frame {index}: coefficients in {self.basis.name!r} must have shape {expected}, not "
                    f"{values.shape}."
                )
            if not np.isfinite(values).all():
                raise InputError(f"Frame {index}: the coefficients are not finite.")
            frames.append({"coefficients": values})
        self.table.append(frames)

    def coefficients(self, index: int) -> Array:
        """(n_functions,) coefficients of a frame; ``InputError`` if the fit has not come to it."""
        if not 0 <= index < len(self):
            raise InputError(f"The fit {self.name!r} covers frames 0 to {len(self) - 1}; frame {index} is not fitted.")
        return np.array(self.table.value("coefficients", index), dtype=np.float64)

    def info(self) -> dict[str, Any]:
        """Plain summary, for ``densnet data info``."""
        return {
            "name": self.name,
            "basis": self.basis.name,
            "basis_hash": self.basis.content_hash(),
            "metric": self.metric,
            "constrained": self.constrained,
            "difference_to_prior": bool(self.prior),
            "frames": len(self),
        }


def create_fit_table(
    store: DurableStore,
    name: str,
    lock: WriterLock,
    basis: Basis,
    metric: str,
    prior: Mapping[str, Any],
    constrained: bool,
) -> None:
    """Make the empty table of a fit; what an interrupted creation left is removed first."""
    if metric not in get_args(Metric):
        raise InputError(f"The metric of a fit is one of {', '.join(get_args(Metric))}, not {metric!r}.")
    folder = store.root / "fits" / name
    if folder.is_dir():
        remove_group(folder)
        sync_folder(folder.parent)
    record = {"basis": basis.to_dict(), "metric": metric, "prior": dict(prior), "constrained": constrained}
    Table.create(store, f"fits/{name}", COEFFICIENT_COLUMNS, lock, record)
