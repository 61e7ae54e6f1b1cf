"""The runner on real Hartree-Fock calculations of hydrogen molecules."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.errors import ConfigError, DataError, InputError, PluginError
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import (
    BackendFactory,
    LabelCounts,
    ask_backend,
    atomic_densities,
    label,
    project_many,
)
from densnet_core.structures import Structure

sys.path.insert(0, str(Path(__file__).parent))

LEVEL = LevelOfTheory.parse("HF/STO-3G")
TWO = LocalExecutor(LocalExecutorOptions(workers=2))
ONE = LocalExecutor(LocalExecutorOptions(workers=1))


def factory(target: str = "densnet_pyscf.backend:PySCFBackend", **options: object) -> BackendFactory:
    return BackendFactory(target, LEVEL, options or {"density_fitting": False}, "densnet_pyscf.config:PySCFOptions")


def hydrogen(distance: float) -> Structure:
    return Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))


def refuse(structure: Structure, error: Exception) -> None:
    raise error


def test_each_frame_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENSNET_TEST_FOLDER", str(tmp_path))
    known = hydrogen(1.3)
    frames = [hydrogen(1.4), known, hydrogen(1.5), hydrogen(1.4), hydrogen(0.01), known, hydrogen(1.6)]
    results: dict[bytes, float] = {}
    failures: list[tuple[Structure, Exception]] = []
    progress: list[int] = []

    counts = label(
        factory("runner_backends:CountingBackend"),
        iter(frames),
        TWO,
        on_result=lambda s, r: results.__setitem__(s.content_hash(), r.energy),
        on_failure=lambda s, e: failures.append((s, e)),
        skip=lambda content: content == known.content_hash(),
        progress=progress.append,
    )
    assert counts == LabelCounts(computed=3, failed=1, skipped=1, repeated=2)
    assert progress == list(range(1, 8))
    # Szabo and Ostlund, Modern Quantum Chemistry, section 3.5.2: H2 in STO-3G at 1.4 bohr.
    assert results[hydrogen(1.4).content_hash()] == pytest.approx(-1.1167, abs=5e-5)
    assert set(results) == {hydrogen(r).content_hash() for r in (1.4, 1.5, 1.6)}
    ((structure, error),) = failures
    assert structure.content_hash() == hydrogen(0.01).content_hash()
    assert isinstance(error, InputError)

    notes = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert sum(n for name, n in notes.items() if name.startswith("computed")) == 4
    assert all(n == 1 for name, n in notes.items() if name.startswith("made"))


def test_an_impossible_backend_fails_no_frame() -> None:
    def run(wrong: BackendFactory) -> None:
        label(wrong, [hydrogen(1.4), hydrogen(1.5)], ONE, on_result=lambda s, r: None, on_failure=refuse)

    with pytest.raises(InputError, match="PBE"):
        run(BackendFactory("densnet_pyscf.backend:PySCFBackend", LevelOfTheory("PBEE", "STO-3G")))
    with pytest.raises(PluginError, match="densnet_pysfc"):
        run(BackendFactory("densnet_pysfc.backend:PySCFBackend", LEVEL))
    with pytest.raises(ConfigError, match="grid_level"):
        run(factory(grid_levle=4))


def test_a_result_that_is_not_finite_is_no_label() -> None:
    errors: list[Exception] = []
    counts = label(
        factory("runner_backends:BackendWithoutForces"),
        [hydrogen(1.4)],
        ONE,
        on_result=lambda s, r: None,
        on_failure=lambda s, e: errors.append(e),
    )
    assert counts == LabelCounts(failed=1)
    assert isinstance(errors[0], DataError)
    assert "forces" in str(errors[0])


def test_what_a_callback_raises_ends_the_run() -> None:
    def full_disk(structure: Structure, result: ReferenceResult) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        label(factory(), [hydrogen(1.4 + 0.01 * i) for i in range(20)], ONE, on_result=full_disk, on_failure=refuse)


def test_project_many_agrees_with_the_backend_itself() -> None:
    backend = PySCFBackend(LEVEL)
    basis = GaussianBasis("two shells", {1: (Shell(0, (0.7,), (1.0,)), Shell(1, (0.5,), (1.0,)))})
    frames = []
    for distance in (1.4, 1.8):
        result = backend.compute(hydrogen(distance))
        frames.append((hydrogen(distance), result.orbitals, result.occupations))
    wrong = (hydrogen(1.4), frames[0][1][:1], frames[0][2])
    vectors: dict[int, np.ndarray] = {}
    failures: dict[int, Exception] = {}
    project_many(
        factory(), [*frames, wrong], basis, "coulomb", TWO, vectors.__setitem__, failures.__setitem__, progress=None
    )
    assert sorted(vectors) == [0, 1]
    for index, vector in vectors.items():
        np.testing.assert_allclose(vector, backend.project(*frames[index], basis, "coulomb"), rtol=0, atol=1e-14)
    assert isinstance(failures[2], InputError)


def test_other_questions_to_a_backend() -> None:
    (basis,) = ask_backend(factory(), "orbital_basis", [(np.array([1, 8]),)], ONE)
    assert basis.n_functions([8, 1, 1]) == 7
    densities = atomic_densities(factory(), [8, 1, 1], TWO)
    assert sorted(densities) == [1, 8]
    assert densities[8].weights @ densities[8].values == pytest.approx(8.0, rel=1e-7)
    with pytest.raises(InputError, match="STO-3G"):
        atomic_densities(factory(), [86], ONE)


def test_a_factory_travels_as_plain_data() -> None:
    made = pickle.loads(pickle.dumps(factory())).make()  # noqa: S301 - our own record, as it goes to a worker
    assert made.options.density_fitting is False
    assert made is factory().make()
    assert made is not factory(density_fitting=True).make()
