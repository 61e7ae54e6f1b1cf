"""The core's own components, announced through the same entry points as everybody's."""

from densnet_core.plugins.component import Component, Kind
from densnet_core.plugins.hookspecs import hookimpl

_INSTALL = "pip install densnet-core"


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.DENSITY_MODEL,
            name="equivariant",
            target="densnet_core.models.equivariant_density:EquivariantDensityModel",
            config="densnet_core.models.config:DensityModelOptions",
            summary="Difference to superposed atoms from an equivariant backbone; conserves the charge",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.ENERGY_MODEL,
            name="equivariant",
            target="densnet_core.models.equivariant_energy:EquivariantEnergyModel",
            config="densnet_core.models.config:EnergyModelOptions",
            summary="Total energy from the predicted density through an equivariant backbone",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.SAMPLER,
            name="normal-modes",
            target="densnet_core.sampling.normal_modes:NormalModeSampler",
            config="densnet_core.sampling.config:NormalModeOptions",
            summary="Random displacements along the harmonic modes of the minimum",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.SAMPLER,
            name="file",
            target="densnet_core.sampling.files:FileSampler",
            config="densnet_core.sampling.config:FileOptions",
            summary="Geometries from an XYZ file",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.SAMPLER,
            name="langevin",
            target="densnet_core.sampling.langevin:LangevinSampler",
            config="densnet_core.sampling.config:LangevinOptions",
            summary="Langevin dynamics with the reference backend's own forces",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.SAMPLER,
            name="torsion-scan",
            target="densnet_core.sampling.torsions:TorsionScanSampler",
            config="densnet_core.sampling.config:TorsionScanOptions",
            summary="Rigid rotations about given bonds",
            install=_INSTALL,
        ),
        Component(
            kind=Kind.EXECUTOR,
            name="local",
            target="densnet_core.reference.local:LocalExecutor",
            config="densnet_core.reference.config:LocalExecutorOptions",
            summary="Processes on this machine",
            install=_INSTALL,
        ),
    ]
