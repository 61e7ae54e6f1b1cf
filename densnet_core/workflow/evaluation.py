"""A trained model against a store of labelled frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from densnet_core.density.electron import ExpandedDensity, OrbitalDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import DataError, InputError
from densnet_core.models.domain import Composition
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.fits import Fit
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import read_split
from densnet_core.structures import Array, Structure
from densnet_core.training.evaluation import ErrorSummary, FrameErrors, frame_errors
from densnet_core.workflow.labels import fit_name_in
from densnet_core.workflow.project import Project
from densnet_core.workflow.reporter import Advance

BATCH = 32
_Found = tuple[ExpandedDensity, float | None, Array | None, Array | None]
"""Density, energy, forces, polarizability."""
LABELS: Final = ("energy", "forces", "dipole", "orbitals", "occupations", "polarizability")


def frames_to_evaluate(model: DenSNet, store: ReferenceStore, part: str) -> tuple[list[int], int]:
    """Indices of the frames to evaluate on, and how many training frames of the model were left out.

    Parameters
    ----------
    part : {"auto", "test", "all"}
        ``auto`` is the held-out part if the store has a split, otherwise all frames; frames that the model was
        trained on are never among them.

    Raises
    ------
    InputError
        If nothing is left, or test frames are asked for where there is no split.
    DataError
        If the split was lost.
    """
    hashes = [content.hex() for content in store.hashes]
    chosen = list(range(len(hashes)))
    split = None if part == "all" else read_split(store)
    if part == "test" and split is None:
        raise InputError(
            f"{store.path} has no split, so no frame of it is a test frame; make one with densnet data split."
        )
    if split is not None:
        held_out = set(split["test"])
        chosen = [i for i in chosen if hashes[i] in held_out]
    seen = set(model.document.get("training_frames", []))
    kept = [i for i in chosen if hashes[i] not in seen]
    if not kept:
        raise InputError(
            f"No frame of {store.path} is left to evaluate: {len(hashes)} in all, {len(chosen)} chosen, of which the "
            f"model was trained on {len(chosen) - len(kept)}."
        )
    return kept, len(chosen) - len(kept)


def evaluate(
    model: DenSNet,
    store: ReferenceStore,
    fit: Fit | None,
    indices: Sequence[int],
    advance: Advance | None = None,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Errors of a model on frames of a store, as ``densnet evaluate --json`` prints them.

    Parameters
    ----------
    fit : Fit or None
        The store's fit in the basis that the model learned from; its coefficients give the fit floor. Where the
        exponents move that is the large set of the labels: its floor is then that of the reference the model learned,
        and what the model's own functions cannot represent is part of the model's error. None: no errors of densities.
    picture : Path or None
        Where to draw energies and forces of the model against those of the reference, a PNG.

    Raises
    ------
    DataError
        The fit is in another basis.
    """
    summary = ErrorSummary()
    for frame in errors_of_frames(model, store, fit, indices):
        summary.add(frame)
        if advance is not None:
            advance(len(summary.frames), "frames")
    record = summary.to_dict()
    if picture is not None:
        summary.draw_parity(picture)
    return record


def errors_of_frames(
    model: DenSNet, store: ReferenceStore, fit: Fit | None, indices: Sequence[int]
) -> Iterator[FrameErrors]:
    """Errors of a model on frames of a store, each in what it has; see ``evaluate``.

    Frames of a composition whose energy has no meaning in the model have none of energy and forces.
    """
    basis = model.specification.label_basis
    if fit is not None and fit.basis.content_hash() != basis.content_hash():
        raise DataError(f"The fit {fit.name!r} of {store.path} is not in the basis that the model learned from.")
    if basis.content_hash() == model.specification.basis.content_hash():
        basis = model.specification.basis  # the same object, so that functions are evaluated once for fit and model
    atoms = None if fit is None else AtomicPrior.from_dict(fit.prior)
    orbital_basis = store.orbital_basis
    for start in range(0, len(indices), BATCH):
        chosen = list(indices[start : start + BATCH])
        have = [tuple(name for name in LABELS if name in store.labels(i)) for i in chosen]
        frames = [(store.structure(i), store.result(i, labels=names)) for i, names in zip(chosen, have, strict=True)]
        for index, (structure, result), names, found in zip(
            chosen, frames, have, _predictions(model, [structure for structure, _ in frames]), strict=True
        ):
            density, energy, forces, tensor = found
            reference, fitted, dipole = None, None, result.dipole if "dipole" in names else None
            expected = result.polarizability if "polarizability" in names else None
            if "orbitals" in names and orbital_basis is not None:
                reference = OrbitalDensity(structure, orbital_basis, result.orbitals, result.occupations)
                if dipole is None:  # an imported file may lack dipoles; its orbitals have them
                    dipole = reference.dipole()
                if fit is not None and atoms is not None and fit.has(index):
                    fitted = ExpandedDensity(structure, basis, fit.coefficients(index), atoms)
            yield frame_errors(
                structure,
                density,
                None if reference is None or fitted is None else (reference, fitted),
                (energy, result.energy) if energy is not None and "energy" in names else None,
                (forces, result.forces) if forces is not None and "forces" in names else None,
                dipole,
                None if tensor is None or expected is None else (tensor, expected),
            )


