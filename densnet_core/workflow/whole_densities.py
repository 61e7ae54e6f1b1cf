"""Densities that a data set gives as coefficients of the whole density, for frames without orbitals.

An unconstrained fit obeys M c = (P|rho), so M c is the exact projection of the reference density and not only of its
fit: with it the difference density is fitted in the same basis and metric, with the constraints that a run asks for, as
if the orbitals were there. In any other basis nothing can be made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from densnet_core.basis.base import Basis, GaussianBasis
from densnet_core.basis.integrals import two_center
from densnet_core.basis.library import basis_by_name, compact_name, name_from_compact
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.method import FitMetric
from densnet_core.errors import DataError
from densnet_core.stores.fits import Fit
from densnet_core.stores.importing import ImportedFrames
from densnet_core.stores.labels import labels_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Array, Structure

ELECTRONS: Final = 0.002
"""Of all electrons: how far an unconstrained fit may be from their number. Functions in a wrong order miss far more."""
BLOCK: Final = 256


def is_whole(fit: Fit) -> bool:
    """Whether a fit is one of whole densities without constraints, which gives their projections."""
    return fit.quantity == "density" and not fit.prior and not fit.constraints


def whole_fit(store: ReferenceStore, basis: Basis, metric: FitMetric) -> Fit | None:
    """The fit of whole densities in a basis and metric; None if the store has none."""
    for fit in map(store.fit, store.fit_names()):
        same = fit.metric == metric and all(z in fit.basis.elements for z in basis.elements)
        if same and is_whole(fit) and all(fit.basis.shells(z) == basis.shells(z) for z in basis.elements):
            return fit
    return None


def projection_from(fit: Fit, structure: Structure, index: int) -> Array:
    """(n_functions,) projection <P|rho> or (P|rho) of the density of a frame, from a fit of whole densities."""
    if fit.metric == "weighted":
        raise DataError(f"The metric of the fit {fit.name!r} depends on the density; it gives no projections.")
    functions = MolecularBasis(fit.basis, structure.numbers)
    metric = two_center(fit.metric, functions, torch.tensor(structure.positions))
    projection: Array = metric.numpy() @ fit.coefficients(index)
    return projection


class WholeDensities:
    """The coefficients in a file that frames without orbitals are fitted from; checked when they are taken up.

    Parameters
    ----------
    file : Path
    frames : ImportedFrames

    Attributes
    ----------
    notes : list of str
        Which coefficients are not kept, and why.

    Raises
    ------
    DataError
        If coefficients do not have the length of their basis or do not hold the electrons.
    """

    def __init__(self, file: Path, frames: ImportedFrames) -> None:
        self.notes: list[str] = []
        self._kept: list[tuple[GaussianBasis, dict[bytes, Array]]] = []
        structures = [structure for structure, _ in frames.records]
        lacking = any("orbitals" not in labels_of(result) for _, result in frames.records)
        for name, coefficients in frames.coefficients.items():
            known = name_from_compact(compact_name(name)) if lacking else None
            if not lacking:
                self.notes.append(f"{name} (coefficients; fits are made anew from the orbitals)")
            elif known is None:
                self.notes.append(f"{name} (coefficients; no basis of this name is known)")
            else:
                basis = basis_by_name(known, {int(z) for structure in structures for z in structure.numbers})
                _check(file, name, basis, structures, coefficients)
                hashes = [structure.content_hash() for structure in structures]
                self._kept.append((basis, dict(zip(hashes, coefficients, strict=True))))

    def keep_in(self, store: ReferenceStore) -> None:
        """Add the coefficients of the store's frames, which must have those of the file in front or behind a fit."""
        for basis, coefficients in self._kept:
            fit = whole_fit(store, basis, "coulomb")
            if fit is None and not (len(store) and store.hashes[0] in coefficients):
                self.notes.append(
                    f"{basis.name} (coefficients; the first frame of the store has none. Import into a new store)"
                )
                continue
            if fit is None:
                fit = store.create_fit(f"{basis.content_hash()[:12]}-coulomb-whole", basis, "coulomb", {}, ())
            ready = []
            for content in store.hashes[len(fit) :]:
                if content not in coefficients:
                    break
                ready.append(coefficients[content])
            for start in range(0, len(ready), BLOCK):
                fit.append(ready[start : start + BLOCK])
            if len(fit) < len(store):
                self.notes.append(
                    f"{basis.name} (coefficients behind frame {len(fit)} of the store, which has none. Import into a "
                    "new store)"
                )


def _check(
    file: Path, name: str, basis: GaussianBasis, structures: Sequence[Structure], coefficients: Sequence[Array]
) -> None:
    for index, (structure, values) in enumerate(zip(structures, coefficients, strict=True)):
        functions = MolecularBasis(basis, structure.numbers)
        if values.shape != (functions.n_functions,) or not np.isfinite(values).all():
            raise DataError(
                f"{file}, frame {index}: the coefficients in {name} have shape {values.shape} or are not finite; "
                f"{structure.formula} has {functions.n_functions} functions in {basis.name}."
            )
        electrons = float(functions.electron_counts().numpy() @ values)
        if not abs(electrons - structure.n_electrons) < ELECTRONS * structure.n_electrons:
            raise DataError(
                f"{file}, frame {index}: the coefficients in {name} hold {electrons:.4f} electrons, "
                f"{structure.formula} has {structure.n_electrons}. Probably the functions of {basis.name} are "
                "ordered or normalised otherwise in the file, or the coefficients are not of the whole density."
            )
