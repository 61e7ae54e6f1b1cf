"""What this distribution offers to DenSNet. Psi4 itself is looked for when a backend is made."""

from densnet_core.plugins import Component, Kind, hookimpl


@hookimpl
def densnet_components() -> list[Component]:
    return [
        Component(
            kind=Kind.REFERENCE,
            name="psi4",
            target="densnet_psi4.backend:Psi4Backend",
            config="densnet_psi4.config:Psi4Options",
            summary="Density functionals and Hartree-Fock with Psi4, as a subprocess",
            install="pip install densnet-psi4",
            api="2.0",
            capabilities=frozenset({"quadrupole", "polarizability", "density_response", "spin_density"}),
        )
    ]
