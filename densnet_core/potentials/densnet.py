"""The trained whole that users hold: geometry in, density, energy, forces, dipole and more out, in one call."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from densnet_core.basis.base import GaussianBasis
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.expansion import Expansion
from densnet_core.density.method import FitMethod
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.elements import symbol
from densnet_core.errors import CodeChangedWarning, DataError, DenSNetError, InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.graphs.pairs import portions
from densnet_core.models.density import DensityModel, densities_up_to
from densnet_core.models.domain import Composition, Domain, Extrapolation, compositions_of_graph
from densnet_core.models.energy import EnergyModel
from densnet_core.models.inputs import check_graph
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.plugins.origin import Origin
from densnet_core.potentials.base import Potential
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.legacy import is_old, todays
from densnet_core.potentials.outputs import (
    common_cutoff,
    degree_for,
    densities_for,
    derived_quantities,
    energy_outputs,
)
from densnet_core.potentials.shipped import CHECKS, model_path
from densnet_core.reference.checks import check_distances
from densnet_core.stores.models import load_model, save_model
from densnet_core.structures import Structure

Array = NDArray[np.float64]
MODEL_KIND: Final = "density-energy"
COEFFICIENTS: Final = "coefficients"
FORCES: Final = "forces"
POLARIZABILITY: Final = "polarizability"
DOMAIN: Final = "trained_on"
log = logging.getLogger(__name__)


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
    polarizability : (3, 3) or None
        bohr^3, of a model that predicts how the density answers to a field.
    """

    density: ExpandedDensity
    energy: float
    forces: Array
    dipole: Array
    polarizability: Array | None = None


