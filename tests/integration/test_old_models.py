"""Models made before version 0.2 open, and give what the code that made them gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Structure

DATA = Path(__file__).parents[1] / "data"
EXPECTED = json.loads((DATA / "model_v1.json").read_text(encoding="utf-8"))
WATER = np.array([8, 1, 1])


def test_an_old_model_gives_the_numbers_of_the_code_that_made_it(tmp_path: Path) -> None:
    model = DenSNet.load(DATA / "model_v1.zip")
    model.save(tmp_path / "again")
    structures = [Structure(WATER, np.array(positions)) for positions in EXPECTED["positions_bohr"]]
    for opened in (model, DenSNet.load(tmp_path / "again")):
        found = opened.predict(structures)
        # the networks are in float32: processors differ in the last digits
        np.testing.assert_allclose([one.energy for one in found], EXPECTED["energies_hartree"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            [one.forces for one in found], EXPECTED["forces_hartree_per_bohr"], rtol=0, atol=1e-6
        )
        np.testing.assert_allclose([one.dipole for one in found], EXPECTED["dipoles_e_bohr"], rtol=0, atol=1e-6)
        assert opened.specification.states == ((0, 1),)


def test_an_old_model_refuses_states_that_it_was_not_trained_on() -> None:
    model = DenSNet.load(DATA / "model_v1.zip")
    positions = np.array(EXPECTED["positions_bohr"][0])
    for charge, multiplicity in ((1, 2), (0, 3), (-2, 1)):
        with pytest.raises(InputError, match=rf"charge {charge} and multiplicity {multiplicity}.*\(0, 1\)"):
            model.predict([Structure(WATER, positions, charge, multiplicity)])
