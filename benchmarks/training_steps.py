"""Steps of both stages on ethanol in densnet-m, timed at the request of ``bench_training.py``: FRAMES BATCH NETWORKS.

NETWORKS is a backbone, of a density network and of an energy network on top of it; or ``shared``, the standard ones,
which learn together in the second stage; or ``compiled``, the same by native code.

A program of its own, so that it runs with the densnet_core of any commit that is on PYTHONPATH. Every line on stdin,
``density`` or ``energy`` and a number of steps, is answered by a JSON list of seconds [wall, processor] of each step.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densnet_core.basis.library import basis_by_name
from densnet_core.plugins.component import Kind
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "ethanol1.npz"
PLANNED_STEPS = 5000


def frames(number: int) -> tuple[list[Structure], list[np.ndarray], list[np.ndarray]]:
    """Displaced copies of an ethanol molecule, coefficients and forces at random: a step costs the same with any."""
    with np.load(DATA, allow_pickle=False) as file:
        numbers, positions = file["numbers"][0], file["positions_angstrom"][0] / BOHR_TO_ANGSTROM
    random = np.random.default_rng(0)
    structures = [Structure(numbers, positions + random.normal(scale=0.1, size=positions.shape)) for _ in range(number)]
    n_functions = basis_by_name("densnet-m", [1, 6, 8]).n_functions(numbers)
    coefficients = [random.normal(scale=0.01, size=n_functions) for _ in structures]
    return structures, coefficients, [random.normal(scale=0.03, size=positions.shape) for _ in structures]


def objectives(n_frames: int, batch_size: int, backbone: str, device: str = "cpu") -> dict[str, Any]:
    """The objectives of both stages, in the interface of whichever core this is; on another device those of today."""
    structures, coefficients, forces = frames(n_frames)
    energies, dipoles = [np.array(-155.0) for _ in structures], [np.zeros(3) for _ in structures]
    basis = basis_by_name("densnet-m", [1, 6, 8])
    torch.manual_seed(0)
    try:
        from densnet_core.training.data import LabelledFrames
    except ImportError:
        labels = {"density": coefficients, "energy": energies, "forces": forces, "dipole": dipoles}
        return _today(basis, structures, labels, batch_size, backbone, device)
    from densnet_core.density.base import DensitySpecification
    from densnet_core.workflow.model import NetworkChoice

    from densnet_core.training.density import DensityObjective
    from densnet_core.training.energy import EnergyObjective

    choice, specification = NetworkChoice("equivariant", "e3nn"), DensitySpecification(basis, "coulomb", basis.elements)
    density, energy = (choice.build(kind, specification) for kind in (Kind.DENSITY_MODEL, Kind.ENERGY_MODEL))
    data = LabelledFrames(structures, coefficients, np.array(energies), forces, dipoles)
    first = DensityObjective(density, data, 1.0, batch_size, 0)
    first.prepare()
    return {"density": first, "energy": lambda: EnergyObjective(energy, density, data, 1.0, batch_size, 0)}


def _today(basis: Any, structures: Any, labels: Any, batch: int, backbone: str, device: str) -> Any:
    from densnet_core.datasets.dataset import Dataset
    from densnet_core.density.specification import DensitySpecification
    from densnet_core.potentials.choice import NetworkChoice
    from densnet_core.training.density import DensityObjective
    from densnet_core.training.energy import EnergyObjective
    from densnet_core.training.terms import wanted_objectives

    if backbone in ("shared", "compiled"):
        return _shared(basis, structures, labels, batch, device, backbone == "compiled")
    choice, specification = (
        NetworkChoice("equivariant", backbone),
        DensitySpecification(basis, "coulomb", basis.elements),
    )
    density, energy = (choice.build(kind, specification)[0] for kind in (Kind.DENSITY_MODEL, Kind.ENERGY_MODEL))
    data, (first, second) = Dataset(structures, labels), (wanted_objectives(s, {}) for s in ("density", "energy"))
    of_density = DensityObjective(density, data, first, batch, 0)
    of_density.prepare()

    def of_energy() -> EnergyObjective:
        return EnergyObjective(energy, density, data, second, batch, 0, steps=PLANNED_STEPS)

    return {"density": of_density, "energy": of_energy}


def _shared(basis: Any, structures: Any, labels: Any, batch: int, device: str, native: bool) -> Any:
    from densnet_core.datasets.dataset import Dataset
    from densnet_core.density.specification import DensitySpecification
    from densnet_core.potentials.choice import STANDARD
    from densnet_core.training.density import DensityObjective
    from densnet_core.training.joint import JointObjective
    from densnet_core.training.plan import joint_objectives
    from densnet_core.training.terms import wanted_objectives

    specification = DensitySpecification(basis, "coulomb", basis.elements)
    density = STANDARD[0].build(Kind.DENSITY_MODEL, specification)[0]
    energy = STANDARD[1].build(Kind.ENERGY_MODEL, specification, None, density)[0]
    data, how = Dataset(structures, labels), (batch, 0, None, device, native)
    first = DensityObjective(density, data, wanted_objectives("density", {}), *how)
    first.prepare()
    return {"density": first, "energy": lambda: JointObjective(density, energy, data, joint_objectives({}), *how)}


class Stepper:
    """Steps of a stage: loss, gradient, Adam and the moving average, as the loop of each core takes them."""

    def __init__(self, objective: Any) -> None:
        self.objective, self.number = objective, 0
        module = getattr(objective, "module", None) or objective.model  # whose name it was
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        fused = hasattr(objective, "batches")
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, **({"fused": True} if fused else {}))
        self.average = [p.detach().clone() for p in self.parameters]

    def __call__(self) -> list[float]:
        wall, processor = time.perf_counter(), time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.objective.step(self.number)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 10.0)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 0.01)
        self.number += 1
        return [time.perf_counter() - wall, time.process_time() - processor]


def main() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    made = objectives(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    steppers = {"density": Stepper(made["density"])}
    print("ready", flush=True)
    for line in sys.stdin:
        stage, count = line.split()
        if stage == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)
            continue
        if stage not in steppers:  # it freezes the density network
            objective = made["energy"]()
            objective.prepare()
            steppers[stage] = Stepper(objective)
        print(json.dumps([steppers[stage]() for _ in range(int(count))]), flush=True)


if __name__ == "__main__":
    main()
