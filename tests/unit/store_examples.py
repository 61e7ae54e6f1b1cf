"""Small stores of every kind, with everything a store may hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from densnet_core.basis.base import GaussianBasis, Shell
from densnet_core.reference.base import ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure

FRAMES = 6
BASIS = GaussianBasis("b", {1: (Shell(0, (1.0,), (1.0,)), Shell(1, (1.0,), (1.0,)))})
HYDROGEN = np.array([1, 1])
LEVEL = LevelOfTheory("HF", "x")


def labelled(index: int) -> tuple[Structure, ReferenceResult]:
    """Frame number ``index``; every call gives the same."""
    values = np.random.default_rng([8, index])  # no two frames are alike, which a split would notice
    structure = Structure(HYDROGEN, values.normal(size=(2, 3)))
    arrays = values.normal(size=(2, 3)), values.normal(size=3), values.normal(size=(8, 1))
    program = {"program": "test", "version": str(index % 2)}
    result = ReferenceResult(float(values.normal()), *arrays, np.array([2.0]), 1.0, program)
    if index % 3 == 2:  # some frames have properties too
        moments = values.normal(size=(3, 3)), values.normal(size=(3, 3)), values.normal(size=(3, 8, 1))
        result = replace(result, quadrupole=moments[0], polarizability=moments[1], response=moments[2])
    return structure, result


def coefficients(index: int) -> np.ndarray:
    """Fitted coefficients of frame number ``index``."""
    return np.random.default_rng([1, index]).normal(size=8)


def reference_store(path: Path, frames: range = range(FRAMES), level: LevelOfTheory = LEVEL) -> Path:
    """A store of some frames with a fit, a split that tests the first frame, and a failure."""
    with ReferenceStore.create(path, level, "pyscf", {"p": "1"}) as store:
        store.set_orbital_basis(BASIS)
        for index in frames:
            store.append([labelled(index)])
        fit = store.create_fit("f", BASIS, "overlap", {}, ())
        fit.append([coefficients(index) for index in frames])
        response = store.create_fit("r", BASIS, "coulomb", {}, ("charge", "dipole"), "density_response")
        response.append([np.outer([1.0, 2.0, 3.0], coefficients(index)) for index in frames])
        hashes = [content.hex() for content in store.hashes]
        store.write_document(
            "split", {"train": hashes[1:], "validation": [], "test": hashes[:1], "held_out": hashes[:1]}
        )
        store.append_failure(Structure(HYDROGEN, np.eye(2, 3)), ValueError("x"), 1.0)
    return path


def trajectory_store(path: Path) -> Path:
    """Eight frames of two replicas with a derived array."""
    values = np.random.default_rng(1)
    stage = MDStage("nve", 100, 20.0, 300.0, 0.0, 5, 1)
    with TrajectoryStore.create(path, Structure(HYDROGEN, np.eye(2, 3)), 2, stage, {"model": "test"}) as store:
        for start in (0, 20):
            positions = values.normal(size=(4, 2, 2, 3))
            steps = np.arange(start, start + 20, 5)
            end = MDState(int(steps[-1]), positions[-1], positions[-1])
            store.append(MDFrames(steps, positions, positions[:, 0, 0, 0], positions[:, 0, 0, 1], end))
        store.set_array("dipole", values.normal(size=(8, 2, 3)), "e bohr")
    return path
