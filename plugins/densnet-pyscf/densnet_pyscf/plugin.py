"""What this distribution offers to DenSNet. Light: PySCF is imported on first use only."""

from densnet_core.plugins import Component, Kind, hookimpl

PROPERTIES = frozenset({"quadrupole", "polarizability", "density_response", "spin_density"})


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.REFERENCE,
            name="pyscf",
            target="densnet_pyscf.backend:PySCFBackend",
            config="densnet_pyscf.config:PySCFOptions",
            summary="Density functionals and Hartree-Fock with PySCF",
            install="pip install densnet-pyscf",
            api="2.0",
            requires=("pyscf",),
            capabilities=PROPERTIES,
        )
    ]
