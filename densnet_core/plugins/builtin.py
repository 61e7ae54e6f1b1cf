"""The core's own kinds, components, stages, quantities and objectives, announced through everybody's hooks."""

from densnet_core.plugins.component import NO_BACKBONE, Component, Kind, KindDescription, StageDescription
from densnet_core.plugins.hookspecs import hookimpl
from densnet_core.plugins.quantity import Objective, Quantity

_INSTALL = "pip install densnet-core"


@hookimpl
def densnet_kinds() -> list[KindDescription]:
    return [
        KindDescription(
            Kind.BASIS,
            "densnet_core.basis.base:BasisProvider",
            "Atom-centred basis that carries the density difference",
            suite="densnet_core.testing.basis:BasisTests",
        ),
        KindDescription(
            Kind.REFERENCE,
            "densnet_core.reference.base:ReferenceBackend",
            "Program that computes the reference data",
            suite="densnet_core.testing.reference:ReferenceBackendTests",
        ),
        KindDescription(
            Kind.BACKBONE,
            "densnet_core.models.backbone:Backbone",
            "Equivariant network that our models stand on",
            suite="densnet_core.testing.backbone:BackboneTests",
        ),
        KindDescription(
            Kind.DENSITY_MODEL,
            "densnet_core.models.density:DensityModel",
            "Network from geometries to densities",
            suite="densnet_core.testing.density_model:DensityModelTests",
        ),
        KindDescription(
            Kind.ENERGY_MODEL,
            "densnet_core.models.energy:EnergyModel",
            "Network from geometries and densities to energies",
            suite="densnet_core.testing.energy_model:EnergyModelTests",
        ),
        KindDescription(
            Kind.MD_ENGINE,
            "densnet_core.md.base:MDEngine",
            "Integrator of molecular dynamics",
            suite="densnet_core.testing.md:MDEngineTests",
        ),
        KindDescription(
            Kind.SAMPLER,
            "densnet_core.sampling.base:Sampler",
            "Maker of geometries",
            suite="densnet_core.testing.sampler:SamplerTests",
        ),
        KindDescription(
            Kind.EXECUTOR,
            "densnet_core.reference.executors:Executor",
            "Where calculations run",
            suite="densnet_core.testing.executor:ExecutorTests",
        ),
        KindDescription(
            Kind.MODEL,
            "densnet_core.potentials.shipped:ShippedModel",
            "Trained model that a distribution carries",
            suite="densnet_core.testing.shipped:ShippedModelTests",
        ),
    ]


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
            kind=Kind.ENERGY_MODEL,
            name="shared",
            target="densnet_core.models.shared_energy:SharedEnergyModel",
            config="densnet_core.models.config:SharedEnergyOptions",
            summary="Total energy from the features that the density is predicted from: one network that learns both",
            install=_INSTALL,
            capabilities=frozenset({NO_BACKBONE}),
        ),
        Component(
            kind=Kind.MD_ENGINE,
            name="torch",
            target="densnet_core.md.batched:TorchEngine",
            config="densnet_core.md.config:TorchEngineOptions",
            summary="Langevin (BAOAB) and Verlet dynamics of all replicas in one call, without another program",
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
            summary="Geometries from an XYZ file or a trajectory store",
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
        _basis("densnet-s", "DenSNetS", "Small density basis for H, B, C, N, O, F, Si, P, S, Cl, Br"),
        _basis("densnet-m", "DenSNetM", "Medium density basis for H, B, C, N, O, F, Si, P, S, Cl, Br"),
        _basis("densnet-l", "DenSNetL", "Large density basis for H, B, C, N, O, F, Si, P, S, Cl, Br"),
    ]


def _basis(name: str, provider: str, summary: str) -> Component:
    return Component(
        kind=Kind.BASIS,
        name=name,
        target=f"densnet_core.basis.library:{provider}",
        config="densnet_core.options:Options",
        summary=summary,
        install=_INSTALL,
    )


@hookimpl
def densnet_stages() -> list[StageDescription]:
    return [
        _stage("harmonic", "Harmonic", "Minimum and second derivatives at the level of theory"),
        _stage("sample", "Sample", "The geometries to be labelled"),
        _stage("reference", "Reference", "Energies, forces, dipoles and orbitals of the geometries"),
        _stage("imports", "Imports", "Stores of the frames in files"),
        _stage("basis", "Basis", "A density basis optimised on training frames"),
        _stage("train", "Train", "Fits of the densities and the trained model"),
        _stage("evaluate", "Evaluate", "Errors on held-out frames"),
        _stage("export", "Export", "TorchScript for OpenMM"),
        _stage("md", "MD", "Molecular dynamics with the model"),
        _stage("spectrum", "Spectrum", "The infrared spectrum of the dynamics"),
    ]


