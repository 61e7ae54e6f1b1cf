"""How far a geometry is from those of the training data: invariant, smooth, told, and refused where asked."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

from densnet_core.errors import DenSNetError, InputError
from densnet_core.md.watch import Watch
from densnet_core.models.domain import Domain
from densnet_core.models.surroundings import CUTOFF, Distances, Surroundings, descriptors, farthest_points
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.dynamics import MDFrames, MDState
from densnet_core.structures import Structure
from densnet_core.workflow.observables import refuse_unlike

FRAMES = [
    example.WATER.with_positions(example.WATER.positions + np.random.default_rng(i).normal(scale=0.05, size=(3, 3)))
    for i in range(60)
]
FAR = example.WATER.with_positions(example.WATER.positions * [[1.0], [1.5], [1.0]])


def domain() -> Domain:
    surroundings = Surroundings.of(FRAMES)
    assert surroundings is not None
    return Domain((1, 6, 8), ((-1, 1), (0, 1), (1, 1)), None, Distances.of(FRAMES), (surroundings,))


def model() -> DenSNet:
    plain = example.make_densnet()
    return DenSNet(
        plain.density,
        plain.energy,
        plain.prior,
        plain.density_choice,
        plain.energy_choice,
        plain.document,
        None,
        domain(),
    )


def test_descriptors_are_the_same_for_a_molecule_turned_mirrored_and_renumbered() -> None:
    random = np.random.default_rng(0)
    molecule = example.FORMALDEHYDE
    values = descriptors(molecule, (1, 6, 8))
    for hand in (1.0, -1.0):
        order = random.permutation(4)
        turned = molecule.positions[order] @ Rotation.random(random_state=1).as_matrix() * hand + random.normal(size=3)
        moved = replace(molecule, numbers=molecule.numbers[order], positions=turned)
        np.testing.assert_allclose(descriptors(moved, (1, 6, 8)), values[order], rtol=0, atol=1e-10)


def test_descriptors_end_smoothly_at_the_cutoff_and_tell_angles() -> None:
    def carbon_between(distance: float, angle: float) -> Structure:
        other = distance * np.array([np.cos(angle), np.sin(angle), 0.0])
        return Structure(np.array([6, 1, 1]), np.array([[0.0, 0, 0], [2.0, 0, 0], other]))

    alone = descriptors(Structure(np.array([6, 1]), np.array([[0.0, 0, 0], [2.0, 0, 0]]), 0, 2), (1, 6))[0]
    near = [descriptors(carbon_between(CUTOFF - gap, 1.0), (1, 6))[0] - alone for gap in (1e-3, 0.0, -1.0)]
    assert 0.0 < np.abs(near[0]).max() < 1e-6
    assert np.abs(near[1:]).max() < 1e-12
    bent = [descriptors(carbon_between(2.0, angle), (1, 6))[0] for angle in (1.8, 1.9)]
    assert np.abs(bent[0] - bent[1]).max() > 0.02


def test_ordinary_frames_pass_and_others_are_named_with_atom_and_distance() -> None:
    known = domain()
    others = [
        example.WATER.with_positions(example.WATER.positions + np.random.default_rng(i).normal(scale=0.05, size=(3, 3)))
        for i in range(100, 300)
    ]
    assert sum(bool(known.extrapolation(one).reasons) for one in others) <= 0.1 * len(others)
    far = known.extrapolation(FAR)
    assert far.score is not None
    assert far.score > 3.0
    assert "H (atom 2) 1.45" in far.reasons[0]  # O at 0, 0.1, 0; H at 1.2, 0.9, 0.15
    assert "in training at most 1." in far.reasons[0]
    assert "surroundings of" in far.reasons[-1]
    close = example.WATER.with_positions(example.WATER.positions * [[1.0], [0.6], [1.0]])
    # O at 0, 0.1, 0; H at 0.48, 0.36, 0.06: 0.55 angstrom
    assert any("H-O (atoms 2 and 1) 0.55" in reason for reason in known.extrapolation(close).reasons)


def test_an_element_that_no_training_frame_has_is_beyond_all() -> None:
    found = domain().extrapolation(example.FORMALDEHYDE)
    assert found.score == np.inf
    assert any("no training frame has a pair" in reason for reason in found.reasons)


def test_too_few_frames_say_nothing_of_surroundings() -> None:
    assert Surroundings.of(FRAMES[:9]) is None
    known = Domain((1, 8), ((0, 1),), None, Distances.of(FRAMES[:9]))
    found = known.extrapolation(FAR)
    assert found.score is None
    assert found.reasons


def test_two_sets_of_data_are_both_known() -> None:
    stretched = [FAR.with_positions(FAR.positions + one.positions - example.WATER.positions) for one in FRAMES]
    second = Surroundings.of(stretched)
    assert second is not None
    both = replace(domain(), surroundings=(*domain().surroundings, second))
    both = replace(both, distances=Distances.of(FRAMES).joined(Distances.of(stretched)))
    assert both.extrapolation(FAR).reasons == ()
    assert both.extrapolation(example.WATER).reasons == ()


def test_farthest_points_are_apart_and_taken_once() -> None:
    points = np.array([[0.0], [1.0], [1.0], [5.0], [10.0]])
    assert farthest_points(points, 3).tolist() == [4, 0, 3]
    assert sorted(farthest_points(points, 9).tolist()) in ([0, 1, 3, 4], [0, 2, 3, 4])


def test_the_package_of_a_model_keeps_them(tmp_path: Path) -> None:
    made = model()
    made.save(tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert set(document["trained_on"]["distances"]["smallest_bohr"]) == {"1-1", "1-8"}
    again = DenSNet.load(tmp_path / "model")
    for structure in (*FRAMES[:5], FAR):
        old, new = made.extrapolation([structure])[0], again.extrapolation([structure])[0]
        assert new.score == pytest.approx(old.score, rel=1e-4, abs=1e-3)
        assert len(new.reasons) == len(old.reasons)


def test_strict_refuses_and_names_the_frame() -> None:
    found = model().extrapolation([example.WATER, FAR])
    with pytest.raises(InputError, match=r"1 of 2 frames are unlike .*first frame 1: H \(atom 2\)"):
        refuse_unlike(model(), found)
    refuse_unlike(model(), found[:1])
    with pytest.raises(InputError, match="does not know how far"):
        refuse_unlike(example.make_densnet(), example.make_densnet().extrapolation([FAR]))


def block(step: int, *structures: Structure) -> MDFrames:
    positions = np.array([[one.positions for one in structures]])
    zeros = np.zeros((1, len(structures)))
    return MDFrames(np.array([step]), positions, zeros, zeros, MDState(step, positions[0], positions[0]))


def test_dynamics_that_leaves_its_ground_says_so_once_or_stops() -> None:
    told: list[str] = []
    kept: list[MDFrames] = []
    watch = Watch(model(), [example.WATER, example.WATER], kept.append, told.append)
    for step, second in enumerate((example.WATER, FAR, FAR)):
        watch(block(step, example.WATER, second))
    watch.end()
    assert len(kept) == 3
    assert told[0].startswith("At step 1 replica 1 is unlike the frames that the model was trained on: H (atom 2)")
    assert told[1:] == ["2 of 6 frames that were looked at are unlike those the model was trained on."]
    strict = Watch(model(), [example.WATER], kept.append, told.append, strict=True)
    with pytest.raises(DenSNetError, match=r"At step 7 replica 0"):
        strict(block(7, FAR))
    assert len(kept) == 3
