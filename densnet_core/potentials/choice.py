"""Networks as a configuration names them and a model package records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from densnet_core.density.specification import DensitySpecification
from densnet_core.errors import InputError
from densnet_core.models.backbone import Backbone, BackboneShape
from densnet_core.models.density import DensityModel
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager


@dataclass(frozen=True)
class NetworkChoice:
    """A model component and the backbone for models that take one; plain data.

    Parameters
    ----------
    model, backbone : str
        Names of the components; the backbone is looked up only if the model asks for one. None: it takes none.
    options, backbone_options : mapping
    """

    model: str
    backbone: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    backbone_options: Mapping[str, Any] = field(default_factory=dict)

    def build(
        self,
        kind: str,
        specification: DensitySpecification,
        manager: Manager | None = None,
        density: DensityModel | None = None,
    ) -> tuple[Any, Backbone | None]:
        """A new network of ``kind`` (density_model or energy_model) with random parameters, and its backbone if any.

        Parameters
        ----------
        density : DensityModel or None
            Whose densities an energy model will read.

        Raises
        ------
        InputError
            The model asks for a backbone and none is named, or for invariants and the density model has none, or an
            interaction of distant densities begins where the density model sees nothing any more.
        """
        manager = manager or get_manager()
        model = manager.find(kind, self.model)
        options = manager.options(model, dict(self.options), where=f"{kind}.options")
        made: list[Backbone] = []

        def make_backbone(shape: BackboneShape) -> Backbone:
            if self.backbone is None:
                raise InputError(f"The {kind.replace('_', ' ')} {self.model!r} needs a backbone, and none is named.")
            component = manager.find(Kind.BACKBONE, self.backbone)
            given = manager.options(component, dict(self.backbone_options), where=f"{kind}.backbone_options")
            made.append(manager.load(component)(shape, given))
            return made[-1]

        target = manager.load(model)
        more = invariants_for(target, density) if density is not None else {}
        network = target(specification, options, make_backbone, **more)
        if density is not None and network.long_range and network.long_range_from > (density.cutoff or inf):
            raise InputError(
                f"The interaction of distant densities is whole from {network.long_range_from:.2f} bohr on, and the "
                f"density model sees {density.cutoff:.2f} bohr far: pairs of atoms between the two would have half of "
                "it. Give a smaller distance."
            )
        return network, made[0] if made else None

    def learns_with_density(self, manager: Manager | None = None) -> bool:
        """Whether this energy model and the density model learn together."""
        manager = manager or get_manager()
        return bool(manager.load(manager.find(Kind.ENERGY_MODEL, self.model)).reads_invariants)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "backbone": self.backbone,
            "options": dict(self.options),
            "backbone_options": dict(self.backbone_options),
        }

    def completed(self, kind: str, manager: Manager | None = None) -> NetworkChoice:
        """The same with every option named: those that it leaves out, or that came after it was made, have defaults."""
        manager = manager or get_manager()

        def whole(of_kind: str, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
            return manager.options(manager.find(of_kind, name), dict(table), where=of_kind).model_dump(mode="json")

        backbone = {} if self.backbone is None else whole(Kind.BACKBONE, self.backbone, self.backbone_options)
        return NetworkChoice(self.model, self.backbone, whole(kind, self.model, self.options), backbone)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkChoice:
        model, backbone = data["model"], data["backbone"]
        tables = data["options"], data["backbone_options"]
        named = isinstance(model, str) and (backbone is None or isinstance(backbone, str))
        if not named or not all(isinstance(table, dict) for table in tables):
            raise TypeError("a network needs the names of model and backbone, and tables of their options")
        return cls(model, backbone, *tables)


def invariants_for(target: type[EnergyModel], density: DensityModel) -> dict[str, int]:
    """What an energy model is told of the density model; ``InputError`` if that does not give what it reads."""
    if not target.reads_invariants:
        return {}
    if not density.n_invariants:
        raise InputError(
            f"{target.__name__} reads the invariants of the density model, and {type(density).__name__} hands none on "
            "(n_invariants = 0). Combine it with a density model that does, such as 'equivariant'."
        )
    return {"n_invariants": density.n_invariants}


STANDARD: Final = NetworkChoice("equivariant", "gaunt"), NetworkChoice("shared", None)
"""The networks that are made where none are named, for densities and for energies."""
