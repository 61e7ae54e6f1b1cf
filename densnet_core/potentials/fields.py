"""Models in a uniform electric field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from densnet_core.errors import InputError
from densnet_core.models.field import DensityInField, EnergyInField
from densnet_core.models.response import RESPONSE
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.outputs import derived_quantities


def in_field(
    model: DenSNet, field: Sequence[float], manager: Manager | None = None, *, order: Literal[1, 2] | None = None
) -> DenSNet:
    """A model in a uniform electric field: energies and forces have the share of the predicted density.

    >>> in_field(load_model("ethanol"), (0.0, 0.0, 0.005)).predict([structure])

    The energy is E - F . mu, and densities and dipoles are those without the field. A model that predicts responses
    ([density] options = { response = true }) gives the next order as well: E - F . mu - 1/2 F . alpha . F, and
    densities and dipoles in the field to first order. In both cases dE/dF is minus the dipole moment given, to the last
    digit. Of an ion the dipole is about the origin. What is given back goes wherever a model does: calculators,
    engines, forces of OpenMM.

    Parameters
    ----------
    model : DenSNet
    field : sequence of float
        (3,), hartree/(e bohr), of which 0.001 are 5.14e8 V/m. H = H_0 - F . mu, as for the backends.
    manager : Manager or None
    order : {1, 2} or None
        Of the energy in the field; None: the highest that the model knows.

    Raises
    ------
    InputError
        The field is not three finite numbers, the model is in one, or knows no response and the order is 2.
    """
    strength = np.asarray(field, dtype=np.float64)
    if strength.shape != (3,) or not np.isfinite(strength).all():
        raise InputError(f"An electric field is three finite numbers in hartree/(e bohr), not {field!r}.")
    if "electric_field" in model.document:
        raise InputError("The model is in a field already; put the one without into the sum of both.")
    knows_response = RESPONSE in model.density.densities
    if order == 2 and not knows_response:
        raise InputError(
            "The model does not know how its density answers to a field, so its energy in one is of first order. Train "
            "one with [density] options = { response = true }."
        )
    given, second_order = strength.tolist(), knows_response and order != 1
    dipole = derived_quantities(model.density.densities, manager or get_manager())["dipole"]
    density = DensityInField(model.density, given) if second_order else model.density
    energy = EnergyInField(model.energy, dipole, dipole.l_max, given, second_order)
    document = {**model.document, "electric_field": given}
    choices = (model.density_choice, model.energy_choice)
    return _InField(density, energy, model.prior, *choices, document, manager, model.domain)


class _InField(DenSNet):
    """What ``in_field`` gives; no package of its own."""

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "electric_field": self.document["electric_field"]}

    def save(self, path: Path) -> None:
        raise InputError("A model in an electric field is not saved: save the one without, and take in_field of it.")