class DenSNet(Potential):
    """Density model, energy model and prior, with everything needed to use them again.

    >>> model = DenSNet.load("runs/water/model")
    >>> (prediction,) = model.predict([structure])
    >>> prediction.energy, prediction.density.dipole()

    Parameters
    ----------
    density, energy : networks
        Their parameters are frozen.
    prior : AtomicPrior
    density_choice, energy_choice : NetworkChoice
        How the networks are built again.
    document : mapping
        Provenance: level of theory, training frames, metrics, versions.
    manager : Manager or None
        Where quantities that follow from densities are looked up.
    domain : Domain or None
        What it was trained on; None: all that is known of that is the specification.
    """

    def __init__(
        self,
        density: DensityModel,
        energy: EnergyModel,
        prior: AtomicPrior,
        density_choice: NetworkChoice,
        energy_choice: NetworkChoice,
        document: Mapping[str, Any],
        manager: Manager | None = None,
        domain: Domain | None = None,
    ) -> None:
        self.density, self.energy, self.prior = density.eval(), energy.eval(), prior
        for network in (density, energy):
            network.requires_grad_(False)
        self.density_choice, self.energy_choice = density_choice, energy_choice
        self.document = dict(document)
        self.domain = domain or Domain.of_specification(density.specification)
        self._derived = derived_quantities(density.densities, manager or get_manager())
        self.elements = density.specification.elements
        self.cutoff = common_cutoff(density, energy)
        self.outputs = frozenset({*energy.outputs, FORCES, COEFFICIENTS, *self._derived})

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
        return f"DenSNet({elements}; {level}; basis {self.specification.basis.name}; {size} parameters)"

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
            "states": [list(state) for state in specification.states],
            "levels": list(specification.levels),
            DOMAIN: self.domain.to_dict(),
            "prior": self.prior.to_dict(),
            "density": self.density_choice.to_dict(),
            "energy": self.energy_choice.to_dict(),
        }
        tensors = {f"density.{name}": value for name, value in self.density.state_dict().items()}
        tensors |= {f"energy.{name}": value for name, value in self.energy.state_dict().items()}
        tensors |= {f"{DOMAIN}.{name}": value for name, value in self.domain.tensors().items()}
        save_model(path, document, tensors)

    @classmethod
    def load(cls, path: str | Path, manager: Manager | None = None) -> DenSNet:
        """Read a package; nothing in it is ever executed or unpickled.

        Parameters
        ----------
        path : str or Path
            A folder or zip file, or the name of a shipped model (``densnet models``).
        manager : Manager or None

        Raises
        ------
        DataError
            If the package is damaged or not one of ours.
        PluginError
            If a plugin that the model needs is not installed, or a shipped model; the message has its install line.
        InputError
            If a plain word names neither a package nor a shipped model.

        Warns
        -----
        CodeChangedWarning
            If the networks' code is no longer that which made the model. Not of packed models: that they give what
            they gave is for the tests of their distribution (``densnet_core.testing.shipped``).
        """
        path = model_path(path, manager)
        document, tensors = load_model(path)
        try:
            if document["kind"] != MODEL_KIND:
                raise DataError(f"{path} holds a model of kind {document['kind']!r}, not {MODEL_KIND!r}.")
            if is_old(document):
                document, tensors = todays(document, tensors)
            specification = DensitySpecification(
                GaussianBasis.from_dict(document["basis"]),
                document["metric"],
                tuple(map(int, document["elements"])),
                float(document.get("largest_factor", 1.0)),
                tuple((int(charge), int(multiplicity)) for charge, multiplicity in document["states"]),
                tuple(map(str, document.get("levels", []))),
            )
            prior = AtomicPrior.from_dict(document["prior"])
            choices = [NetworkChoice.from_dict(document[name]) for name in ("density", "energy")]
            if not isinstance(document.get("labels", {}), dict):
                raise TypeError("labels must be a table")
            arrays = {n.removeprefix(f"{DOMAIN}."): t for n, t in tensors.items() if n.startswith(f"{DOMAIN}.")}
            domain = Domain.from_dict(document[DOMAIN], arrays) if DOMAIN in document else None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"The model.json of {path} is malformed: {error!r}.") from error
        density, _ = choices[0].build(Kind.DENSITY_MODEL, specification, manager)
        energy, _ = choices[1].build(Kind.ENERGY_MODEL, specification, manager, density)
        for name, module in (("density", density), ("energy", energy)):
            own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            _load_state(module, own, f"{path} ({name})")
        if domain is None:
            log.warning(
                "%s was made before models described what they were trained on: compositions and geometries that it "
                "never saw are not noticed. Train it again to have them refused.",
                path,
            )
        model = cls(density, energy, prior, choices[0], choices[1], document, manager, domain)
        if CHECKS not in document and (changes := model.changed_code(manager)):
            warnings.warn(f"{path} was made by other code: {'; '.join(changes)}.", CodeChangedWarning, stacklevel=2)
        return model

    def changed_code(self, manager: Manager | None = None) -> list[str]:
        """Which distributions of its networks, as it names them, are no longer those that made it; in words."""
        manager, density, energy = manager or get_manager(), self.density_choice, self.energy_choice
        made_by = self.document.get("provenance", {}).get("made_by", {})
        slots = {
            "density_model": (Kind.DENSITY_MODEL, density.model),
            "density_backbone": (Kind.BACKBONE, density.backbone),
            "energy_model": (Kind.ENERGY_MODEL, energy.model),
            "energy_backbone": (Kind.BACKBONE, energy.backbone),
        }
        changes = []
        for slot, (kind, name) in slots.items():
            try:
                before = Origin(**{key: made_by[slot][key] for key in ("distribution", "version", "content")})
                now = manager.origin(manager.find(kind, str(name)))
            except (KeyError, TypeError, DenSNetError):
                continue  # an older model does not say, and not every model has a backbone
            if before != now:
                changes.append(f"{before} is now {now}")
        return list(dict.fromkeys(changes))

    def check(self, structures: Sequence[Structure], outputs: Collection[str] = ("energy", FORCES)) -> None:
        """Refuse molecules that the model has not learned, before anything is computed.

        Parameters
        ----------
        structures : sequence of Structure
        outputs : collection of str
            What will be asked for: densities need elements and states that the model knows, energies and forces a
            composition too, see ``Domain``.

        Raises
        ------
        InputError
            Naming what the model does not know, or atoms that coincide.
        """
        self.domain.check((Composition.of(one) for one in structures), self._needs_energy(outputs))
        for structure in structures:
            check_distances(structure)

    def extrapolation(self, structures: Sequence[Structure]) -> list[Extrapolation]:
        for structure in structures:
            check_distances(structure)
        return [self.domain.extrapolation(structure) for structure in structures]

    def _needs_energy(self, outputs: Collection[str]) -> bool:
        return bool({*self.energy.outputs, FORCES} & set(outputs))

    def metadata(self) -> dict[str, Any]:
        return {"level_of_theory": self.document.get("level_of_theory"), "model": self.document.get("name")}

    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        return self._evaluate(graph, outputs)[0]

    def _evaluate(
        self, graph: Graph, outputs: Collection[str], whole: bool = False
    ) -> tuple[dict[str, Tensor], Mapping[str, Expansion]]:
        """The outputs asked for, and the densities they were made with; ``whole``: with all coefficients."""
        self.check_outputs(outputs)
        needs_energy = self._needs_energy(outputs)
        check_graph((self.density, self.energy), graph)
        self.domain.check(compositions_of_graph(graph), needs_energy)
        found: dict[str, Tensor] = {}
        energy = self.energy if needs_energy else None
        degree = None if whole else degree_for(outputs, self._derived, energy)
        density = partial(
            densities_up_to, self.density, l_max=degree, names=densities_for(outputs, self._derived, energy)
        )
        if needs_energy:
            found, densities = energy_outputs(density, self.energy, graph, FORCES in outputs)
        else:
            with torch.no_grad():
                densities = density(graph)
        for name in set(outputs) - set(found):
            if name == COEFFICIENTS:
                found[name] = densities["density"].coefficients
            else:
                found[name] = self._derived[name](graph, densities, self.specification)
        return {name: found[name] for name in outputs}, densities

    def predict(self, structures: Sequence[Structure]) -> list[Prediction]:
        """Density, energy, forces and dipole of structures, and the polarizability if the model has it.

        Raises
        ------
        InputError
            These are no structures, or the model does not know their atoms or charges.
        """
        _refuse_no_list("predict", structures)
        self.check(structures)
        results = []
        for portion in portions([structure.n_atoms for structure in structures]):
            results += self._predict_batch(structures[portion.start : portion.stop])
        return results

    def densities(self, structures: Sequence[Structure]) -> list[ExpandedDensity]:
        """Densities alone, and all that follows from them, of compositions too whose energies the model cannot know."""
        _refuse_no_list("densities", structures)
        self.check(structures, (COEFFICIENTS,))
        results = []
        for portion in portions([structure.n_atoms for structure in structures]):
            held = structures[portion.start : portion.stop]
            results += self._expanded(held, self._evaluate(graph_of(held, self.cutoff), (COEFFICIENTS,))[1])
        return results

    def _predict_batch(self, structures: Sequence[Structure]) -> list[Prediction]:
        names = ["energy", FORCES, *({POLARIZABILITY} & self.outputs)]
        found, densities = self._evaluate(graph_of(structures, self.cutoff), names, whole=True)
        forces = torch.split(found[FORCES], [s.n_atoms for s in structures])
        tensors = found[POLARIZABILITY].numpy() if POLARIZABILITY in found else [None] * len(structures)
        return [
            Prediction(density, energy, force.numpy(), density.dipole(), tensor)
            for density, energy, force, tensor in zip(
                self._expanded(structures, densities), found["energy"].tolist(), forces, tensors, strict=True
            )
        ]

    def _expanded(self, structures: Sequence[Structure], densities: Mapping[str, Expansion]) -> list[ExpandedDensity]:
        difference, basis = densities["density"], self.specification.basis
        parts = torch.split(difference.coefficients, [basis.n_functions(s.numbers) for s in structures])
        scales: Sequence[Array | None] = [None] * len(structures)
        if difference.scales is not None:
            scales = [part.numpy() for part in torch.split(difference.scales, [s.n_atoms for s in structures])]
        return [
            ExpandedDensity(structure, basis, c.numpy(), self.prior, scale)
            for structure, c, scale in zip(structures, parts, scales, strict=True)
        ]

    def along(self, structure: Structure, positions: Array, output: str = "dipole") -> Array:
        """One output per molecule, such as dipoles in e bohr, at many positions (n, n_atoms, 3) in bohr; (n, ...)."""
        self.check([structure], (output,))
        parts = []
        for portion in portions([structure.n_atoms] * len(positions)):
            frames = [structure.with_positions(one) for one in positions[portion.start : portion.stop]]
            parts.append(self.evaluate(graph_of(frames, self.cutoff), (output,))[output])
        return np.asarray(torch.cat(parts).numpy())


def _refuse_no_list(function: str, structures: Sequence[Structure]) -> None:
    """``InputError`` unless these are structures one after another."""
    if isinstance(structures, Structure) or not all(isinstance(one, Structure) for one in structures):
        raise InputError(
            f"{function} takes a list of structures, not {type(structures).__name__}: those of read_structures(path), "
            "or [Structure(numbers, positions in bohr)]. For ASE there is DenSNetCalculator of densnet-ase."
        )


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
        found = tensors[name]
        if found.dtype not in (torch.float32, torch.float64):
            raise DataError(f"{name} of {where} has the precision {found.dtype}; weights are float32 or float64.")
        if not found.isfinite().all():
            raise DataError(f"{name} of {where} is not finite. The package is damaged, or its training had failed.")
        parameter.data = found.clone()
    module.load_state_dict(dict(tensors))
