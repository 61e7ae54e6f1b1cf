"""The density basis of a run optimised on its own training frames: ``[basis] exponents = "element"``."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from densnet_core.basis.base import SHELL_LETTERS, GaussianBasis
from densnet_core.config.basis import BasisOptimization
from densnet_core.elements import symbol
from densnet_core.errors import DataError
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import SPLIT
from densnet_core.workflow.bases import optimize_basis
from densnet_core.workflow.reporter import Reporter


def shell_counts(basis: GaussianBasis) -> str:
    """The shells of a basis as ``optimize_basis`` reads them, for example ``"H=4s3p1d O=8s6p4d3f1g"``."""
    rows = []
    for z in basis.elements:
        degrees = [shell.l for shell in basis.shells(z)]
        counts = "".join(f"{degrees.count(l_)}{letter}" for l_, letter in enumerate(SHELL_LETTERS) if l_ in degrees)
        rows.append(f"{symbol(z)}={counts}")
    return " ".join(rows)


def optimize_on_training_frames(
    path: Path, given: GaussianBasis, options: BasisOptimization, output: Path, scratch: Path, reporter: Reporter
) -> None:
    """Optimise a basis with as many shells as ``given`` on training frames of a store and write it as JSON.

    Validation and test frames have no part in it.

    Parameters
    ----------
    path : Path
        Reference store with a split.
    given : GaussianBasis
    options : BasisOptimization
    output : Path
        The file of the basis.
    scratch : Path
        Folder in which a store of the chosen frames lies meanwhile.
    reporter : Reporter
    """
    chosen = scratch / "basis-frames.zarr"
    shutil.rmtree(chosen, ignore_errors=True)
    try:
        count = _copy_training_frames(path, chosen, options)
        name = f"{given.name}-element"
        optimize_basis([chosen], shell_counts(given), name, output, count, options.iterations, options.seed, reporter)
    finally:
        shutil.rmtree(chosen, ignore_errors=True)


def _copy_training_frames(path: Path, target: Path, options: BasisOptimization) -> int:
    """A store of training frames drawn at random; returns their number."""
    with ReferenceStore.open(path) as store:
        training = store.read_document(SPLIT)["train"]
        drawn = np.random.default_rng(options.seed).permutation(len(training))[: options.frames]
        indices = sorted(store.index_of(bytes.fromhex(training[i])) for i in drawn)
        orbital_basis = store.orbital_basis
        if orbital_basis is None:
            raise DataError(f"{path} holds no orbitals, so no basis can be optimised on its frames.")
        with ReferenceStore.create(target, store.level, store.backend, store.versions) as chosen:
            chosen.set_orbital_basis(orbital_basis)
            chosen.append(store.frames(indices))
    return len(indices)
