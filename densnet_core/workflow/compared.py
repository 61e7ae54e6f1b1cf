"""Harmonic lines to stand beside a spectrum: files of ``densnet vibrations``, conformers of one source together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.config.dynamics import SpectrumSection
from densnet_core.errors import InputError
from densnet_core.spectra.lines import Conformer, HarmonicLines
from densnet_core.spectra.weights import boltzmann, shares
from densnet_core.structures import Structure
from densnet_core.workflow.harmonic import harmonic_from
from densnet_core.workflow.vibration_files import described, read_any_modes
from densnet_core.workflow.weighted import Weighted

Array = NDArray[np.float64]


def files_of(section: SpectrumSection) -> list[Weighted]:
    """Those that [spectrum] names, with their weights."""
    files = section.compare or []
    if section.compare_weights is None:
        return [Weighted(file) for file in files]
    return [Weighted(*one) for one in zip(files, section.compare_weights, strict=True)]


def lines_of_files(files: Sequence[Weighted], structure: Structure, temperature: float) -> list[HarmonicLines]:
    """Lines of each model, or backend and level of theory, in the order in which they are named first.

    The files of one source are conformers of the molecule, with the weights given, or else with those that Boltzmann's
    distribution of their energies has; a file given twice counts twice, as a conformer with a mirror image does.

    Parameters
    ----------
    files : sequence of Weighted
        ``modes.json`` of ``densnet vibrations``.
    structure : Structure
        The molecule.
    temperature : float
        Kelvin, for weights that are not given.

    Raises
    ------
    InputError, DataError
        A file is not there, is none of these, or of another molecule; or weights are missing and energies do not give
        them.
    """
    sources: dict[tuple[str, str], list[tuple[Weighted, dict[str, Any]]]] = {}
    for file in files:
        record = read_any_modes(file.path)
        check_alike(structure, harmonic_from(record).structure, str(file.path))
        source = record["source"]
        key = (described(source), str(source.get("path", "")))
        sources.setdefault(key, []).append((file, record))
    for (label, _), members in sources.items():
        alone = len(members) == 1 < len(files) and members[0][0].weight is not None
        if alone:
            raise InputError(
                f"{members[0][0].path} has a weight and is the only file of {label}: weights divide the molecules "
                "among conformers of one model, or of one backend and level of theory. Leave it out."
            )
    return [_lines(label, members, temperature) for (label, _), members in sources.items()]


def _lines(label: str, members: Sequence[tuple[Weighted, dict[str, Any]]], temperature: float) -> HarmonicLines:
    given = shares([file.weight for file, _ in members], f"files of {label}")
    weights = _populations(label, members, temperature) if given is None else given
    conformers = [
        Conformer.of(harmonic_from(record), str(file.path), float(weight))
        for (file, record), weight in zip(members, weights, strict=True)
    ]
    several = len(members) > 1
    origin = f"energies at {temperature:.0f} K" if given is None else "given"
    return HarmonicLines(label, tuple(conformers), origin if several else "")


def _populations(label: str, members: Sequence[tuple[Weighted, Mapping[str, Any]]], temperature: float) -> Array:
    if len(members) == 1:
        return np.ones(1)
    odd = [str(file.path) for file, record in members if record.get("stationary_point") != "minimum"]
    if odd:
        raise InputError(
            f"{', '.join(odd)}: no minimum, so that its energy says nothing of how many molecules are like it. Give "
            f"the files of {label} weights, FILE=WEIGHT."
        )
    energies = [record.get("energy_hartree") for _, record in members]
    if not all(isinstance(energy, float) and np.isfinite(energy) for energy in energies):
        raise InputError(f"The files of {label} have no energies; give them weights, FILE=WEIGHT.")
    return boltzmann([float(energy or 0.0) for energy in energies], temperature)


def check_alike(structure: Structure, other: Structure, name: str) -> None:
    """``InputError`` unless two structures have the same nuclei, in whatever order, charge and multiplicity.

    Parameters
    ----------
    name : str
        Of the other, for the message.
    """

    def nuclei(one: Structure) -> list[tuple[int, float]]:
        return sorted(zip(one.numbers.tolist(), one.masses.tolist(), strict=True))

    if nuclei(structure) != nuclei(other):
        isotopes = sorted(structure.numbers) == sorted(other.numbers)
        what = f"{other.formula} with other isotopes" if isotopes else other.formula
        raise InputError(
            f"{name} is of {what}, the first trajectory of {structure.formula}; name files of one molecule."
        )
    if (structure.charge, structure.multiplicity) != (other.charge, other.multiplicity):
        raise InputError(
            f"{name} is of charge {other.charge} and multiplicity {other.multiplicity}, the first trajectory of "
            f"{structure.charge} and {structure.multiplicity}; name files of one molecule."
        )
