"""Small networks with random parameters, and molecules to feed them."""

from __future__ import annotations

import numpy as np
import torch
from densnet_e3nn.backbone import E3nnBackbone
from densnet_e3nn.config import E3nnOptions
from torch import Tensor, nn

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.library import EvenTempered, even_tempered
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification, states_of
from densnet_core.models.backbone import MakeBackbone, cast_parameters
from densnet_core.models.config import DensityModelOptions, EnergyModelOptions
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.equivariant_energy import EquivariantEnergyModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_statistics
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

ELEMENTS = (1, 6, 8)
OPTIONS = E3nnOptions(channels=8, layers=2, l_max=2, l_max_edge=3, radial_functions=5, radial_width=12)
BASIS: GaussianBasis = even_tempered(
    {
        1: {"s": EvenTempered(0.2, 2.6, 3), "p": EvenTempered(0.4, 2.0, 1)},
        6: {l: EvenTempered(0.25, 2.4, n) for l, n in (("s", 3), ("p", 3), ("d", 2), ("f", 1), ("g", 1))},  # noqa: E741
        8: {l: EvenTempered(0.3, 2.4, n) for l, n in (("s", 4), ("p", 2), ("d", 2), ("f", 1))},  # noqa: E741
    }
)


def molecule(text: str, charge: int = 0) -> Structure:
    """From lines ``atomic number, x, y, z`` in angstrom."""
    rows = np.array([[float(value) for value in line.split()] for line in text.strip().splitlines()])
    numbers = rows[:, 0].astype(np.int64)
    return Structure(numbers, rows[:, 1:] / BOHR_TO_ANGSTROM, charge, 1 + (int(numbers.sum()) - charge) % 2)


WATER = molecule("8 0.0 0.1 0.0\n1 0.8 0.6 0.1\n1 -0.7 0.7 -0.2")
FORMALDEHYDE = molecule("6 0.0 0.0 -0.5\n8 0.1 0.0 0.7\n1 0.9 0.2 -1.1\n1 -0.9 0.0 -1.0")
HYDROXIDE = molecule("1 0.0 0.3 0.9\n8 0.1 0.0 0.0", charge=-1)
HYDRONIUM = molecule("8 0.0 0.0 0.1\n1 0.9 0.1 0.3\n1 -0.5 0.8 0.3\n1 -0.4 -0.8 0.4", charge=1)
CARBON = molecule("6 0.2 -0.4 0.3")
MOLECULES = (WATER, FORMALDEHYDE, HYDROXIDE, HYDRONIUM, CARBON)


def specification(metric: str = "coulomb", largest_factor: float = 1.0) -> DensitySpecification:
    states = states_of(MOLECULES)
    return DensitySpecification(BASIS, metric, ELEMENTS, largest_factor, states)  # type: ignore[arg-type]


def backbone_maker(options: E3nnOptions = OPTIONS) -> MakeBackbone:
    return lambda shape: E3nnBackbone(shape, options)


def make_models(
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    options: E3nnOptions = OPTIONS,
    largest_factor: float = 1.0,
    metric: str = "coulomb",
    charge: str = "flow",
    response: bool = False,
) -> tuple[EquivariantDensityModel, EquivariantEnergyModel]:
    """A density and an energy model with uneven statistics, as after training."""
    torch.manual_seed(seed)
    known = specification(metric, largest_factor)
    kept = DensityModelOptions(charge=charge, response=response)  # type: ignore[arg-type]
    density = EquivariantDensityModel(known, kept, backbone_maker(options))
    energy = EquivariantEnergyModel(known, EnergyModelOptions(channels_in=6, head_width=10), backbone_maker(options))
    offset, scale = uneven_statistics(density.layout, seed)
    density.offset.copy_(offset)
    density.scale.copy_(scale)
    if density.flow is not None:
        density.flow.scale.fill_(0.2)
        nn.init.normal_(density.flow.share, std=0.3)
    if density.response is not None:
        density.response.scale.copy_(3.0 * scale)
    energy.amplitude_offset.copy_(offset)
    energy.amplitude_scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
    energy.atomic_energies.copy_(torch.tensor([-0.5, -37.8, -75.0]))
    energy.state_energies.copy_(torch.tensor([0.3 * charge for charge, _ in known.states]))
    energy.energy_scale.fill_(0.02)
    if density.exponent_head is not None and density.exponent_bias is not None:
        nn.init.normal_(density.exponent_head, std=0.5)
        nn.init.normal_(density.exponent_bias, std=0.5)
    for module in (density, energy):
        module.backbone.neighbors.fill_(20.0)
        cast_parameters(module, dtype)
    return density, energy


def make_densnet(
    dtype: torch.dtype = torch.float64, options: E3nnOptions = OPTIONS, seed: int = 0, response: bool = False
) -> DenSNet:
    """The whole of such models, with a prior of one Gaussian per atom; it can be saved."""
    shells = {z: [Shell(0, (0.5 * z,), (1.0,))] for z in ELEMENTS}
    size = options.model_dump(mode="json")
    given = ({"response": True} if response else {}, {"channels_in": 6, "head_width": 10})
    choices = [NetworkChoice("equivariant", "e3nn", own, size) for own in given]
    prior = AtomicPrior(GaussianBasis("atoms", shells))
    document = {"name": "an example", "config": {}, "provenance": {}, "metrics": {}}
    return DenSNet(*make_models(dtype, seed, options, response=response), prior, choices[0], choices[1], document)


def uneven_statistics(layout: CoefficientLayout, seed: int) -> tuple[Tensor, Tensor]:
    """Offset and scale of amplitudes, of different size for every shell."""
    random = np.random.default_rng(seed)
    species = torch.arange(len(ELEMENTS)).repeat(30)
    spread = torch.tensor(random.uniform(0.05, 0.3, size=(1, len(species), layout.width)))
    amplitudes = torch.tensor(random.normal(size=(layout.n_components, len(species), layout.width))) * spread
    amplitudes = amplitudes * layout.present[species][:, layout.l_of_component].transpose(0, 1)
    amplitudes[0] += 0.1 * layout.present[species][:, 0]
    return amplitude_statistics(layout, [(species, amplitudes)])