def _stage(name: str, target: str, summary: str) -> StageDescription:
    return StageDescription(name, f"densnet_core.workflow.stages.{name}:{target}", summary=summary)


@hookimpl
def densnet_quantities() -> list[Quantity | Objective]:
    return [*_QUANTITIES, *_OBJECTIVES]


_QUANTITIES = [
    Quantity("energy", "hartree", "molecule", 0, extensive=True, depends_on_origin=False, summary="Total energy"),
    Quantity(
        "forces",
        "hartree/bohr",
        "atom",
        1,
        extensive=False,
        depends_on_origin=False,
        summary="Minus the gradient of the energy",
    ),
    Quantity(
        "coefficients",
        "e bohr^(-3/2)",
        "function",
        0,
        extensive=False,
        depends_on_origin=False,
        summary="Coefficients of the density difference in the density basis",
    ),
    *(
        Quantity(name, unit, "function", 0, extensive=False, depends_on_origin=False, summary=summary)
        for name, unit, summary in (
            ("density", "e bohr^(-3/2)", "Fit of the density minus that of the atoms"),
            ("spin_density", "e bohr^(-3/2)", "Fit of the density of alpha minus beta electrons"),
            ("density_response", "e^2 bohr^(-1/2)/hartree", "Fits of d density / d field, three in a row"),
        )
    ),
    Quantity(
        "charges",
        "e",
        "atom",
        0,
        extensive=False,
        depends_on_origin=False,
        summary="Charge of the nucleus and of the density that is expanded on it",
        output="densnet_core.models.observables:charges",
        l_max=0,
    ),
    Quantity(
        "dipole",
        "e bohr",
        "molecule",
        1,
        extensive=True,
        depends_on_origin=True,
        summary="Electric dipole moment",
        output="densnet_core.models.observables:dipole",
        l_max=1,
    ),
    Quantity(
        "quadrupole",
        "e bohr^2",
        "molecule",
        2,
        extensive=True,
        depends_on_origin=True,
        summary="Second moments of the charge about the origin, not traceless",
    ),
    Quantity(
        "polarizability",
        "bohr^3",
        "molecule",
        2,
        extensive=True,
        depends_on_origin=False,
        summary="Static dipole polarizability at fixed nuclei",
        output="densnet_core.models.observables:polarizability",
        densities=("density_response",),
        l_max=1,
    ),
]

_LOSSES = "densnet_core.training.objectives"

# The terms of the losses of both networks; each counts where the model has the output and frames the label.
_OBJECTIVES = [
    Objective(
        "density",
        "density",
        ("density",),
        ("density",),
        loss=f"{_LOSSES}:DensityError",
        weight=1.0,
        summary="Error of the density in the metric of the basis, per atom",
    ),
    Objective(
        "density_response",
        "density",
        ("density_response",),
        ("density_response",),
        loss=f"{_LOSSES}:DensityError",
        weight=1.0,
        summary="Error of the response of the density to a field, in the metric of the basis, per atom",
    ),
    Objective(
        "spin_density",
        "density",
        ("spin_density",),
        ("spin_density",),
        loss=f"{_LOSSES}:DensityError",
        weight=1.0,
        summary="Error of the spin density in the metric of the basis, per atom",
    ),
    Objective(
        "dipole",
        "density",
        ("dipole",),
        ("dipole",),
        loss=f"{_LOSSES}:DipoleError",
        weight=1.0,
        summary="Error of the dipole moment of the density against the reference's, per atom",
    ),
    Objective(
        "polarizability",
        "density",
        ("polarizability",),
        ("polarizability",),
        weight=1.0,
        summary="Error of the polarizability of the response, per atom",
    ),
    Objective(
        "energy",
        "energy",
        ("energy",),
        ("energy",),
        loss=f"{_LOSSES}:EnergyError",
        weight=1.0,
        summary="Error of the energy per atom, in the unit of the forces",
    ),
    Objective(
        "forces",
        "energy",
        ("forces",),
        ("forces",),
        loss=f"{_LOSSES}:ForceError",
        weight=1.0,
        summary="Error of the forces",
    ),
]
