"""Pictures of slices: what they show, read back as pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.density.electron import ExpandedDensity, OrbitalDensity
from densnet_core.density.picture import plot_slice
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.structures import Structure

PRIOR = AtomicPrior(GaussianBasis("soft", {z: [Shell(0, (0.8,), (1.0,))] for z in (1, 9)}))
BASIS = GaussianBasis("p", {z: [Shell(1, (0.6,), (1.0,))] for z in (1, 9)})
FLUORIDE = Structure(np.array([9, 1]), np.array([[0.0, 0.0, -0.9], [0.0, 0.0, 0.9]]))


def density(strength: float) -> ExpandedDensity:
    """With ``strength`` electrons moved along the bond."""
    return ExpandedDensity(FLUORIDE, BASIS, strength * np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), PRIOR)


def drawing(path: Path) -> NDArray[np.float64]:
    """Pixels (rows, columns, 3) of the inner part of the axes, without the colour bar."""
    pixels = np.asarray(imread(path), dtype=float)[..., :3]
    rows, columns = pixels.shape[:2]
    return pixels[int(0.15 * rows) : int(0.85 * rows), int(0.15 * columns) : int(0.7 * columns)]


def share(pixels: NDArray[np.float64], channel: int, over: int) -> float:
    """Part of the pixels in which one colour clearly exceeds another."""
    return float((pixels[..., channel] > pixels[..., over] + 0.3).mean())


def test_electrons_gained_are_red_and_lost_are_blue(tmp_path: Path) -> None:
    for strength in (0.3, 0.0):
        plot_slice(tmp_path / "slice.png", density(strength), "difference", n_points=61, dpi=60)
        pixels = drawing(tmp_path / "slice.png")
        if strength:
            assert share(pixels, 0, 2) > 0.03
            assert share(pixels, 2, 0) > 0.03
        else:
            assert share(pixels, 0, 2) == share(pixels, 2, 0) == 0.0


def test_the_potential_is_blue_at_nuclei(tmp_path: Path) -> None:
    """Of an anion it is red far out: electrons are there, nothing else."""
    plot_slice(tmp_path / "slice.png", density(0.0), "potential", n_points=61, dpi=60)
    assert share(drawing(tmp_path / "slice.png"), 2, 0) > 0.03
    basis = GaussianBasis("s", {z: [Shell(0, (0.2,), (1.0,))] for z in (1, 9)})
    anion = ExpandedDensity(FLUORIDE, basis, np.array([0.3, 0.0]), PRIOR)
    plot_slice(tmp_path / "slice.png", anion, "potential", n_points=61, dpi=60)
    assert share(drawing(tmp_path / "slice.png"), 0, 2) > 0.3


def test_a_plane_without_density_is_of_one_colour(tmp_path: Path) -> None:
    across = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    plot_slice(tmp_path / "near.png", density(0.1), "density", n_points=61, dpi=60)
    far = np.array([0.0, 0.0, 30.0])
    plot_slice(tmp_path / "far.png", density(0.1), "density", across, far, n_points=61, dpi=60)
    bright = [float((drawing(tmp_path / f"{name}.png")[..., 0] > 0.8).mean()) for name in ("near", "far")]
    assert bright[0] > 10 * max(bright[1], 1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": np.array([[1.0, 0, 0], [1, 1, 0]])}, "two orthonormal directions"),
        ({"axes": np.eye(3)}, "two orthonormal directions"),
        ({"centre": np.zeros(2)}, "a centre of shape"),
        ({"n_points": 1}, "at least two points"),
        ({"limit": 0.0}, "positive limit"),
        ({"quantity": "potentail"}, "Did you mean 'potential'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plot_slice(tmp_path / "x.png", density(0.1), **options)


def test_orbitals_have_no_potential_and_no_folder_is_made(tmp_path: Path) -> None:
    orbitals = OrbitalDensity(FLUORIDE, BASIS, np.ones((6, 1)), np.ones(1))
    with pytest.raises(InputError, match="OrbitalDensity has no 'potential': fit it"):
        plot_slice(tmp_path / "x.png", orbitals, "potential")
    with pytest.raises(InputError, match=r"Cannot write the picture .*nowhere"):
        plot_slice(tmp_path / "nowhere" / "x.png", density(0.0), n_points=11)
