"""Equivariant message passing on e3nn's coupling coefficients, arranged for small molecules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densnet_core.datasets.dataset import Dataset
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.models.adoption import Axes
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.features import ComponentLinear, RadialBasis, degrees_of_components, harmonics
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_e3nn.config import E3nnOptions
from densnet_e3nn.coupling import natural_paths

FEWEST_NEIGHBORS = 1.0


def _highest_l(shape: BackboneShape, options: E3nnOptions) -> int:
    """The highest angular momentum, up to that of the output, whose features are not zero by construction."""
    reach = max(shape.l_in, 0)
    for index in range(options.layers):
        messages = reach + options.l_max_edge
        reach = max(messages, 2 * min(messages, options.l_max))
        reach = min(reach, shape.l_out if index == options.layers - 1 else options.l_max)
    return reach


def _paths_by_degree(triples: tuple[tuple[int, int, int], ...], l_max: int) -> list[int]:
    """Number of paths into each l of the output; paths are sorted by it, and so are their rows."""
    return [sum(triple[2] == l_ for triple in triples) for l_ in range(l_max + 1)]


class RowLinear(nn.Module):
    """Mixes the channels of every path separately and adds the paths up by component.

    (n_atoms, rows, channels) to (components, n_atoms, channels).
    """

    def __init__(self, triples: tuple[tuple[int, int, int], ...], l_max: int, channels: int) -> None:
        super().__init__()
        into = torch.tensor([sum(t[2] == triple[2] for t in triples) for triple in triples])
        scale = (into * channels).to(torch.get_default_dtype()) ** -0.5
        self.weight = nn.Parameter(torch.randn(len(triples), channels, channels) * scale[:, None, None])
        self.n_paths, self.triples = _paths_by_degree(triples, l_max), triples

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        channels = range(self.weight.shape[1])
        return {"weight": (self.triples, channels, channels)}

    def forward(self, rows: Tensor) -> Tensor:
        return self.of_degrees(torch.split(rows, [n * (2 * l_ + 1) for l_, n in enumerate(self.n_paths)], dim=1))

    def of_degrees(self, parts: Sequence[Tensor]) -> Tensor:
        """The same from the rows (n_atoms, rows, channels) of each l of the output."""
        n_atoms, channels = parts[0].shape[0], self.weight.shape[1]
        found = []
        for l_, (n, part, weight) in enumerate(
            zip(self.n_paths, parts, torch.split(self.weight, self.n_paths), strict=True)
        ):
            size = 2 * l_ + 1
            if n == 0:
                found.append(part.new_zeros((size, n_atoms, channels)))
                continue
            by_component = part.reshape(n_atoms, n, size, channels).permute(2, 0, 1, 3)
            found.append(by_component.reshape(size, n_atoms, n * channels) @ weight.reshape(n * channels, channels))
        return torch.cat(found)


class EdgeProduct(nn.Module):
    """Sum over neighbours of radial weights times the product of their features with the edge's harmonics."""

    def __init__(
        self, l_features: int, l_edge: int, l_out: int, options: E3nnOptions, elements: tuple[int, ...]
    ) -> None:
        super().__init__()
        channels, width = options.channels, options.radial_width
        paths = natural_paths(l_features, l_edge, l_out)
        self.n_paths, self.n_rows = len(paths.triples), paths.n_rows
        self.by_degree = _paths_by_degree(paths.triples, l_out)
        self.coupling: Tensor
        # (edge components, rows * feature components): times the harmonics it is the matrix from features to rows
        table = paths.table.permute(2, 0, 1).reshape((l_edge + 1) ** 2, -1)
        self.register_buffer("coupling", table, persistent=False)
        self.elements, self.triples = elements, paths.triples
        self.pair = nn.Parameter(1.0 + 0.3 * torch.randn(len(elements) ** 2, width))
        self.first = nn.Linear(options.radial_functions, width, bias=False)
        self.second = nn.Linear(width, self.n_paths * channels, bias=False)
        self.mix = RowLinear(paths.triples, l_out, channels)

    def forward(
        self, features: Tensor, graph: Graph, pair: Tensor, radial: Tensor, edge: Tensor, neighbors: Tensor
    ) -> Tensor:
        n_edges, n_components, channels = edge.shape[0], features.shape[0], features.shape[2]
        hidden = nn.functional.silu(self.first(radial)) * self.pair.index_select(0, pair)
        weights = self.second(hidden).reshape(n_edges, self.n_paths, channels)
        coupling = (edge @ self.coupling.to(edge.dtype)).reshape(n_edges, self.n_rows, n_components)
        sent = features.transpose(0, 1).index_select(0, graph.senders)
        received = self._received(torch.bmm(coupling, sent), weights, graph)
        scale = torch.sqrt(neighbors).to(edge.dtype)
        return self.mix.of_degrees([part / scale for part in received])

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        width, channels = range(self.pair.shape[1]), range(self.mix.weight.shape[1])
        return {"pair": (self.elements, self.elements, width), "second.weight": (self.triples, channels, width)}

    def _received(self, rows: Tensor, weights: Tensor, graph: Graph) -> list[Tensor]:
        """Sums over neighbours of rows (n_edges, rows, channels) times the weight of their path; for each l.

        The rows of an edge are most of the bytes of a step: neither they nor the weights are copied to other layouts.
        """
        parts = []
        for l_, (n, part, own) in enumerate(
            zip(
                self.by_degree,
                torch.split(rows, [n * (2 * l_ + 1) for l_, n in enumerate(self.by_degree)], dim=1),
                torch.split(weights, self.by_degree, dim=1),
                strict=True,
            )
        ):
            n_edges, n_rows, channels = part.shape
            weighted = part.reshape(n_edges, n, 2 * l_ + 1, channels) * own[:, :, None, :]
            received = part.new_zeros((graph.n_atoms, n_rows, channels))
            parts.append(received.index_add(0, graph.receivers, weighted.reshape(n_edges, n_rows, channels)))
        return parts