def held_out_errors(run: Project, model: DenSNet) -> dict[str, Any]:
    """Errors on the held-out frames of a run: of all, under "stores" and "formulas" of each store and formula."""
    advance = run.reporter.task("evaluating", sum(len(own["test"]) for own in run.parts))
    everything, formulas, stores = ErrorSummary(), dict[str, ErrorSummary](), dict[str, ErrorSummary]()
    unlearned: dict[str, None] = {}
    for source, own in zip(run.sources, run.parts, strict=True):
        if not own["test"]:
            run.reporter.note(f"{source.path} holds no frame out, so it has no errors.")
            continue
        of_store = stores.setdefault(str(source.path), ErrorSummary())
        with ReferenceStore.open(source.path) as store:
            name = fit_name_in(store, model.specification.label_basis, model.label_method, model.prior)
            fit = store.fit(name) if name in store.fit_names() else None
            indices = [store.index_of(bytes.fromhex(content)) for content in own["test"]]
            for frame in errors_of_frames(model, store, fit, indices):
                of_formula = formulas.setdefault(_species(frame.structure), ErrorSummary())
                for summary in (everything, of_store, of_formula):
                    summary.add(frame)
                if not model.domain.knows_energy(Composition.of(frame.structure)):
                    unlearned[frame.structure.formula] = None
                advance(len(everything.frames), "frames")
    if unlearned:
        run.reporter.note(
            f"Energies and forces of {', '.join(unlearned)} are not evaluated: no training frame fixes the origin of "
            "their energies."
        )
    if not everything.frames:
        return {"frames": 0, "stores": {}, "formulas": {}}
    everything.draw_parity(run.folder.parity)
    return {
        **everything.to_dict(),
        "stores": {path: summary.to_dict() for path, summary in stores.items()},
        "formulas": {name: summary.to_dict() for name, summary in sorted(formulas.items())},
    }


def _species(structure: Structure) -> str:
    """Formula with charge and, of an open shell, multiplicity: ``"HO-"``, ``"H2O"``, ``"CH3 (multiplicity 2)"``."""
    charge = structure.charge
    sign = "" if not charge else ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")
    spin = "" if structure.multiplicity == 1 else f" (multiplicity {structure.multiplicity})"
    return f"{structure.formula}{sign}{spin}"


def _predictions(model: DenSNet, structures: Sequence[Structure]) -> list[_Found]:
    """What the model says of each structure; what follows from densities alone where the energy has no meaning."""
    known = [model.domain.knows_energy(Composition.of(structure)) for structure in structures]
    whole = iter(model.predict([s for s, knows in zip(structures, known, strict=True) if knows]))
    bare = iter(model.densities([s for s, knows in zip(structures, known, strict=True) if not knows]))
    found: list[_Found] = []
    for structure, knows in zip(structures, known, strict=True):
        if knows:
            one = next(whole)
            found.append((one.density, one.energy, one.forces, one.polarizability))
        else:
            tensor = None
            if "polarizability" in model.outputs:
                (tensor,) = model.along(structure, structure.positions[None], "polarizability")
            found.append((next(bare), None, None, tensor))
    return found
