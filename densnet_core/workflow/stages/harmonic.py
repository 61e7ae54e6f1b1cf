"""The stage ``harmonic``: minimum, Hessian and dipole derivatives at the level of theory of the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densnet_core.config.inputs import check_properties
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.stores.molecules import structure_record
from densnet_core.workflow.feasible import check_calculation
from densnet_core.workflow.folder import write_json
from densnet_core.workflow.keys import identity
from densnet_core.workflow.project import Project
from densnet_core.workflow.stages.base import Stage


class Harmonic(Stage):
    """Needs [system] and [reference]."""

    name = "harmonic"

    def needs(self, run: Project) -> tuple[str, ...]:
        run.config.needed_system()
        return ()

    def outputs(self, run: Project) -> tuple[Path, ...]:
        return (run.folder.harmonic,)

    def owned(self, run: Project, key: str) -> Mapping[Path, str | None]:
        return {run.folder.harmonic: key, run.harmonic_store: None}

    def key(self, run: Project) -> dict[str, Any]:
        return {**labelled(run), **isotopes(run)}

    def check(self, run: Project) -> None:
        check_labels(run)

    def summary(self, run: Project) -> str:
        return f"minimum and second derivatives of {run.structure.formula}, {run.level}"

    def work(self, run: Project) -> None:
        from densnet_core.spectra.harmonic import harmonic_reference
        from densnet_core.workflow.harmonic import harmonic_record
        from densnet_core.workflow.labels import calculator, open_store

        advance = run.reporter.task("calculations", 0)
        with open_store(run.harmonic_store, run.factory, run.backend.component.name) as store:
            calculate = calculator(store, run.factory, run.executor, advance)
            found = harmonic_reference(calculate, run.structure)
        write_json(run.folder.harmonic, harmonic_record(found))

    def result(self, run: Project) -> HarmonicReference:
        return run.harmonic()


def check_labels(run: Project) -> None:
    """``ConfigError`` if the level of theory, or the backend, cannot do what is asked of it for this molecule."""
    check_properties(run.config, run.structure)
    check_calculation(run.name, run.factory, run.structure)


def molecule(run: Project) -> dict[str, Any]:
    """The molecule of [system] as part of a key.

    A geometry made from SMILES may differ in the last digits from one machine to the next; the molecule does not.
    """
    system, structure = run.config.needed_system(), run.structure
    found: Any = structure.content_hash().hex()
    if system.smiles is not None:
        found = [system.smiles, system.charge, system.multiplicity]
    # Charges and spins of fragments are an input of the models.
    fragments = structure_record(structure)["fragments"] if structure.fragments else None
    return {"molecule": found, "fragments": fragments}


def labelled(run: Project) -> dict[str, Any]:
    """What labels depend on besides the geometry."""
    return {**molecule(run), "level": str(run.level), "backend": identity(run.backend, run.manager)}


def isotopes(run: Project) -> dict[str, Any]:
    """Not among what labels depend on, but what moves does."""
    masses = run.structure.isotope_masses
    return {"isotopes": None if masses is None else masses.tolist()}