class AtomProduct(nn.Module):
    """Product of an atom's features with themselves: angles and higher correlations inside one layer."""

    def __init__(self, l_features: int, l_out: int, channels: int) -> None:
        super().__init__()
        paths = natural_paths(l_features, l_features, l_out)
        self.table: Tensor
        self.register_buffer("table", paths.table.flatten(1), persistent=False)
        self.mix = RowLinear(paths.triples, l_out, channels)

    def forward(self, features: Tensor) -> Tensor:
        by_atom = features.transpose(0, 1)
        products = (by_atom[:, :, None, :] * by_atom[:, None, :, :]).flatten(1, 2)
        result: Tensor = self.mix(torch.matmul(self.table.to(products.dtype), products))
        return result


class Layer(nn.Module):
    """One round of messages: edge product, atom product, gate, and the old features added."""

    def __init__(self, l_in: int, l_out: int, options: E3nnOptions, elements: tuple[int, ...]) -> None:
        super().__init__()
        channels, l_inner = options.channels, max(l_out, options.l_max)
        self.l_keep = min(l_in, l_out)
        self.n_out = (l_out + 1) ** 2
        self.before = ComponentLinear(l_in, channels, channels)
        self.messages = EdgeProduct(l_in, options.l_max_edge, l_inner, options, elements)
        self.product = AtomProduct(options.l_max, l_out, channels)
        self.n_product = (options.l_max + 1) ** 2
        self.keep = ComponentLinear(self.l_keep, channels, channels)
        self.gates = nn.Linear(channels, l_out * channels) if l_out else None
        self.l_of_component: Tensor
        self.register_buffer("l_of_component", degrees_of_components(l_out)[1:] - 1, persistent=False)

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        if self.gates is None:
            return {}
        channels = range(self.gates.in_features)
        degrees = range(self.gates.out_features // len(channels))
        return {"gates.weight": (degrees, channels, channels), "gates.bias": (degrees, channels)}

    def forward(
        self, features: Tensor, graph: Graph, pair: Tensor, radial: Tensor, edge: Tensor, neighbors: Tensor
    ) -> Tensor:
        messages = self.messages(self.before(features), graph, pair, radial, edge, neighbors)
        kept = self.keep(features[: (self.l_keep + 1) ** 2])
        mixed = messages[: self.n_out] + self.product(messages[: self.n_product])
        if kept.shape[0] < self.n_out:
            kept = torch.cat([kept, kept.new_zeros((self.n_out - kept.shape[0], *kept.shape[1:]))])
        mixed = mixed + kept
        scalars = mixed[:1]
        if self.gates is None:
            return nn.functional.silu(scalars)
        gates = torch.sigmoid(self.gates(scalars[0])).reshape(mixed.shape[1], -1, mixed.shape[2])
        gated = mixed[1:] * gates.transpose(0, 1).index_select(0, self.l_of_component)
        return torch.cat([nn.functional.silu(scalars), gated])


class E3nnBackbone(Backbone):
    """Message passing with channel-wise tensor products of natural parity.

    Radial part: Bessel functions with a polynomial envelope (Gasteiger et al., arXiv 2003.03123, eqs. 7 and 8, p = 6),
    so features and two derivatives vanish at the cutoff. Harmonics are the core's in magnetic order, which equal
    e3nn's at permuted axes; e3nn's coupling coefficients then apply as they stand.
    """

    def __init__(self, shape: BackboneShape, options: E3nnOptions | None = None) -> None:
        super().__init__(shape, options)
        self.options = options = options or E3nnOptions()
        self.channels, n_elements = options.channels, len(shape.elements)
        self.cutoff = options.cutoff_angstrom / BOHR_TO_ANGSTROM
        self.n_elements = n_elements
        self.embedding = nn.Parameter(torch.randn(n_elements, self.channels))
        self.entry = ComponentLinear(shape.l_in, shape.channels_in, self.channels) if shape.l_in >= 0 else None
        l_in = max(shape.l_in, 0)
        layers = []
        for index in range(options.layers):
            l_out = shape.l_out if index == options.layers - 1 else options.l_max
            layers.append(Layer(l_in, l_out, options, shape.elements))
            l_in = l_out
        self.layers = nn.ModuleList(layers)
        self.exit = ComponentLinear(shape.l_out, self.channels, self.channels)
        self.radial = RadialBasis(options.radial_functions, self.cutoff)
        self.neighbors: Tensor
        self.register_buffer("neighbors", torch.tensor(FEWEST_NEIGHBORS, dtype=torch.float64))

    def check(self) -> None:
        """Refuse degrees whose products cannot reach the l of the output."""
        options, shape = self.options, self.shape
        if (reach := _highest_l(shape, options)) < shape.l_out:
            raise InputError(
                f"Features reach l = {reach} with layers = {options.layers}, l_max = {options.l_max} and l_max_edge = "
                f"{options.l_max_edge}, but l = {shape.l_out} is asked for: functions of higher l would stay empty. "
                "Raise l_max_edge in backbone_options, or take a basis of lower l."
            )

    def fit_statistics(self, dataset: Dataset) -> None:
        """The effective number of neighbours, see ``RadialBasis.neighbours``."""
        self.neighbors.fill_(max(self.radial.neighbours(dataset), FEWEST_NEIGHBORS))

    def named_axes(self) -> dict[str, Axes]:
        """See ``densnet_core.models.adoption``."""
        return {"embedding": (self.shape.elements, range(self.channels))}

    def forward(self, graph: Graph, species: Tensor, features: Tensor | None) -> Tensor:
        vectors = graph.pair_vectors.to(self.embedding.dtype)
        distances = torch.sqrt((vectors**2).sum(-1))
        radial, edge = self.radial(distances), harmonics(vectors / distances[:, None], self.options.l_max_edge)
        pair = species[graph.receivers] * self.n_elements + species[graph.senders]
        scalars = self.embedding.index_select(0, species)[None]
        if self.entry is None or features is None:
            state = scalars
        else:
            entered = self.entry(features)
            state = torch.cat([entered[:1] + scalars, entered[1:]])
        for layer in self.layers:
            state = layer(state, graph, pair, radial, edge, self.neighbors)
        result: Tensor = self.exit(state)
        return result
