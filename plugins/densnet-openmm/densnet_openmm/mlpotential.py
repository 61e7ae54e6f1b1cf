"""DenSNet models in OpenMM-ML: ``MLPotential("densnet", model="runs/water/model")``.

OpenMM-ML imports this module whenever it is imported itself, so torch is imported on first use only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from densnet_core.errors import InputError, nearest

if TYPE_CHECKING:
    from densnet_core.potentials.base import Potential

OF_OPENMMML: Final = ("linkAtomDistances", "mlLongRange")
"""Arguments that OpenMM-ML reads itself and hands on."""


class DenSNetPotentialFactory(MLPotentialImplFactory):  # type: ignore[misc]
    """Makes ``DenSNetPotentialImpl``; registered as "densnet" in the entry points of this distribution."""

    def createImpl(self, name: str, model: Potential | str | Path | None = None, **args: Any) -> DenSNetPotentialImpl:
        """See ``MLPotentialImplFactory``."""
        if model is None or args:
            raise InputError(
                f'A DenSNet potential is MLPotential("{name}", model=...), the folder or zip file of a trained model'
                + (f"; found {', '.join(sorted(args))}." if args else ".")
            )
        from densnet_core.potentials.densnet import DenSNet

        return DenSNetPotentialImpl(DenSNet.load(model) if isinstance(model, str | Path) else model)


class DenSNetPotentialImpl(MLPotentialImpl):  # type: ignore[misc]
    """A model for all of a topology (``createSystem``) or some atoms of it (``createMixedSystem``).

    Parameters
    ----------
    potential : Potential
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential

    def addForces(
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,
        charge: int = 0,
        multiplicity: int = 1,
        **args: Any,
    ) -> None:
        """Add the model as an ``openmm.PythonForce``; charge and multiplicity are those of the atoms together."""
        from densnet_openmm.force import add_solute, make_solute

        for name in args:
            if name not in OF_OPENMMML:
                raise InputError(
                    f"A DenSNet potential has no option {name!r}. {nearest(name, ('charge', 'multiplicity'))}"
                )
        solute = make_solute(system, topology, self.potential, atoms, charge, multiplicity)
        add_solute(system, topology, solute, forceGroup)

    def getMLLongRange(self) -> bool:
        """False: the model sees an isolated molecule, and no periodic images of it."""
        return False
