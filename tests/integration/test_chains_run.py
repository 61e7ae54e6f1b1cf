"""From the SMILES of a unit to a model of chains of several lengths, with real RDKit, GFN2-xTB and PySCF."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend
from densnet_rdkit.chains import ChainSampler
from densnet_rdkit.config import ChainOptions
from tiny_run import densnet

from densnet_core.density.electron import OrbitalDensity, nmae_percent
from densnet_core.density.quadrature import quadrature
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import SPLIT
from densnet_core.units import HARTREE_TO_EV

CONFIG = """
schema = 1
output = "out"
[system]
smiles = "CCC"
[sampling]
method = "xtb-langevin"
temperature = 300.0
count = 8
walkers = 1
interval_fs = 10.0
equilibration_fs = 50.0
[sampling.start]
method = "chains"
unit = "*C*"
units = [1, 2, 3]
[reference]
backend = "pyscf"
method = "HF"
basis = "STO-3G"
[basis]
name = "densnet-s"
[density.backbone_options]
channels = 8
product_channels = 8
[training]
train = 18
validation = 2
test = 4
batch_size = 6
density = { steps = 150, learning_rate = 1e-2 }
energy = { steps = 150, learning_rate = 1e-2 }
"""
LEVEL = LevelOfTheory("HF", "STO-3G")


def test_a_model_of_short_chains_is_trained_from_one_file_and_goes_on_to_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "chain.toml").write_text(CONFIG)
    done = densnet("train", "chain.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    output = tmp_path / "out"
    path = output / "reference" / "pyscf-HF-STO-3G.zarr"
    with ReferenceStore.open(path) as store:
        formulas = [store.structure(i).formula for i in range(len(store))]
        assert sorted(formulas) == ["C2H6"] * 8 + ["C3H8"] * 8 + ["CH4"] * 8
        training = [store.index_of(bytes.fromhex(content)) for content in store.read_document(SPLIT)["train"]]
        assert {formulas[index] for index in training} == {"CH4", "C2H6", "C3H8"}

    done = densnet("evaluate", output / "model", path, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 4

    model = DenSNet.load(output / "model")
    methane, propane, butane = ChainSampler(ChainOptions(unit="*C*", units=[1, 3, 4])).build(0, 1)
    alone = model.predict([butane])[0]
    together = model.predict([methane, butane])[1]
    assert alone.density.electron_count() == pytest.approx(34.0, abs=1e-9)
    assert together.energy == pytest.approx(alone.energy, abs=1e-6)
    np.testing.assert_allclose(together.forces, alone.forces, atol=1e-6)
    np.testing.assert_allclose(alone.forces.sum(axis=0), 0.0, atol=1e-5)

    for chain, tolerance_ev in ((propane, 0.3), (butane, 0.6)):
        predicted, reference = model.predict([chain])[0], PySCFBackend(LEVEL).compute(chain)
        points, weights = quadrature(chain)
        basis = PySCFBackend(LEVEL).orbital_basis(chain.numbers)
        exact = OrbitalDensity(chain, basis, reference.orbitals, reference.occupations).evaluate(points)
        atoms, whole = (
            nmae_percent(exact, density(points), weights, chain.n_electrons)
            for density in (predicted.density.atoms, predicted.density.evaluate)
        )
        assert abs(predicted.energy - reference.energy) * HARTREE_TO_EV < tolerance_ev
        assert whole < 0.3 * atoms
