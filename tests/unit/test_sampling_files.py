"""Geometries from XYZ files."""

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.sampling.config import FileOptions
from densnet_core.sampling.files import FileSampler
from densnet_core.structures import Structure, read_xyz, write_xyz
from densnet_core.units import BOHR_TO_ANGSTROM

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))


def frames(count=6):
    generator = np.random.default_rng(0)
    return [WATER.with_positions(WATER.positions + generator.normal(scale=0.05, size=(3, 3))) for _ in range(count)]


def sample(path, stride=1, structure=WATER):
    return FileSampler(FileOptions(path=path, stride=stride)).sample(structure)


def test_frames_come_in_order_with_the_stride(tmp_path):
    made = frames()
    write_xyz(tmp_path / "a.xyz", made)
    read = sample(tmp_path / "a.xyz", stride=2)
    assert np.array([g.positions for g in read]) == pytest.approx(np.array([g.positions for g in made[::2]]), abs=1e-9)


def test_repeated_frames_are_dropped(tmp_path):
    made = frames(3)
    write_xyz(tmp_path / "a.xyz", [*made, made[1], made[0]])
    assert len(sample(tmp_path / "a.xyz")) == 3


def test_sampling_a_written_sample_changes_no_hash(tmp_path):
    write_xyz(tmp_path / "a.xyz", frames(200))
    first = sample(tmp_path / "a.xyz")
    write_xyz(tmp_path / "b.xyz", first)
    assert [g.content_hash() for g in sample(tmp_path / "b.xyz")] == [g.content_hash() for g in first]
    assert [g.content_hash() for g in read_xyz(tmp_path / "b.xyz")] == [g.content_hash() for g in first]


def test_extended_xyz_with_forces_is_read(tmp_path):
    header = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy=-76.2 pbc="F F F"'
    rows = [
        f"{s} {x} {y} {z} 0.1 0.2 0.3" for s, (x, y, z) in zip("OHH", WATER.positions * BOHR_TO_ANGSTROM, strict=True)
    ]
    (tmp_path / "a.xyz").write_text("\n".join(["3", header, *rows]) + "\n")
    (read,) = sample(tmp_path / "a.xyz")
    assert read.positions == pytest.approx(WATER.positions, abs=1e-9)


def test_charge_and_multiplicity_are_those_of_the_molecule(tmp_path):
    """Where the file does not say them; a file of another state is refused."""
    path, cation = tmp_path / "a.xyz", Structure(WATER.numbers, WATER.positions, 1, 2)
    write_xyz(path, frames(1))
    with pytest.raises(DataError, match="the frame has charge 0; ask for that charge, found 1"):
        sample(path, structure=cation)
    path.write_text(path.read_text().replace("charge=0 multiplicity=1", ""))
    (read,) = sample(path, structure=cation)
    assert (read.charge, read.multiplicity) == (1, 2)


def test_faults_of_a_file_are_named_with_their_place(tmp_path):
    path = tmp_path / "a.xyz"
    torn = WATER.positions.copy()
    torn[1] *= 4.0
    write_xyz(path, [WATER, WATER.with_positions(torn)])
    with pytest.raises(InputError, match=r"a\.xyz, frame 2: the molecule has come apart"):
        sample(path)
    write_xyz(path, [WATER, Structure(WATER.numbers[[1, 0, 2]], WATER.positions)])
    with pytest.raises(InputError, match=r"a\.xyz, frame 2: The atoms"):
        sample(path)
    path.write_text("3\nProperties=forces:R:3:species:S:1:pos:R:3\n" + "O 0 0 0\n" * 3)
    with pytest.raises(DataError, match="line 3: Properties announce 7 columns; there are 4"):
        sample(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        sample(tmp_path / "missing.xyz")
    write_xyz(path, [Structure(WATER.numbers, WATER.positions, 1, 2)])
    with pytest.raises(DataError, match=r"a\.xyz, line 2, frame 0: the frame has charge 1; ask for that"):
        sample(path)
    path.write_bytes("3\nWasser aus Köln\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.xyz cannot be read: it is not text in UTF-8"):
        sample(path)
    path.write_text("1\n\n\u00b2 0 0 0\n")
    with pytest.raises(InputError, match="line 3: There is no element"):
        sample(path)
    with pytest.raises(InputError, match="needs the path"):
        FileSampler()
