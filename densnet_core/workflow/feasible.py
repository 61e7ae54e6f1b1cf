"""What would stop a run in its first minutes, found before anything is computed."""

from __future__ import annotations

import numpy as np

from densnet_core.errors import ConfigError, DenSNetError, InputError
from densnet_core.reference.checks import check_structure
from densnet_core.reference.runner import BackendFactory
from densnet_core.structures import Structure
from densnet_core.workflow.sampling import SamplingPlan


def check_calculation(source: str, factory: BackendFactory, structure: Structure) -> None:
    """``ConfigError`` if the backend cannot compute this molecule at its level of theory.

    Unknown methods and bases, elements without functions or with effective core potentials, electrons that do not fit
    into the functions, atoms that coincide.

    Parameters
    ----------
    source : str
        Name of the configuration file, for the message.
    """
    try:
        check_structure(structure, factory.make().orbital_basis(np.unique(structure.numbers)))
    except InputError as error:
        raise ConfigError(f"{source}: reference: {error}") from error


def check_sampling(source: str, plan: SamplingPlan, structure: Structure) -> None:
    """``ConfigError`` if the samplers cannot begin with this molecule."""
    try:
        plan.check(structure)
    except DenSNetError as error:
        raise ConfigError(f"{source}: sampling: {error}") from error
