"""A trained model as users hold it: geometry in, density, energy, forces and dipole out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.expansion import scaled_functions
from densnet_core.density.method import FitMethod
from densnet_core.density.prior import AtomicPrior
from densnet_core.elements import symbol
from densnet_core.errors import DataError, InputError
from densnet_core.graphs.graph import graph_of, portions
from densnet_core.models.density import DensityModel, DensitySpecification
from densnet_core.models.energy import EnergyModel
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.forces import common_cutoff, energies_and_forces
from densnet_core.potentials.replicas import ModelPotential
from densnet_core.reference.checks import check_distances
from densnet_core.stores.models import load_model, save_model
from densnet_core.structures import Structure

Array = NDArray[np.float64]
MODEL_KIND = "density-energy"


@dataclass(frozen=True)
class NetworkChoice:
    """A model component and its backbone, as a configuration names them; plain data.

    Parameters
    ----------
    model, backbone : str
        Names of the components.
    options, backbone_options : mapping
    """

    model: str
    backbone: str
    options: Mapping[str, Any] = field(default_factory=dict)
    backbone_options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, kind: Kind, specification: DensitySpecification, manager: Manager | None = None) -> Any:
        """A new network of ``kind`` (density_model or energy_model) with random parameters."""
        manager = manager or get_manager()
        model = manager.find(kind, self.model)
        backbone = manager.find(Kind.BACKBONE, self.backbone)
        options = manager.options(model, dict(self.options), where=f"{kind}.options")
        backbone_options = manager.options(backbone, dict(self.backbone_options), where=f"{kind}.backbone_options")
        model_class, backbone_class = manager.load(model), manager.load(backbone)
        if kind is Kind.DENSITY_MODEL:
            shape = model_class.backbone_shape(specification)
        else:
            shape = model_class.backbone_shape(specification, options)
        return model_class(specification, backbone_class(shape, backbone_options), options)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "backbone": self.backbone,
            "options": dict(self.options),
            "backbone_options": dict(self.backbone_options),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkChoice:
        names, tables = (data["model"], data["backbone"]), (data["options"], data["backbone_options"])
        if not all(isinstance(name, str) for name in names) or not all(isinstance(table, dict) for table in tables):
            raise TypeError("a network needs the names of model and backbone, and tables of their options")
        return cls(*names, *tables)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one structure, atomic units.

    Parameters
    ----------
    density : ExpandedDensity
    energy : float
        Hartree.
    forces : (n_atoms, 3)
        Hartree/bohr.
    dipole : (3,)
        e bohr.
    """

    density: ExpandedDensity
    energy: float
    forces: Array
    dipole: Array


