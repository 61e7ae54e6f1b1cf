"""Thermal displacements along normal modes."""

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.checks import defect
from densnet_core.sampling.config import NormalModeOptions
from densnet_core.sampling.normal_modes import NormalModeSampler
from densnet_core.spectra.harmonic import HarmonicReference, normal_modes
from densnet_core.structures import Structure, read_xyz, write_xyz
from densnet_core.units import BOLTZMANN

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))


def springs(structure, stretch=0.5, cross=0.1):
    """Hessian of springs between all pairs of atoms: stiff to the first atom, soft between the others."""
    n = structure.n_atoms
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i):
            direction = structure.positions[i] - structure.positions[j]
            direction = direction / np.linalg.norm(direction)
            block = (stretch if j == 0 else cross) * np.outer(direction, direction)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b, :] += sign * block
    return HarmonicReference(structure, 0.0, hessian.reshape(3 * n, 3 * n), np.zeros((3 * n, 3)))


HARMONIC = springs(WATER)


def sample(temperature=300.0, count=20, seed=0, harmonic=HARMONIC):
    options = NormalModeOptions(temperature=temperature, count=count, seed=seed)
    return NormalModeSampler(options).sample(harmonic.structure, SamplingContext(harmonic))


def test_every_mode_has_its_thermal_variance():
    temperature, count = 300.0, 4000
    geometries = sample(temperature, count)
    modes = normal_modes(HARMONIC)
    roots = np.sqrt(WATER.masses * 1822.888486209)[:, None]
    shifts = np.array([(geometry.positions - WATER.positions) * roots for geometry in geometries])
    coordinates = np.einsum("kai,fai->fk", modes.eigenvectors, shifts)
    expected = BOLTZMANN * temperature / modes.frequencies**2
    error = np.sqrt(2.0 / count)
    assert np.abs(coordinates.var(axis=0) / expected - 1).max() < 4 * error
    assert np.abs(np.corrcoef(coordinates.T) - np.eye(3)).max() < 4 / np.sqrt(count)
    energies = [0.5 * s.ravel() @ HARMONIC.hessian @ s.ravel() for s in shifts / roots]
    assert np.mean(energies) == pytest.approx(1.5 * BOLTZMANN * temperature, rel=0.06)
    # Nothing but vibration: the centre of mass stays.
    assert np.abs(np.einsum("fai,ai->fi", shifts, roots)).max() < 1e-3 * np.abs(shifts * roots).max()


def test_equal_seeds_give_equal_lists():
    hashes = [[g.content_hash() for g in sample(seed=seed)] for seed in (5, 5, 6)]
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])
    assert len(set(hashes[0])) == 20


def test_a_longer_list_begins_with_the_shorter_one():
    long, short = sample(count=30), sample(count=10)
    assert [g.content_hash() for g in long[:10]] == [g.content_hash() for g in short]


def test_broken_geometries_are_drawn_again():
    context = SamplingContext(HARMONIC)
    hot = NormalModeSampler(NormalModeOptions(temperature=20000.0, count=300)).sample(WATER, context)
    assert len(hot) == 300
    assert len(context.refused) > 0
    assert {entry["reason"] for entry in context.refused.records()} <= {"atoms too close", "come apart"}
    assert all(defect(geometry, WATER) is None for geometry in hot)


def test_a_hopeless_temperature_is_refused():
    with pytest.raises(InputError, match=r"At 1e\+07 K .* refused, for example because .* lower the temperature"):
        sample(temperature=1e7)


def test_the_molecule_keeps_charge_and_multiplicity():
    hydronium = Structure(WATER.numbers, WATER.positions, charge=1, multiplicity=2)
    geometry = NormalModeSampler(NormalModeOptions(count=1)).sample(hydronium, SamplingContext(HARMONIC))[0]
    assert (geometry.charge, geometry.multiplicity) == (1, 2)


def test_hashes_survive_a_file(tmp_path):
    geometries = sample(count=300)
    write_xyz(tmp_path / "frames.xyz", geometries)
    read = read_xyz(tmp_path / "frames.xyz")
    assert [g.content_hash() for g in read] == [g.content_hash() for g in geometries]


def test_what_cannot_be_sampled_is_explained():
    assert NormalModeSampler.needs_harmonic
    sampler = NormalModeSampler(NormalModeOptions())
    with pytest.raises(InputError, match="needs the harmonic reference"):
        sampler.sample(WATER)
    with pytest.raises(InputError, match="another order"):
        sampler.sample(Structure(WATER.numbers[[1, 0, 2]], WATER.positions), SamplingContext(HARMONIC))
    with pytest.raises(InputError, match=r"imaginary frequency [0-9]+i cm"):
        sampler.sample(WATER, SamplingContext(springs(WATER, cross=-0.1)))
    atom = Structure(np.array([18]), np.zeros((1, 3)))
    free = HarmonicReference(atom, 0.0, np.zeros((3, 3)), np.zeros((3, 3)))
    with pytest.raises(InputError, match="no vibrations"):
        sampler.sample(atom, SamplingContext(free))
    with pytest.raises(InputError, match="equal to an earlier one"):
        sample(temperature=1e-25)
