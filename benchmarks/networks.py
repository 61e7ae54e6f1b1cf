"""Untrained networks for the benchmarks; what a call costs does not depend on the values of the parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from measuring import ROOT

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import basis_by_name
from densnet_core.config.load import load_config
from densnet_core.config.schema import Config
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.component import Kind
from densnet_core.potentials.choice import STANDARD, NetworkChoice


def water_config() -> Config:
    """The configuration of the example."""
    return load_config(ROOT / "examples" / "water" / "water.toml")


def basis(elements: Iterable[int]) -> GaussianBasis:
    """The density basis densnet-m."""
    return basis_by_name("densnet-m", sorted({int(z) for z in elements}))


def atoms(elements: Iterable[int]) -> AtomicPrior:
    """A prior of one Gaussian per atom; no energy depends on it."""
    shells = {z: [Shell(0, (0.5 * z,), (1.0,))] for z in sorted({int(z) for z in elements})}
    return AtomicPrior(GaussianBasis("atoms", shells))


def default_choices() -> tuple[NetworkChoice, NetworkChoice]:
    """Both networks with every option at its default."""
    return STANDARD


def build(choices: tuple[NetworkChoice, NetworkChoice], elements: Iterable[int]) -> tuple[DensityModel, EnergyModel]:
    """Networks with random parameters for these elements."""
    torch.manual_seed(0)
    own = basis(int(z) for z in elements)
    specification = DensitySpecification(own, "coulomb", own.elements)
    density = choices[0].build(Kind.DENSITY_MODEL, specification)[0]
    return density, choices[1].build(Kind.ENERGY_MODEL, specification, density=density)[0]
