"""The density model ``bonds``: every atom's part of the density from its own bonds."""

from __future__ import annotations

import torch
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.density.specification import DensitySpecification
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.backbone import MakeBackbone
from densnet_core.models.density import DensityModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.statistics import amplitude_statistics, charge_scale, training_amplitudes
from torch import Tensor, nn

from densnet_bonds.config import BondsOptions
from densnet_bonds.features import BondFeatures, Bonds, in_layout_order
from densnet_bonds.flow import BondFlow, gains


class BondsDensityModel(DensityModel):
    """Amplitudes y_l = offset + scale * head(B_l), then the s amplitudes moved to the electrons that flows decide.

    ``CoefficientLayout`` turns orthonormal amplitudes into coefficients: shells of one atom overlap strongly, and their
    coefficients would be large numbers that cancel. Charge and spin are no ``inputs``, so DenSNet refuses to train this
    model on data in which they differ; the charge of an ion is shared equally among its atoms before electrons flow.

    Raises
    ------
    InputError
        The configuration lets exponents move, or an element has no s function to hold its electrons.
    """

    extra_l = 0
    """Angular momenta of the features beyond those of the basis."""

    def __init__(
        self,
        specification: DensitySpecification,
        options: BondsOptions | None = None,
        make_backbone: MakeBackbone | None = None,
    ) -> None:
        super().__init__(specification, options, make_backbone)
        if specification.adapts_exponents:
            raise InputError("The model 'bonds' cannot move exponents; leave out [basis] exponents = \"atom\".")
        options = options or BondsOptions()
        self.layout = layout = CoefficientLayout(specification.basis, specification.elements, specification.metric)
        for z, has_s in zip(specification.elements, layout.counts.any(dim=1).tolist(), strict=True):
            if not has_s:
                raise InputError(f"Basis {specification.basis.name!r} needs an s function for {symbol(z)}.")
        n_elements = len(specification.elements)
        self.features = BondFeatures(n_elements, max(layout.l_max + self.extra_l, 1), options)
        self.cutoff = self.features.cutoff
        head = torch.randn(n_elements, layout.l_max + 1, options.channels, layout.width)
        self.head = nn.Parameter(head * options.channels**-0.5)
        self.flow = BondFlow(n_elements, options.radial_functions, options.hidden_width)
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", layout.present.clone())
        self.register_buffer("offset", torch.zeros(n_elements, layout.width, dtype=torch.float64))

    def fit_statistics(self, dataset: Dataset) -> None:
        """Mean of the s amplitudes, spread of all, and the charges that atoms have, from the label "density"."""
        known = self.specification, self.layout
        offset, scale = amplitude_statistics(self.layout, training_amplitudes(dataset, *known))
        self.offset.copy_(offset)
        self.scale.copy_(scale)
        self.flow.unit.fill_(charge_scale(self.layout, training_amplitudes(dataset, *known)))

    def forward(self, graph: Graph) -> dict[str, Expansion]:
        species = self.layout.species(graph.numbers)
        return {"density": self.density(graph, species, *self.features(graph, species))}

    def density(self, graph: Graph, species: Tensor, bonds: Bonds, scalars: Tensor, tensors: list[Tensor]) -> Expansion:
        """The difference to the superposed atoms; from the heads on in float64, whatever the network's precision."""
        weights = self.head[species]
        raw = [torch.einsum("amc,acw->amw", tensors[l_], weights[:, l_]) for l_ in range(self.layout.l_max + 1)]
        amplitudes = in_layout_order(raw).to(torch.float64) * per_component(self.layout, self.scale[species])
        s = amplitudes[0] + self.offset[species]
        atoms = graph.sum_over_fragments(torch.ones_like(graph.positions[:, 0]))
        electrons = (
            gains(graph, self.flow.sent(graph, species, bonds, scalars)) - (graph.charge / atoms)[graph.fragment]
        )
        s = with_electrons(self.layout, species, s, self.scale[species][:, 0], electrons)
        amplitudes = torch.cat([s[None], amplitudes[1:]])
        return Expansion(self.layout.coefficients(amplitudes, species, self.layout.flat_places(species)))


def per_component(layout: CoefficientLayout, values: Tensor) -> Tensor:
    """((l_max + 1)^2, n_atoms, width) of values (n_atoms, l_max + 1, width)."""
    return values[:, layout.l_of_component].transpose(0, 1)


def with_electrons(layout: CoefficientLayout, species: Tensor, s: Tensor, spread: Tensor, electrons: Tensor) -> Tensor:
    """The s amplitudes (n_atoms, width) nearest to ``s``, in units of their spread, that hold ``electrons`` (n_atoms,).

    Least squares with one condition for each atom: s - spread^2 c (c . s - electrons) / (c . spread^2 c), with c the
    electrons in an amplitude of one.
    """
    counts = layout.electron_counts(species)
    direction = spread**2 * counts
    excess = (s * counts).sum(-1) - electrons
    return s - direction * (excess / (direction * counts).sum(-1))[:, None]
