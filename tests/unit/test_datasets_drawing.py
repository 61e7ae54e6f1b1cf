"""Which frames each step learns from: shares are kept exactly, and a step needs no memory of those before."""

from __future__ import annotations

import numpy as np
import pytest

from densnet_core.datasets.drawing import Draws, Shares, batches
from densnet_core.errors import InputError

SIZES = (3, 17, 8)
PARTS = np.repeat(np.arange(3), SIZES)
ALL = np.arange(len(PARTS))


def draws(weights: tuple[float, ...], batch_size: int = 5, seed: int = 4, frames: np.ndarray = ALL) -> Draws:
    return Draws(frames, batch_size, seed, Shares(PARTS, weights))


def counts(drawn: Draws, steps: range) -> np.ndarray:
    return np.bincount(PARTS[[i for step in steps for i in drawn.of_step(step)]], minlength=3)


def test_without_shares_every_epoch_is_a_permutation_of_the_frames_that_may_be_drawn() -> None:
    frames = np.array([1, 4, 6, 7, 9])
    plain = Draws(frames, 2, 3)
    for step in range(7):
        assert plain.of_step(step) == frames[batches(5, 2, step, 3)].tolist()


def test_equal_weights_are_equal_numbers_of_draws_whatever_the_sizes() -> None:
    drawn = draws((2.0, 2.0, 2.0))
    for steps in (3, 6, 300):
        assert counts(drawn, range(steps)).tolist() == [5 * steps // 3] * 3
    assert counts(drawn, range(1, 2)).tolist() == [2, 1, 2]  # the sixth draw in turn is the first of the third part


@pytest.mark.parametrize("seed", range(5))
def test_every_share_is_kept_after_any_number_of_draws(seed: int) -> None:
    """Against the largest deficit by hand, from the first draw on."""
    weights = np.exp(np.random.default_rng(seed).normal(scale=1.5, size=3))
    drawn = draws(tuple(weights), batch_size=1)
    taken = np.zeros(3)
    for step in range(400):
        part = int(PARTS[drawn.of_step(step)[0]])
        times = (taken + 0.5) / weights
        assert part == int(np.argmin(times))
        taken[part] += 1
        assert np.abs(taken - (step + 1) * weights / weights.sum()).max() < 2.0


def test_weights_are_the_ratios_of_draws() -> None:
    assert counts(draws((1.0, 2.0, 5.0)), range(800)).tolist() == [500, 1000, 2500]
    assert counts(draws((0.1, 0.2, 0.5)), range(800)).tolist() == [500, 1000, 2500]


def test_every_part_has_epochs_of_its_own() -> None:
    drawn, sequence = draws((1.0, 1.0, 1.0)), {0: [], 1: [], 2: []}
    for step in range(60):
        for index in drawn.of_step(step):
            sequence[int(PARTS[index])].append(index)
    for part, size in enumerate(SIZES):
        epochs = [sequence[part][start : start + size] for start in range(0, 100 // size * size, size)]
        assert all(sorted(epoch) == ALL[part == PARTS].tolist() for epoch in epochs)
        assert any(epoch != epochs[0] for epoch in epochs)


def test_a_step_depends_on_its_number_and_the_seed_only() -> None:
    forwards = [draws((1.0, 3.0, 2.0)).of_step(step) for step in range(50)]
    backwards = [draws((1.0, 3.0, 2.0)).of_step(step) for step in reversed(range(50))][::-1]
    assert forwards == backwards
    assert [draws((1.0, 3.0, 2.0), seed=5).of_step(step) for step in range(50)] != forwards
    far = draws((1.0, 3.0, 2.0)).of_step(10**9)
    assert len(far) == 5


def test_parts_without_a_frame_that_may_be_drawn_have_no_share() -> None:
    drawn = draws((1.0, 9.0, 1.0), frames=ALL[PARTS != 1])
    assert counts(drawn, range(200)).tolist() == [500, 0, 500]
    assert len(draws((1.0, 9.0, 1.0), batch_size=64).of_step(3)) == len(ALL)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_a_positive_number(weight: float) -> None:
    with pytest.raises(InputError, match="A weight is a positive number"):
        draws((1.0, weight, 1.0))