class TrainedModel:
    """Density model, energy model and prior, with everything needed to use them again.

    >>> model = TrainedModel.load("runs/water/model")
    >>> (prediction,) = model.predict([structure])
    >>> prediction.energy, prediction.density.dipole()

    Parameters
    ----------
    density, energy : networks
    prior : AtomicPrior
    density_choice, energy_choice : NetworkChoice
        How the networks are built again.
    document : mapping
        Provenance: level of theory, training frames, metrics, versions.
    """

    def __init__(
        self,
        density: DensityModel,
        energy: EnergyModel,
        prior: AtomicPrior,
        density_choice: NetworkChoice,
        energy_choice: NetworkChoice,
        document: Mapping[str, Any],
    ) -> None:
        self.density, self.energy, self.prior = density.eval(), energy.eval(), prior
        self.density_choice, self.energy_choice = density_choice, energy_choice
        self.document = dict(document)

    @property
    def specification(self) -> DensitySpecification:
        return self.density.specification

    @property
    def label_method(self) -> FitMethod:
        """How the densities were fitted, in ``specification.label_basis``, that the model learned from.

        Models that do not record it learned from fits that held the charge alone; their floor is still that.
        """
        recorded = self.document.get("labels", {})
        metric = recorded.get("metric", self.specification.metric)
        return FitMethod(metric, recorded.get("exact", "charge"), recorded.get("tikhonov"))

    def __repr__(self) -> str:
        elements = " ".join(symbol(z) for z in self.specification.elements)
        size = sum(p.numel() for m in (self.density, self.energy) for p in m.parameters())
        level = self.document.get("level_of_theory", "unknown level of theory")
        return f"TrainedModel({elements}; {level}; basis {self.specification.basis.name}; {size} parameters)"

    def save(self, path: Path) -> None:
        """Write the package: model.json and weights.safetensors; atomic."""
        specification = self.specification
        document = {
            **self.document,
            "kind": MODEL_KIND,
            "units": "Hartree atomic units: bohr, hartree, hartree/bohr, e bohr",
            "elements": list(specification.elements),
            "basis": specification.basis.to_dict(),
            "metric": specification.metric,
            "largest_factor": specification.largest_factor,
            "prior": self.prior.to_dict(),
            "density": self.density_choice.to_dict(),
            "energy": self.energy_choice.to_dict(),
        }
        tensors = {f"density.{name}": value for name, value in self.density.state_dict().items()}
        tensors |= {f"energy.{name}": value for name, value in self.energy.state_dict().items()}
        save_model(path, document, tensors)

    @classmethod
    def load(cls, path: str | Path, manager: Manager | None = None) -> TrainedModel:
        """Read a package; nothing in it is ever executed or unpickled.

        Raises
        ------
        DataError
            If the package is damaged or not one of ours.
        PluginError
            If a plugin that the model needs is not installed; the message has its install line.
        """
        document, tensors = load_model(Path(path))
        try:
            if document["kind"] != MODEL_KIND:
                raise DataError(f"{path} holds a model of kind {document['kind']!r}, not {MODEL_KIND!r}.")
            specification = DensitySpecification(
                GaussianBasis.from_dict(document["basis"]),
                document["metric"],
                tuple(map(int, document["elements"])),
                float(document.get("largest_factor", 1.0)),  # models of before 0.2 have none
            )
            prior = AtomicPrior.from_dict(document["prior"])
            choices = [NetworkChoice.from_dict(document[name]) for name in ("density", "energy")]
            if not isinstance(document.get("labels", {}), dict):
                raise TypeError("labels must be a table")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"The model.json of {path} is malformed: {error!r}.") from error
        density = choices[0].build(Kind.DENSITY_MODEL, specification, manager)
        energy = choices[1].build(Kind.ENERGY_MODEL, specification, manager)
        for name, module in (("density", density), ("energy", energy)):
            own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            _load_state(module, own, f"{path} ({name})")
        return cls(density, energy, prior, choices[0], choices[1], document)

    def check(self, structures: Sequence[Structure]) -> None:
        """``InputError`` naming elements that the model was not made for, or atoms that coincide."""
        known = set(self.specification.elements)
        unknown = sorted({int(z) for s in structures for z in s.numbers} - known)
        if unknown:
            names = ", ".join(symbol(z) for z in unknown)
            have = " ".join(symbol(z) for z in sorted(known))
            raise InputError(f"The model does not know {names}; it was made for {have}.")
        for structure in structures:
            check_distances(structure)

    def predict(self, structures: Sequence[Structure]) -> list[Prediction]:
        """Density, energy, forces and dipole of structures."""
        self.check(structures)
        results = []
        for portion in portions([structure.n_atoms for structure in structures]):
            results += self._predict_batch(structures[portion.start : portion.stop])
        return results

    def _predict_batch(self, structures: Sequence[Structure]) -> list[Prediction]:
        graph = graph_of(structures, common_cutoff(self.density, self.energy))
        with torch.no_grad():
            difference = self.density(graph)
        energies, forces = energies_and_forces(self.density, self.energy, graph)
        basis, atoms = self.specification.basis, [s.n_atoms for s in structures]
        sizes = [basis.n_functions(s.numbers) for s in structures]
        scales: Sequence[Array | None] = [None] * len(structures)
        if difference.scales is not None:
            scales = [part.numpy() for part in torch.split(difference.scales, atoms)]
        results = []
        for structure, energy, force, c, scale in zip(
            structures,
            energies.tolist(),
            torch.split(forces.detach(), atoms),
            torch.split(difference.coefficients, sizes),
            scales,
            strict=True,
        ):
            density = ExpandedDensity(structure, basis, c.numpy(), self.prior, scale)
            results.append(Prediction(density, energy, force.numpy(), density.dipole()))
        return results

    def dipoles(self, structure: Structure, positions: Array) -> Array:
        """Dipoles (n, 3) in e bohr of one molecule at many positions (n, n_atoms, 3) in bohr."""
        self.check([structure])
        functions = MolecularBasis(self.specification.basis, structure.numbers)
        parts = []
        for portion in portions([structure.n_atoms] * len(positions)):
            given: Tensor = torch.tensor(positions[portion.start : portion.stop])
            frames = [structure.with_positions(one) for one in positions[portion.start : portion.stop]]
            with torch.no_grad():
                difference = self.density(graph_of(frames, self.density.cutoff))
            scales = difference.scales
            own = scaled_functions(functions, None if scales is None else scales.unflatten(0, (len(given), -1)))
            coefficients = difference.coefficients.reshape(len(given), -1)
            parts.append(-torch.einsum("bf,bfx->bx", coefficients, own.dipoles(given)))
        return np.asarray(torch.cat(parts).numpy())

    def potential(self, structure: Structure, n_replicas: int = 1) -> ModelPotential:
        """The model as a potential for molecular dynamics."""
        self.check([structure])
        metadata = {
            "level_of_theory": self.document.get("level_of_theory"),
            "model": self.document.get("name"),
        }
        return ModelPotential(self.density, self.energy, structure, n_replicas, metadata)


def _load_state(module: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    wanted = module.state_dict()
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    wrong = [name for name in wanted if name in tensors and wanted[name].shape != tensors[name].shape]
    if missing or extra or wrong:
        raise DataError(
            f"The weights of {where} do not fit its model.json: missing {missing[:3]}, unknown {extra[:3]}, "
            f"of another shape {wrong[:3]}."
        )
    for name, parameter in module.named_parameters():
        parameter.data = tensors[name].clone()
    module.load_state_dict(dict(tensors))
