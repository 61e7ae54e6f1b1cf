"""Value and gradient of density losses for one ethanol frame at about 300 functions; one thread, float64.

The aim is at most 10 ms for each. With a fixed basis the metric M and the projection b of the reference density are
known, and the loss c M c - 2 c b is differentiated in c. A basis whose exponents a network scales changes with every
step: its self-repulsion and its repulsion with the reference, held in a large fixed set, are computed anew, without a
matrix, and are differentiated in c and in the scale factors.
"""

from __future__ import annotations

import torch
from measuring import head, interleave, structures, table
from torch import Tensor

from densnet_core.basis.integrals import contracted_two_center, two_center
from densnet_core.basis.library import basis_by_name
from densnet_core.basis.molecular import MolecularBasis

BASIS, LARGE = "densnet-m", "densnet-l"


def main() -> None:
    torch.set_num_threads(1)
    head("torch")
    (ethanol,) = structures("ethanol1")
    functions, large = (
        MolecularBasis(basis_by_name(name, ethanol.numbers), ethanol.numbers) for name in (BASIS, LARGE)
    )
    positions = torch.tensor(ethanol.positions)
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(large.n_functions, dtype=torch.float64, generator=generator)
    coefficients = torch.randn(functions.n_functions, dtype=torch.float64, generator=generator).requires_grad_()
    highest = functions.groups[-1].l
    shape = (functions.n_atoms, highest + 1)
    factors = (1.0 + 0.1 * torch.rand(shape, dtype=torch.float64, generator=generator)).requires_grad_()
    metric = two_center("coulomb", functions, positions)
    projection = contracted_two_center("coulomb", functions, positions, large, positions, reference)

    def fixed() -> tuple[Tensor, ...]:
        loss = coefficients @ (metric @ coefficients) - 2.0 * coefficients @ projection
        return torch.autograd.grad(loss, coefficients)

    def flexible() -> Tensor:
        scaled = functions.scaled(factors)
        own = contracted_two_center("coulomb", scaled, positions, scaled, positions, coefficients)
        cross = contracted_two_center("coulomb", scaled, positions, large, positions, reference)
        return coefficients @ (own - 2.0 * cross)

    def by_matrix() -> Tensor:
        scaled = functions.scaled(factors)
        own = two_center("coulomb", scaled, positions) @ coefficients
        cross = two_center("coulomb", scaled, positions, large, positions) @ reference
        return coefficients @ (own - 2.0 * cross)

    timings = interleave(
        {
            "fixed basis, gradient in c": fixed,
            "flexible basis, gradient in c and factors": lambda: torch.autograd.grad(
                flexible(), (coefficients, factors)
            ),
            "the same through matrices": lambda: torch.autograd.grad(by_matrix(), (coefficients, factors)),
        },
        rounds=25,
    )
    print(f"Ethanol, {BASIS} ({functions.n_functions} functions), reference in {LARGE} ({large.n_functions})\n")
    rows = [[name, 1e3 * timing.median, 1e3 * timing.minimum] for name, timing in timings.items()]
    table(["loss", "median ms", "min ms"], rows)
    difference = float((flexible() / by_matrix() - 1.0).detach().abs())
    print(f"Relative difference of the last two: {difference:.0e}\n")


if __name__ == "__main__":
    main()
