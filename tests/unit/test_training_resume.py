"""Killed and resumed at any moment, a training ends in the same bits; the model of the best validation is kept."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from densnet_core.errors import DataError
from densnet_core.stores.models import load_checkpoint, save_checkpoint
from densnet_core.training.checkpoint import pack, read_state, unpack
from densnet_core.training.schedule import LoopOptions, Schedule

sys.path.insert(0, str(Path(__file__).parent))
import training_process


class Interrupted(Exception):
    pass


def final(folder: Path) -> dict[str, Tensor]:
    """Everything that a finished checkpoint holds."""
    return load_checkpoint(folder / "toy.checkpoint")[0]


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert set(left) == set(right)
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_state_trees_of_any_kind_come_back() -> None:
    tree = {
        "a": [1, 2.5, None, "x", True],
        3: {"t": torch.arange(4), "pair": (torch.zeros(()), 7)},
        "empty": {},
        "none": [],
    }
    tensors, plain = pack(tree)
    back = unpack(tensors, plain)
    assert back["a"] == tree["a"]
    assert back["empty"] == {}
    assert back["none"] == []
    assert isinstance(back[3]["pair"], tuple)
    assert torch.equal(back[3]["t"], torch.arange(4))
    with pytest.raises(TypeError, match=r"state\.a holds a object"):
        pack({"a": object()})


def test_a_checkpoint_that_is_not_whole_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "toy.checkpoint"
    save_checkpoint(path, {"x": torch.zeros(1)}, {"key": "k", "state": {"tensor": "y"}})
    with pytest.raises(DataError, match="is not whole"):
        read_state(path, "k")
    assert read_state(path, "another") is None


@pytest.mark.parametrize("stop_at", [1, 7, 14, 22])
def test_dropout_buffers_and_schedule_resume_bitwise(tmp_path: Path, stop_at: int) -> None:
    """The module draws random numbers, counts in a buffer and normalises by running means."""
    torch.manual_seed(11)
    training_process.make_loop(tmp_path / "whole", 25).run()

    torch.manual_seed(11)
    broken = training_process.make_loop(tmp_path / "broken", 25)
    inner = broken.step

    def step(number: int) -> tuple[Tensor, dict[str, float]]:
        if number == stop_at:
            raise Interrupted
        return inner(number)

    broken.step = step
    with pytest.raises(Interrupted):
        broken.run()
    if stop_at < 3:
        torch.manual_seed(11)
    else:
        torch.manual_seed(999)
    again = training_process.make_loop(tmp_path / "broken", 25)
    if stop_at < 3:
        torch.manual_seed(11)
        assert again.resume() == 0
        again = training_process.make_loop(tmp_path / "broken", 25)
    else:
        assert again.resume() == stop_at // 3 * 3
    again.run()
    assert_same(final(tmp_path / "whole"), final(tmp_path / "broken"))
    logs = [(tmp_path / kind / "toy.csv").read_text() for kind in ("whole", "broken")]
    assert logs[0] == logs[1]


def test_kills_at_random_moments_end_in_the_same_bits(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, kills=5, seed=1)


def kill_and_compare(folder: Path, kills: int, seed: int) -> None:
    """Kill a training with SIGKILL at random moments, let it end, and compare with one that was left alone."""
    program = [sys.executable, str(Path(training_process.__file__))]
    subprocess.run([*program, str(folder / "whole"), "60"], check=True, capture_output=True)
    draw = random.Random(seed)
    for _ in range(kills):
        process = subprocess.Popen(
            [*program, str(folder / "killed"), "60", "0.02"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()  # imports are over, the training begins
        time.sleep(draw.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    subprocess.run([*program, str(folder / "killed"), "60"], check=True, capture_output=True)
    assert_same(final(folder / "whole"), final(folder / "killed"))


def test_the_best_model_by_validation_is_the_result(tmp_path: Path) -> None:
    loop = training_process.make_loop(tmp_path, 40)
    losses = iter([5.0, 3.0, 4.0, 2.0, 6.0, 7.0, float("nan"), 9.0])
    seen: list[Tensor] = []

    def validate() -> dict[str, float]:
        seen.append(loop.module.state_dict()["layers.0.weight"].clone())
        return {"loss": next(losses)}

    loop.validate = validate
    loop.run()
    assert loop.best is not None
    assert loop.best["step"] == 20
    assert torch.equal(loop.module.state_dict()["layers.0.weight"], seen[3])
    assert not torch.equal(seen[3], seen[-1])


def test_training_ends_when_patience_runs_out_and_stays_ended(tmp_path: Path) -> None:
    loop = training_process.make_loop(tmp_path, 100, patience=2)
    losses = iter([5.0, 3.0, 4.0, 4.0])
    loop.validate = lambda: {"loss": next(losses)}
    loop.run()
    assert loop.done == 20
    again = training_process.make_loop(tmp_path, 100, patience=2)
    assert again.resume() == 20
    assert again.finished
    again.run()
    assert again.done == 20
    assert torch.equal(again.module.state_dict()["layers.0.weight"], loop.module.state_dict()["layers.0.weight"])


def test_learning_curves_are_drawn(tmp_path: Path) -> None:
    training_process.make_loop(tmp_path, 20).run()
    assert (tmp_path / "toy.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "validation_loss" in (tmp_path / "toy.csv").read_text().splitlines()[0]


def test_the_plateau_halves_the_rate_after_five_validations_without_a_better_one() -> None:
    schedule = Schedule(LoopOptions(1000, 0.1, schedule="plateau", warm_up=10))
    assert schedule.rate(4) == pytest.approx(0.05)
    schedule.validated(True)
    for _ in range(5):
        assert schedule.rate(500) == pytest.approx(0.1)
        schedule.validated(False)
    assert schedule.rate(500) == pytest.approx(0.05)
    for _ in range(100):
        schedule.validated(False)
    assert schedule.rate(500) == pytest.approx(0.001)
    other = Schedule(LoopOptions(1000, 0.1, schedule="plateau", warm_up=10))
    other.load_state_dict(schedule.state_dict())
    assert other.rate(500) == schedule.rate(500)


def test_a_constant_rate_stays_and_no_warm_up_is_possible() -> None:
    schedule = Schedule(LoopOptions(100, 0.1, schedule="constant", warm_up=0))
    assert {schedule.rate(step) for step in range(100)} == {0.1}
