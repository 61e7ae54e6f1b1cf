"""Density fits kept beside the frames: coefficient vectors in one basis, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.density.method import MOMENTS, FitMetric, Moment
from densnet_core.errors import DataError, InputError
from densnet_core.reference.properties import QUANTITIES, Quantity
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
    metric : {"coulomb", "overlap", "weighted"}
    prior : dict
        Record of the atomic densities that were subtracted before the fit; empty if rho itself was fitted.
    constraints : tuple of {"charge", "dipole", "quadrupole"}
        Which moments of the reference the fit holds exactly.
    quantity : {"density", "density_response", "spin_density"}
        What was fitted. Coefficients of a response are three vectors, one for each direction of the field.
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
            self.metric: FitMetric = attributes["metric"]
            self.prior: dict[str, Any] = attributes["prior"]
            self.constraints = _constraints_of(attributes)
            self.quantity: Quantity = attributes.get("quantity", "density")  # older stores hold no other
            if self.quantity not in QUANTITIES:
                raise ValueError(f"quantity {self.quantity!r}")
            if self.metric not in get_args(FitMetric) or not isinstance(self.prior, dict):
                raise ValueError(f"metric {self.metric!r}, prior of type {type(self.prior).__name__}")
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"The record of the fit {name!r} in {store.root} is damaged: {error!r}.") from error

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        kind = "difference to the prior" if self.prior else f"whole {self.quantity.replace('_', ' ')}"
        return (
            f"Fit({self.name!r}: {len(self)} of {self._n_frames()} frames, {kind}, basis {self.basis.name!r}, "
            f"{self.metric} metric{', exact ' + ' and '.join(self.constraints) if self.constraints else ''})"
        )

    def append(self, coefficients: Sequence[Array]) -> None:
        """Add the coefficients of the next frames, in one commit.

        Parameters
        ----------
        coefficients : sequence of (n_functions,) arrays
            Of frames ``len(fit)``, ``len(fit) + 1``, ...; (3, n_functions), or that in one row, of a response. An
            empty vector for a frame that has no such density.

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
            expected = self.shape(self._numbers(index))
            if values.shape not in (expected, (prod(expected),), (0,)):
                raise InputError(
                    f"Frame {index}: coefficients in {self.basis.name!r} must have shape {expected}, not "
                    f"{values.shape}."
                )
            if not np.isfinite(values).all():
                raise InputError(f"Frame {index}: the coefficients are not finite.")
            frames.append({"coefficients": values.ravel()})
        self.table.append(frames)

    def coefficients(self, index: int) -> Array:
        """(n_functions,) coefficients of a frame, (3, n_functions) of a response; ``InputError`` if it has none."""
        if not 0 <= index < len(self):
            raise InputError(f"The fit {self.name!r} covers frames 0 to {len(self) - 1}; frame {index} is not fitted.")
        values = np.array(self.table.value("coefficients", index), dtype=np.float64)
        if not len(values):
            raise InputError(f"Frame {index} has no density, so the fit {self.name!r} has no coefficients of it.")
        return values if self.quantity != "density_response" else values.reshape(3, -1)

    def has(self, index: int) -> bool:
        """Whether a frame is fitted and has coefficients; those without orbitals have none."""
        if not 0 <= index < len(self):
            return False
        start, stop = self.table.span("coefficient", index)
        return stop > start

    @property
    def gaps(self) -> list[int]:
        """Those of the fitted frames that have no coefficients."""
        return np.flatnonzero(np.diff(self.table.whole("coefficient_offsets")) == 0).tolist()

    def shape(self, numbers: NDArray[np.int64]) -> tuple[int, ...]:
        """Shape of the coefficients of a molecule with these atomic numbers."""
        n_functions = self.basis.n_functions(numbers)
        return (3, n_functions) if self.quantity == "density_response" else (n_functions,)

    def info(self) -> dict[str, Any]:
        """Plain summary, for ``densnet data info``."""
        return {
            "name": self.name,
            "quantity": self.quantity,
            "basis": self.basis.name,
            "basis_hash": self.basis.content_hash(),
            "metric": self.metric,
            "constraints": list(self.constraints),
            "difference_to_prior": bool(self.prior),
            "frames": len(self),
        }


def _constraints_of(attributes: Mapping[str, Any]) -> tuple[Moment, ...]:
    """Constraints as recorded; fits of older stores hold the charge or nothing."""
    if "constraints" not in attributes:
        return ("charge",) if attributes["constrained"] else ()
    recorded = tuple(attributes["constraints"])
    if not set(recorded) <= set(MOMENTS):
        raise ValueError(f"constraints {recorded!r}")
    return recorded


def create_fit_table(
    store: DurableStore,
    name: str,
    lock: WriterLock,
    basis: Basis,
    metric: str,
    prior: Mapping[str, Any],
    constraints: Sequence[Moment],
    quantity: Quantity = "density",
) -> None:
    """Make the empty table of a fit; what an interrupted creation left is removed first."""
    if quantity not in QUANTITIES:
        raise InputError(f"A fit is of one of {', '.join(QUANTITIES)}, not {quantity!r}.")
    if metric not in get_args(FitMetric):
        raise InputError(f"The metric of a fit is one of {', '.join(get_args(FitMetric))}, not {metric!r}.")
    if unknown := [moment for moment in constraints if moment not in MOMENTS]:
        raise InputError(f"A fit can hold {', '.join(MOMENTS)} exactly, not {unknown[0]!r}.")
    folder = store.root / "fits" / name
    if folder.is_dir():
        remove_group(folder)
        sync_folder(folder.parent)
    record: dict[str, Any] = {
        "basis": basis.to_dict(),
        "metric": metric,
        "prior": dict(prior),
        "constraints": list(constraints),
        "quantity": quantity,
    }
    Table.create(store, f"fits/{name}", COEFFICIENT_COLUMNS, lock, record)
