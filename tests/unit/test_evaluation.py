"""The record of errors that ``densnet evaluate`` prints, from errors that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_core.training.evaluation import ErrorSummary, frame_errors

BASIS = GaussianBasis("sp", {1: [Shell(0, (0.8,), (1.0,)), Shell(1, (0.7,), (1.0,))]})
PRIOR = AtomicPrior(GaussianBasis("p", {1: [Shell(0, (1.6,), (1.0,))]}))
HYDROGEN = Structure(np.array([1]), np.zeros((1, 3)), multiplicity=2)
COUNT = float(MolecularBasis(BASIS, [1]).electron_counts()[0])
# The square of the s function is one electron of twice its exponent: the prior itself.
REFERENCE = OrbitalDensity(HYDROGEN, BASIS, np.array([[1.0], [0.0], [0.0], [0.0]]), np.ones(1))


STILL = (np.zeros((1, 3)), np.zeros((1, 3)))
FORCES = (np.array([[1e-3, -1e-3, 0.0]]), np.zeros((1, 3)))


def expanded(electrons: float, p: float = 0.0) -> ExpandedDensity:
    return ExpandedDensity(HYDROGEN, BASIS, np.array([electrons / COUNT, 0.0, 0.0, p]), PRIOR)


def test_the_record_has_the_units_its_keys_name(tmp_path: Path) -> None:
    summary = ErrorSummary()
    dipole = expanded(0.0, 0.1).dipole()
    summary.add(frame_errors(HYDROGEN, expanded(0.03), (REFERENCE, expanded(0.01)), (1e-3, 0.0), FORCES, np.zeros(3)))
    summary.add(
        frame_errors(HYDROGEN, expanded(0.01, 0.1), (REFERENCE, expanded(0.01)), (-4e-3, -1e-3), STILL, dipole * 0.5)
    )
    record = summary.to_dict()
    assert record["frames"] == 2
    assert record["density"]["nmae_fit_floor_percent"] == pytest.approx(1.0, rel=1e-6)
    assert record["density"]["electron_count_max_error"] == pytest.approx(0.03, rel=1e-9)
    assert record["dipole"]["mae_debye"] == pytest.approx(np.linalg.norm(dipole) / 4 * 2.541746473, rel=1e-6)
    assert record["energy"]["mae_mev"] == pytest.approx(2 * 27.211386246, rel=1e-9)
    assert record["energy"]["rmse_mev"] == pytest.approx(5**0.5 * 27.211386246, rel=1e-9)
    assert record["energy"]["worst"]["error_mev"] == pytest.approx(-3 * 27.211386246, rel=1e-9)
    assert record["forces"]["worst"]["frame"] == HYDROGEN.content_hash().hex()
    assert record["forces"]["worst"]["rmse_mev_per_angstrom"] == pytest.approx(51.4220675 * (2 / 3) ** 0.5, rel=1e-8)
    picture = tmp_path / "parity.png"
    summary.draw_parity(picture)
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert record["energy"]["mean_error_mev"] == pytest.approx(-27.211386246, rel=1e-9)
    assert record["forces"]["mae_mev_per_angstrom"] == pytest.approx(51.4220675 / 3, rel=1e-8)


def test_each_density_error_is_the_mean_over_frames() -> None:
    summary = ErrorSummary()
    for model in (0.03, 0.07):
        summary.add(
            frame_errors(HYDROGEN, expanded(model), (REFERENCE, expanded(0.01)), (0.0, 0.0), STILL, np.zeros(3))
        )
    density = summary.to_dict()["density"]
    assert density["nmae_model_vs_fit_percent"] == pytest.approx(4.0, rel=1e-6)
    assert density["nmae_model_vs_reference_percent"] == pytest.approx(5.0, rel=1e-6)


def test_no_frame_is_an_error() -> None:
    with pytest.raises(InputError, match="no frame to evaluate"):
        ErrorSummary().to_dict()


def test_frames_count_in_what_they_have(tmp_path: Path) -> None:
    summary = ErrorSummary()
    summary.add(frame_errors(HYDROGEN, expanded(0.03), energy=(1e-3, 0.0)))
    summary.add(frame_errors(HYDROGEN, expanded(0.03), forces=FORCES))
    record = summary.to_dict()
    assert (record["frames"], record["energy"]["frames"], record["forces"]["frames"]) == (2, 1, 1)
    assert record["energy"]["mae_mev"] == pytest.approx(27.211386246, rel=1e-9)
    assert not {"density", "dipole"} & set(record)


def test_polarizabilities_are_in_cubic_angstrom() -> None:
    summary, wanted = ErrorSummary(), np.diag([9.0, 10.0, 11.0])
    summary.add(frame_errors(HYDROGEN, expanded(0.03), polarizability=(wanted + 0.9 * np.eye(3), wanted)))
    summary.add(frame_errors(HYDROGEN, expanded(0.03)))
    record = summary.to_dict()["polarizability"]
    assert record["frames"] == 1
    assert record["mae_angstrom3"] == pytest.approx(0.3 * 0.529177210903**3, rel=1e-9)
    assert record["rmse_angstrom3"] == pytest.approx(0.9 / 3**0.5 * 0.529177210903**3, rel=1e-9)
    assert record["worst"]["rmse_angstrom3"] == pytest.approx(record["rmse_angstrom3"], rel=1e-12)
