"""``densnet basis optimize``: a basis made on real frames is better than its start, and a configuration can name it."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_run import densnet

from densnet_core.basis.library import basis_by_name, basis_from_file

DATA = Path(__file__).parents[1] / "data" / "water5.npz"


def test_optimised_on_imported_frames_it_misses_less_with_every_iteration(tmp_path: Path) -> None:
    done = densnet("data", "import", DATA, "water.zarr", "--level", "PBE/aug-cc-pVDZ", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    missed = {}
    for iterations in (1, 12):
        out = f"basis{iterations}.json"
        done = densnet("basis", "optimize", "water.zarr", "--shells", "H=2s1p O=4s3p2d", "--frames", 1,
                       "--iterations", iterations, "--output", out, cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / out).read_text())["made_by"]
        missed[iterations] = record["nmae_percent_geometric_mean"]
        assert len(record["frames_hashes"]) == 1
    assert missed[12] < 0.9 * missed[1] < 2.0
    basis = basis_from_file(tmp_path / "basis12.json")
    assert basis.n_functions([8, 1, 1]) == (4 + 9 + 10) + 2 * (2 + 3)


def test_an_element_is_added_to_a_basis_that_is_kept(tmp_path: Path) -> None:
    done = densnet("data", "import", DATA, "water.zarr", "--level", "PBE/aug-cc-pVDZ", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    hydrogen = basis_by_name("densnet-s", [1, 16])
    first = {"command": "the first", "frames_hashes": []}
    (tmp_path / "hydrogen.json").write_text(json.dumps({**hydrogen.to_dict(), "made_by": first}))
    arguments = ("basis", "optimize", "water.zarr", "--frames", 1, "--iterations", 12, "--output", "b.json")
    done = densnet(*arguments, "--shells", "O=5s4p5d2f1g", "--keep", "hydrogen.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "b.json").read_text())
    assert "--keep hydrogen.json" in document["made_by"]["command"]
    assert document["kept"] == [first]
    # oxygen has been made for this one frame
    assert document["made_by"]["nmae_percent_geometric_mean"] < 0.6
    basis = basis_from_file(tmp_path / "b.json")
    assert basis.elements == (1, 8, 16)
    assert basis.restricted_to([1, 16]).content_hash() == hydrogen.content_hash()

    done = densnet(*arguments, "--shells", "H=2s1p", "--keep", "hydrogen.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "No number of shells is given for O" in done.stderr
    done = densnet(*arguments, "--shells", "O=5s", "--keep", "densnet-n", cwd=tmp_path)
    assert done.returncode == 2
    assert "There is no basis 'densnet-n'" in done.stderr


def test_shells_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    done = densnet("basis", "optimize", "none.zarr", "--shells", "H4s", "--output", "b.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected for example" in done.stderr
    assert "Traceback" not in done.stderr
