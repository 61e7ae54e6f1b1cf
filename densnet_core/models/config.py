"""Options of the models that ship with the core."""

from typing import Literal

from pydantic import Field

from densnet_core.options import Options


class DensityModelOptions(Options):
    """Options of the density model ``equivariant``; its size is that of the backbone."""

    charge: Literal["flow", "spread"] = Field(
        default="flow",
        description="How the electron count is made exact: by flows between neighbours, or spread over the molecule as "
        "in models of before, without flows, in which distant molecules change each other.",
    )
    state_channels: int = Field(
        default=16, ge=1, description="Features for charge and multiplicity, where they differ in the training data."
    )
    response: bool = Field(
        default=False,
        description="Whether it also predicts how the density answers to an electric field, and so polarizabilities; "
        'learned from frames with [reference] properties = ["polarizability", "density_response"].',
    )


class EnergyModelOptions(Options):
    """Options of the energy model ``equivariant``."""

    l_in: int = Field(default=2, ge=0, le=6, description="Highest l of the density's amplitudes that the model reads.")
    channels_in: int = Field(default=32, ge=1, description="Channels to which the amplitudes of each l are mapped.")
    head_width: int = Field(default=64, ge=1, description="Width of the layers between backbone and atomic energies.")


class SharedEnergyOptions(Options):
    """Options of the energy model ``shared``."""

    head_width: int = Field(default=64, ge=1, description="Width of the layer between features and atomic energies.")
    long_range: Literal["none", "coulomb"] = Field(
        default="none",
        description="What acts beyond the backbone's cutoff: nothing, or the Coulomb interaction of the predicted "
        "densities, as multipoles of the atoms.",
    )
    long_range_angstrom: float = Field(
        default=2.5,
        gt=0,
        description="Distance of two atoms, angstrom, from which on their interaction is whole; it is switched on from "
        "half of it. At most the backbone's cutoff.",
    )
