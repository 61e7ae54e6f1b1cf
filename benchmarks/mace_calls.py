"""Calls of an untrained MACE model at the request of ``bench_forces.py``: IRREPS REPLICAS.

It runs where mace-torch is installed and imports nothing of ours. The first line on stdin is the molecule (atomic
numbers; coordinates in angstrom), every other asks for one call for energy and forces; each is answered by a line.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric

CUTOFF = 5.0


def untrained(irreps: str, table: AtomicNumberTable) -> torch.nn.Module:
    """A model of these elements with random parameters, float32."""
    torch.manual_seed(0)
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(table),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(table)),
        avg_num_neighbors=8.0,
        atomic_numbers=table.zs,
        correlation=3,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    ).to(torch.float32)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def main() -> None:
    torch.set_num_threads(1)
    irreps, replicas = sys.argv[1], int(sys.argv[2])
    numbers_text, coordinates = sys.stdin.readline().split(";")
    numbers = np.array([int(z) for z in numbers_text.split()])
    positions = np.array([float(x) for x in coordinates.split()]).reshape(-1, 3)
    table = AtomicNumberTable(sorted({int(z) for z in numbers}))
    model = untrained(irreps, table)
    configuration = data.Configuration(atomic_numbers=numbers, positions=positions, properties={}, property_weights={})
    torch.set_default_dtype(torch.float32)
    frames = [data.AtomicData.from_config(configuration, z_table=table, cutoff=CUTOFF) for _ in range(replicas)]
    loader = torch_geometric.dataloader.DataLoader(frames, batch_size=replicas, shuffle=False)
    batch = next(iter(loader)).to_dict()
    print("ready", flush=True)
    for _ in sys.stdin:
        model(batch, training=False, compute_force=True)
        print("done", flush=True)


if __name__ == "__main__":
    main()
