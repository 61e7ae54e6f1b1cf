"""What this distribution offers to DenSNet.

Imported at every start of ``densnet``: it names classes and functions as text, and they are imported on first use.
"""

from densnet_core.plugins import Component, Kind, Objective, Quantity, StageDescription, hookimpl

_INSTALL = "pip install densnet-bonds"


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.DENSITY_MODEL,
            name="bonds",
            target="densnet_bonds.density:BondsDensityModel",
            config="densnet_bonds.config:BondsOptions",
            summary="Density of each atom from its bonds, up to three bodies; no backbone",
            install=_INSTALL,
            api="2.0",
        ),
        Component(
            kind=Kind.DENSITY_MODEL,
            name="bonds-response",
            target="densnet_bonds.response:BondsResponseModel",
            config="densnet_bonds.config:BondsOptions",
            summary="The same, and the response of the density to a uniform field",
            install=_INSTALL,
            api="2.0",
        ),
        Component(
            kind=Kind.ENERGY_MODEL,
            name="bonds",
            target="densnet_bonds.energy:BondsEnergyModel",
            config="densnet_bonds.config:BondsOptions",
            summary="Energy of each atom from its bonds and its part of the density",
            install=_INSTALL,
            api="2.0",
        ),
    ]


@hookimpl
def densnet_quantities() -> list[Quantity | Objective]:
    return [
        Quantity(
            name="traceless_quadrupole",
            unit="e bohr^2",
            per="molecule",
            rank=2,
            extensive=False,  # two molecules have a quadrupole of their distance, too
            depends_on_origin=False,  # it is about the centre of the nuclear charge
            summary="Traceless quadrupole about the centre of the nuclear charge",
            reference="densnet_bonds.label:from_calculation",
            output="densnet_bonds.label:from_densities",
        ),
        Objective(
            name="traceless_quadrupole",
            stage="density",
            labels=("traceless_quadrupole",),
            outputs=("traceless_quadrupole",),
            summary="Error of the traceless quadrupole; no weight unless the configuration gives one",
        ),
    ]


@hookimpl
def densnet_stages() -> list[StageDescription]:
    return [
        StageDescription(
            name="quadrupole_table",
            target="densnet_bonds.table:QuadrupoleTable",
            config="densnet_bonds.config:QuadrupoleTableOptions",
            summary="Quadrupoles of the held-out frames as a CSV file",
        )
    ]
