"""The systems of a state of torch-sim as molecules of ours."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch_sim.state import SimState

from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_torchsim.electrons import Electrons


class Systems:
    """Molecules of a state.

    Parameters
    ----------
    state : SimState or dict
        Positions in angstrom.
    electrons : Electrons
    ignored : collection of str
        Values of the state that are outputs of the model.

    Attributes
    ----------
    positions : (n_atoms, 3)
        Of all molecules, bohr.
    key : tuple
        The same for the same molecules at other positions.

    Raises
    ------
    InputError
        The state is periodic, or not on the processor, or its systems are not in order; or its charges cannot be read.
    """

    def __init__(self, state: SimState | dict[str, Any], electrons: Electrons, ignored: Collection[str]) -> None:
        if isinstance(state, dict):
            state = SimState(**{"masses": torch.ones_like(state["positions"][:, 0]), **state})
        if torch.as_tensor(state.pbc).any():
            raise InputError(
                "The state is periodic, and the densities of DenSNet are those of isolated molecules. Make the "
                "molecules whole (not wrapped into the cell) and set state.pbc = False."
            )
        if state.positions.device.type != "cpu":
            raise InputError(f"The model computes on the processor, and the state is on {state.positions.device}.")
        system = state.system_idx.numpy()
        if (np.diff(system) < 0).any():
            raise InputError("The systems of a state must be in ascending order; state.system_idx is not.")
        self._electrons, self._said = electrons, electrons.said(state, ignored)
        self._numbers, self._ends = state.atomic_numbers.numpy().astype(np.int64), np.cumsum(np.bincount(system))[:-1]
        self.positions = state.positions.detach().numpy().astype(np.float64) / BOHR_TO_ANGSTROM
        self.key = (self._numbers.tobytes(), self._ends.tobytes(), *sorted(self._said.items()))

    def structures(self) -> list[Structure]:
        """The molecules at these positions; ``InputError`` if the model was told other charges than the state says."""
        numbers, positions = np.split(self._numbers, self._ends), np.split(self.positions, self._ends)
        electrons = self._electrons.of(numbers, self._said)
        return [Structure(*parts) for parts in zip(numbers, positions, *electrons, strict=True)]
