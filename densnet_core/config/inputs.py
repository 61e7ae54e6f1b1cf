"""Checks of what a configuration refers to outside itself, each for the stages that need it."""

from __future__ import annotations

from math import ceil
from typing import Final

from densnet_core.basis.base import GaussianBasis
from densnet_core.config.schema import Config
from densnet_core.errors import ConfigError, DenSNetError
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager
from densnet_core.spectra.windows import fewest_lags, rounded_up
from densnet_core.structures import Structure, read_geometry
from densnet_core.units import ATOMIC_TIME_TO_FEMTOSECOND

SMILES_SAMPLER: Final = "conformers"
"""The sampler that turns [system] smiles into a geometry."""


def molecule_of(config: Config, manager: Manager) -> Structure:
    """The molecule of [system]; ``ConfigError`` if it cannot be read or built, or has no electrons."""
    system, source = config.needed_system(), config.source.name
    try:
        if system.geometry is not None:
            structure = read_geometry(system.geometry, system.charge, system.multiplicity)
        else:
            component = manager.find(Kind.SAMPLER, SMILES_SAMPLER)
            options = manager.options(component, {"smiles": system.smiles, "count": 1})
            structure = manager.load(component)(options).build(system.charge, system.multiplicity)[0]
    except DenSNetError as error:
        raise ConfigError(f"{source}: system.{'smiles' if system.geometry is None else 'geometry'}: {error}") from error
    if structure.n_electrons < 1:
        raise ConfigError(
            f"{source}: system.charge: {structure.formula} with charge {structure.charge} has no electrons."
        )
    return structure


def basis_for(config: Config, elements: list[int]) -> GaussianBasis:
    """The density basis for these atomic numbers; ``ConfigError`` if it does not cover them."""
    try:
        return config.needed_basis().build(elements)
    except DenSNetError as error:
        raise ConfigError(f"{config.source.name}: basis: {error}") from error


def check_properties(config: Config, structure: Structure) -> None:
    """``ConfigError`` if the dispersion lacks the functional, or a spin density is of a closed shell."""
    reference, source = config.needed_reference(), config.source.name
    if reference.dispersion is not None:
        from densnet_core.reference.dispersion import Dispersion

        try:
            Dispersion(reference.method, reference.dispersion)
        except DenSNetError as error:
            raise ConfigError(f"{source}: reference.dispersion: {error}") from error
    if "spin_density" in reference.properties and structure.multiplicity == 1:
        raise ConfigError(
            f"{source}: reference.properties: the spin density of a singlet is zero. Set system.multiplicity, or leave "
            "'spin_density' out."
        )


def check_counts(config: Config, made: int | None) -> None:
    """``ConfigError`` if fewer geometries are made than training needs.

    Parameters
    ----------
    made : int or None
        Geometries that the sampler makes at most; None: that is not known beforehand.
    """
    name, wanted, keep = config.source.name, config.training.frames, config.sampling.select
    if keep is not None and made is not None and made < keep.count:
        raise ConfigError(f"{name}: sampling.select.count = {keep.count}, but sampling.count = {made}. Sample more.")
    for key, limit in (("sampling.count", made), ("sampling.select.count", None if keep is None else keep.count)):
        if limit is not None and limit < wanted:
            raise ConfigError(
                f"{name}: training: train + validation + test = {wanted} frames, but {key} = {limit}. Sample more or "
                "train on fewer."
            )


def check_spectrum(config: Config) -> None:
    """``ConfigError`` if the trajectories will be too short for the spectrum; run it before the dynamics."""
    section, md = config.spectrum, config.md
    interval_ps = md.time_step_fs * md.record_every * 1e-3
    lags = round(md.nve_ps * 1e3 / md.time_step_fs) // md.record_every
    needed = fewest_lags(section.window, section.resolution, interval_ps * 1e3 / ATOMIC_TIME_TO_FEMTOSECOND)
    if lags < needed:
        raise ConfigError(
            f"{config.source.name}: spectrum.resolution = {section.resolution:g} cm^-1 needs md.nve_ps of at least "
            f"{rounded_up(needed * interval_ps)}, found {md.nve_ps:g}. Run longer, or take a resolution of at least "
            f"{ceil(section.resolution * needed / max(lags, 1))}."
        )
