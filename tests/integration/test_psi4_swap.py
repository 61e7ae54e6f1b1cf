"""Another quantum-chemistry program by one word of the configuration: the same data, store by store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_run import densnet

from densnet_core.density.electron import ExpandedDensity, nmae_percent
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.verify import verify
from densnet_core.units import AU_TO_DEBYE

CONFIG = """
schema = 1
output = "out"
[system]
geometry = "water.xyz"
[sampling]
method = "file"
path = "frames.xyz"
[reference]
backend = "{backend}"
method = "PBE"
basis = "def2-SVP"
properties = ["quadrupole"]
[basis]
name = "densnet-s"
[training]
train = 1
validation = 1
test = 1
"""
FRAMES = """3

O 0.000 0.000 0.117
H 0.000 0.763 -0.477
H 0.000 -0.763 -0.477
3

O 0.010 -0.020 0.140
H 0.030 0.820 -0.430
H -0.040 -0.730 -0.510
3

O -0.020 0.010 0.100
H 0.000 0.740 -0.520
H 0.050 -0.800 -0.440
"""


@contextmanager
def labelled(folder: Path, backend: str) -> Iterator[ReferenceStore]:
    """The store that the command line makes with this backend, with a fit."""
    folder.mkdir()
    (folder / "water.xyz").write_text("".join(line + "\n" for line in FRAMES.splitlines()[:5]))
    (folder / "frames.xyz").write_text(FRAMES)
    (folder / "water.toml").write_text(CONFIG.format(backend=backend))
    done = densnet("reference", "water.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "out" / "reference").glob("*.zarr")
    assert path.name.startswith(backend)
    done = densnet("data", "project", path, "--basis", "densnet-s", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert verify(path) == []
    with ReferenceStore.open(path) as store:
        yield store


def test_one_word_swaps_the_program(tmp_path: Path) -> None:
    with labelled(tmp_path / "one", "pyscf") as one, labelled(tmp_path / "other", "psi4") as other:
        assert (one.backend, other.backend) == ("pyscf", "psi4")
        assert one.level == other.level
        assert set(one.hashes) == set(other.hashes)  # in the order in which the workers finished
        assert len(one) == 3
        (name,) = one.fit_names()
        assert other.fit_names() == [name]
        fits = one.fit(name), other.fit(name)
        assert fits[0].basis.content_hash() == fits[1].basis.content_hash()
        for content in one.hashes:
            places = one.index_of(content), other.index_of(content)
            first, second = one.result(places[0]), other.result(places[1])
            assert second.energy == pytest.approx(first.energy, abs=1e-6)
            np.testing.assert_allclose(second.forces, first.forces, atol=1e-5)
            np.testing.assert_allclose(second.dipole * AU_TO_DEBYE, first.dipole * AU_TO_DEBYE, atol=1e-4)
            assert first.quadrupole is not None
            np.testing.assert_allclose(second.quadrupole, first.quadrupole, atol=1e-4)
            np.testing.assert_array_equal(second.occupations, first.occupations)
            structure = one.structure(places[0])
            points, weights = quadrature(structure)
            densities = [
                ExpandedDensity(
                    structure, fit.basis, fit.coefficients(place), AtomicPrior.from_dict(fit.prior)
                ).evaluate(points)
                for fit, place in zip(fits, places, strict=True)
            ]
            assert nmae_percent(densities[0], densities[1], weights, 10.0) < 1e-4
