"""Normal modes drawn as animations and spectra, and beside those of another source."""

import numpy as np
import pytest
from ase.build import molecule
from matplotlib.image import imread
from scipy.spatial.transform import Rotation

from densnet_core.errors import InputError
from densnet_core.spectra.animation import AMPLITUDE, animation
from densnet_core.spectra.comparison import deviations, match_modes
from densnet_core.spectra.harmonic import HarmonicReference, NormalModes, broadened, normal_modes
from densnet_core.spectra.model_hessian import model_hessian
from densnet_core.spectra.plots import plot_modes
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

AIM = Rotation.from_rotvec([0.3, -0.9, 0.5])


def modes_of(name: str | Structure, deuterium: int | None = None) -> NormalModes:
    """Modes of the force field from which optimisations start."""
    if isinstance(name, str):
        atoms = molecule(name)
        name = Structure(atoms.numbers, AIM.apply(atoms.positions) / BOHR_TO_ANGSTROM)
    masses = name.masses.copy()
    if deuterium is not None:
        masses[deuterium] = 2.01410177812
    one = Structure(name.numbers, name.positions, isotope_masses=masses)
    return normal_modes(HarmonicReference(one, 0.0, model_hessian(one), np.zeros((3 * one.n_atoms, 3))))


def test_an_animation_is_one_period_about_the_geometry():
    modes = modes_of("H2O")
    frames = np.array([frame.positions for frame in animation(modes, 1, n_frames=8)])
    shifts = frames - modes.structure.positions
    assert np.linalg.norm(shifts, axis=-1).max() == pytest.approx(AMPLITUDE)
    assert np.abs(shifts[0]).max() == pytest.approx(0.0, abs=1e-12)
    assert shifts[2] == pytest.approx(-shifts[6])
    assert shifts.sum(axis=0) == pytest.approx(0.0, abs=1e-9)
    along = shifts[2].ravel() / np.linalg.norm(shifts[2])
    mode = modes.displacements[1].ravel() / np.linalg.norm(modes.displacements[1])
    assert along @ mode == pytest.approx(1.0)


def test_broadened_lines_keep_their_intensity():
    one = modes_of("H2O")
    lines = NormalModes(
        one.structure, np.array([-500.0, 1600.0, 3700.0]), one.eigenvectors, np.ones(3), np.array([9.0, 47.5, 20.0])
    )
    grid = np.arange(0.0, 5000.0, 0.5)
    absorption = broadened(lines, grid, 20.0)
    assert absorption.sum() * 0.5 == pytest.approx(67.5, rel=1e-9)
    assert absorption[np.searchsorted(grid, 1610.0)] == pytest.approx(0.5 * absorption.max(), rel=1e-6)
    with pytest.raises(InputError, match="must be positive"):
        broadened(lines, grid, 0.0)


def test_the_picture_shows_one_source_or_two(tmp_path):
    modes = modes_of("H2O")
    lines = NormalModes(modes.structure, np.array([-90.0, 1600.0, 4200.0]), modes.eigenvectors, np.ones(3), np.ones(3))
    plot_modes(tmp_path / "one.png", lines, label="HF/STO-3G", title="H2O")
    plot_modes(tmp_path / "two.png", lines, label="HF/STO-3G", title="H2O", other=lines, other_label="model")
    purple = np.array([0xCC, 0x79, 0xA7]) / 255.0
    seen = [
        bool((np.abs(imread(tmp_path / name)[..., :3] - purple).max(axis=-1) < 0.01).any())
        for name in ("one.png", "two.png")
    ]
    assert seen == [False, True]


def test_modes_find_each_other_however_the_molecule_is_turned():
    modes = modes_of("CH3OH")
    turn = Rotation.from_rotvec([1.0, 0.2, -0.7])
    order = np.random.default_rng(0).permutation(modes.n_modes)
    turned = NormalModes(
        modes.structure.with_positions(turn.apply(modes.structure.positions) + 3.0),
        modes.wavenumbers[order] + 5.0,
        -turn.apply(modes.eigenvectors[order].reshape(-1, 3)).reshape(modes.eigenvectors.shape),
        modes.reduced_masses[order],
        modes.intensities[order] + 1.0,
    )
    matches, distance = match_modes(modes, turned)
    assert distance == pytest.approx(0.0, abs=1e-9)
    assert [one.mode for one in matches] == list(range(modes.n_modes))
    assert order[[one.other for one in matches]].tolist() == list(range(modes.n_modes))
    assert [one.overlap for one in matches] == pytest.approx(np.ones(modes.n_modes))
    found = deviations(modes, turned, matches)
    assert found.wavenumbers == pytest.approx(-5.0)
    assert found.intensities == pytest.approx(-1.0)


def test_modes_of_a_linear_molecule_are_compared_without_a_direction_about_its_axis(recwarn):
    modes = modes_of("HCN")
    matches, distance = match_modes(modes, modes_of(modes.structure.with_positions(-modes.structure.positions)))
    assert distance == pytest.approx(0.0, abs=1e-9)
    assert sorted(one.overlap for one in matches)[2:] == pytest.approx([1.0, 1.0])  # bends of one frequency mix
    assert not recwarn.list


def test_modes_of_other_molecules_are_not_compared():
    with pytest.raises(InputError, match="H2O and of CO2"):
        match_modes(modes_of("H2O"), modes_of("CO2"))
    with pytest.raises(InputError, match="isotopes"):
        match_modes(modes_of("H2O"), modes_of("H2O", deuterium=1))
    straight = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.8], [0.0, 0.0, -1.8]]))
    with pytest.raises(InputError, match="linear"):
        match_modes(modes_of("H2O"), modes_of(straight))
    far = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.8], [0.0, 4.0, -4.8]]))
    with pytest.raises(InputError, match="two conformers"):
        match_modes(modes_of("H2O"), modes_of(far))
