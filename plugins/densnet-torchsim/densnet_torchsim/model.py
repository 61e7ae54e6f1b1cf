"""DenSNet models as models of torch-sim, in eV and angstrom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from densnet_core.density.charges import charge_scheme
from densnet_core.errors import InputError
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.base import Potential
from densnet_core.potentials.bound import ENERGY_AND_FORCES
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.together import Together
from densnet_core.units import BOHR_TO_ANGSTROM, EV_PER_ANGSTROM, HARTREE_TO_EV
from densnet_torchsim.electrons import Electrons, Told
from densnet_torchsim.groups import Groups
from densnet_torchsim.systems import Systems

FACTORS: Final = {
    "hartree": HARTREE_TO_EV,
    "hartree/bohr": EV_PER_ANGSTROM,
    "e": 1.0,
    "e bohr": BOHR_TO_ANGSTROM,
    "e bohr^2": BOHR_TO_ANGSTROM**2,
    "bohr^3": BOHR_TO_ANGSTROM**3,
}
"""From the units of outputs to those made of eV, angstrom and e."""
KEPT: Final = 16
"""Sets of systems whose pairs and compiled code are kept: autobatchers and reporters come back to them."""


class DenSNetModel(ModelInterface):  # type: ignore[misc]
    """Energies, forces and more of a trained model for torch-sim's integrators, optimisers and autobatchers.

    >>> import torch_sim as ts
    >>> model = DenSNetModel("runs/water/model", outputs=["dipole"])
    >>> ts.integrate(molecules, model, integrator=ts.nve, n_steps=1000, temperature=300, timestep=0.0005)

    All systems of a state are in one call; systems never interact. Energies are total energies at the model's level of
    theory. There is no stress: the densities are those of isolated molecules, and periodic states are refused. It
    computes on the processor (``device`` is "cpu").

    Parameters
    ----------
    model : Potential or path
        A model, or the folder or zip file of its package.
    outputs : sequence of str
        Further outputs of the potential by name, from the call that gives the forces: "dipole" (n_systems, 3) in
        e angstrom, of ions about the origin; "charges" (n_atoms,) in e, by the atom that carries each basis function,
        see also the method ``charges``; and others in units made of eV, angstrom and e.
    charge, multiplicity : int, mapping or None
        Of every system; or of those with a formula, such as ``charge={"OH": -1}``, and 0 and 1 of the others. None:
        what the state says (``state.charge``, ``state.multiplicity``, in versions of torch-sim whose states keep
        them), or 0 and 1.
    native : bool
        Compile the model for the systems of a state: half a minute once for each composition, number of its replicas
        and machine, for calls that are about five times as fast. For dynamics of the same systems.
    dtype : torch.dtype
        float64, or float32: of the results alone, the model computes as it always does. In float32 total energies are
        rounded to some 1e-4 eV.

    Raises
    ------
    InputError
        The model has no such output, or a charge is not one. When it is used: the state is periodic or not on the
        processor; charge or multiplicity are said twice and differently, or under another name; the model was not
        trained on such elements, charges or spins.
    """

    def __init__(
        self,
        model: Potential | str | Path,
        *,
        outputs: Sequence[str] = (),
        charge: Told = None,
        multiplicity: Told = None,
        native: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float64, torch.float32):
            raise InputError(f"dtype must be torch.float64 or torch.float32, not {dtype}.")
        self.potential: Potential = DenSNet.load(model) if isinstance(model, str | Path) else model
        self.outputs = tuple(dict.fromkeys((*ENERGY_AND_FORCES, *outputs)))
        self.potential.check_outputs(self.outputs)
        self._per, self._factors = _described(self.outputs)
        self.native = native
        self.electrons = Electrons(charge, multiplicity)
        self._held: dict[tuple[Any, ...], Together | Groups] = {}
        self._device, self._dtype = torch.device("cpu"), dtype
        self._compute_forces, self._compute_stress = True, False
        self._memory_scales_with = "n_atoms"  # molecules have no cell, and so no number density

    @property
    def compute_stress(self) -> bool:
        """False: isolated molecules have no stress."""
        return False

    @compute_stress.setter
    def compute_stress(self, compute_stress: bool) -> None:
        if compute_stress:  # torch-sim takes this exception for "cannot"
            raise NotImplementedError("The densities of DenSNet are those of isolated molecules; they have no stress.")

    def forward(self, state: SimState | dict[str, Any], **_: Any) -> dict[str, Tensor]:
        """Energy (n_systems,) in eV, forces (n_atoms, 3) in eV/angstrom and the further outputs, in one call."""
        systems = Systems(state, self.electrons, self.outputs)
        found = self._evaluator(systems).evaluate(systems.positions, self.outputs)
        return {name: torch.from_numpy(found[name] * self._factors[name]).to(self.dtype) for name in self.outputs}

    def _evaluator(self, systems: Systems) -> Together | Groups:
        """What computes these molecules wherever they are; those used last are kept."""
        held = self._held.pop(systems.key, None)
        if held is None:
            structures = systems.structures()
            if self.native:
                held = Groups(self.potential, structures, self._per)
            else:
                held = Together(self.potential, structures)
            if len(self._held) >= KEPT:
                del self._held[next(iter(self._held))]
        self._held[systems.key] = held
        return held

    def charges(self, state: SimState | dict[str, Any], scheme: str = "hirshfeld") -> Tensor:
        """Atomic charges (n_atoms,) of the predicted densities, e; of more than a few frames by "coefficients".

        Parameters
        ----------
        state : SimState
        scheme : {"hirshfeld", "coefficients"}
        """
        charges = charge_scheme(scheme)
        densities = self.potential.densities(Systems(state, self.electrons, self.outputs).structures())
        return torch.from_numpy(np.concatenate([charges(density) for density in densities])).to(self.dtype)


def _described(outputs: Sequence[str]) -> tuple[dict[str, str], dict[str, float]]:
    """What the first axis of each output counts, and the factor from atomic units to those of torch-sim."""
    manager = get_manager()
    per: dict[str, str] = {}
    factors: dict[str, float] = {}
    for name in outputs:
        quantity = manager.quantity(name)
        if quantity.per == "function":
            raise InputError(f"torch-sim has values of atoms and systems, and {name!r} is one of basis functions.")
        if quantity.unit not in FACTORS:
            known = ", ".join(FACTORS)
            raise InputError(f"{name!r} is in {quantity.unit}, for which torch-sim has no unit; known are {known}.")
        per[name], factors[name] = quantity.per, FACTORS[quantity.unit]
    return per, factors
