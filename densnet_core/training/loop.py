"""The training loop: Adam, cosine schedule, exponential moving average, checkpoints, logs."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.stores.models import load_checkpoint, save_checkpoint

Step = Callable[[int], tuple[Tensor, dict[str, float]]]
Validate = Callable[[], dict[str, float]]
Progress = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class LoopOptions:
    """Length and schedule of a training run.

    Parameters
    ----------
    steps : int
    learning_rate : float
        Peak; warmed up linearly over the first 2 % of the steps, then a half cosine down to 1 % of it.
    ema_decay : float
        Per step; the averaged parameters are the result.
    checkpoint_every, validate_every : int
        Steps.
    gradient_clip : float
        Largest norm of the gradient.
    """

    steps: int
    learning_rate: float
    ema_decay: float = 0.99
    checkpoint_every: int = 200
    validate_every: int = 200
    gradient_clip: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        warm = max(1, self.steps // 50)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + cos(pi * done)))


class TrainingLoop:
    """Minimises a loss over the parameters of a module, and can be killed and resumed at any moment.

    Parameters
    ----------
    name : str
        ``density`` or ``energy``; the names of the files in ``folder``.
    module : Module
        Its trainable parameters are optimised; at the end they hold the moving average.
    step : callable
        ``step(number) -> (loss, metrics)`` for the batch of that step; metrics' names carry their unit.
    validate : callable
        Metrics of the validation frames, with the averaged parameters in place.
    folder : Path
        Holds NAME.checkpoint, NAME.csv and the TensorBoard logs.
    key : str
        Identity of data and options; a checkpoint of another key is not resumed.

    Raises
    ------
    InputError
        The module has no trainable parameters.
    """

    def __init__(
        self, name: str, module: nn.Module, step: Step, validate: Validate, options: LoopOptions, folder: Path, key: str
    ) -> None:
        self.name, self.module, self.step, self.validate = name, module, step, validate
        self.options, self.folder, self.key = options, folder, key
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise InputError(
                f"The {name} network has nothing to train: its parameters are frozen (an energy objective and a "
                "potential freeze what they hold). Call requires_grad_() on it, or load it again."
            )
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=options.learning_rate)
        self.done = 0

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.checkpoint"

    def resume(self) -> int:
        """Continue from the checkpoint if there is one for the same data and options; returns the steps done.

        Raises
        ------
        DataError
            The checkpoint is damaged or of another network.
        """
        if not self.checkpoint.exists():
            return 0
        state, meta = load_checkpoint(self.checkpoint)
        if meta.get("key") != self.key:
            return 0
        try:
            for index, (name, parameter) in enumerate(self.parameters.items()):
                if state[f"parameter.{name}"].shape != parameter.shape:  # copy_ would broadcast it
                    raise ValueError(f"another shape of {name}")
                parameter.data.copy_(state[f"parameter.{name}"])
                self.average[name].copy_(state[f"average.{name}"])
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(meta["step"])),
                    "exp_avg": state[f"first.{index}"].clone(),
                    "exp_avg_sq": state[f"second.{index}"].clone(),
                }
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"{self.checkpoint} does not fit the model ({error}); remove it to start again.") from error
        self.done = int(meta["step"])
        return self.done

    def save(self) -> None:
        """Write the checkpoint; a kill leaves the old one or the new one."""
        state: dict[str, Tensor] = {}
        for index, (name, parameter) in enumerate(self.parameters.items()):
            moments = self.optimizer.state[parameter]
            state[f"parameter.{name}"] = parameter.detach()
            state[f"average.{name}"] = self.average[name]
            state[f"first.{index}"] = moments["exp_avg"]
            state[f"second.{index}"] = moments["exp_avg_sq"]
        save_checkpoint(self.checkpoint, state, {"step": self.done, "key": self.key, "name": self.name})

    def run(self, progress: Progress | None = None) -> None:
        """Train to the end; afterwards the module holds the averaged parameters.

        Raises
        ------
        DenSNetError
            If the loss or its gradient is not finite; the last checkpoint stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = _Log(self.folder, self.name, self.done)
        metrics: dict[str, float] = {}
        try:
            while self.done < self.options.steps:
                metrics = self._one_step(self.done, metrics)
                self.done += 1
                last = self.done == self.options.steps
                if last or self.done % self.options.validate_every == 0:
                    metrics = self._validated(metrics)
                    log.write(self.done, metrics)
                if last or self.done % self.options.checkpoint_every == 0:
                    self.save()
                if progress is not None:
                    progress(self.done, metrics)
        finally:
            log.close()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.average[name])

    def _one_step(self, number: int, before: Mapping[str, float]) -> dict[str, float]:
        rate = self.options.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = self.step(number)
        if not bool(torch.isfinite(loss)):
            raise DenSNetError(self._advice(f"{self.name} loss", loss.item(), number))
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = list(self.parameters.values())
        for parameter in parameters:
            if parameter.grad is None:  # a parameter that this batch does not touch
                parameter.grad = torch.zeros_like(parameter)
        norm = nn.utils.clip_grad_norm_(parameters, self.options.gradient_clip)
        if not bool(torch.isfinite(norm)):  # before the step, or the next checkpoint would hold spoilt parameters
            raise DenSNetError(self._advice(f"gradient of the {self.name} loss", norm.item(), number))
        self.optimizer.step()
        # a short memory at first, so that the average forgets the random start
        decay = min(self.options.ema_decay, (1.0 + number) / (10.0 + number))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in parameters], 1.0 - decay)
        return {**before, **metrics, "learning_rate": rate}

    def _advice(self, what: str, value: float, number: int) -> str:
        last = f"the last checkpoint, {self.checkpoint}, is sound" if self.checkpoint.exists() else "nothing was saved"
        return (
            f"The {what} became {value} at step {number}. Lower [training.{self.name}] learning_rate (now "
            f"{self.options.learning_rate:g}) and train again; {last}. If it is already small, look for a damaged "
            "frame with `densnet data verify`."
        )

    def _validated(self, metrics: Mapping[str, float]) -> dict[str, float]:
        current = {name: p.detach().clone() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.average[name])
        try:
            return {**metrics, **{f"validation_{name}": value for name, value in self.validate().items()}}
        finally:
            for name, parameter in self.parameters.items():
                parameter.data.copy_(current[name])


class _Log:
    """NAME.csv and TensorBoard; rows after the step that is resumed are dropped."""

    def __init__(self, folder: Path, name: str, resumed_at: int) -> None:
        self.path, self.name = folder / f"{name}.csv", name
        rows: list[dict[str, Any]] = []
        if resumed_at and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resumed_at]
        self.rows = rows
        self.board = SummaryWriter(  # type: ignore[no-untyped-call]
            str(folder / "tensorboard" / name), purge_step=resumed_at + 1 if resumed_at else None
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows.append({"step": step, **{key: f"{value:.6g}" for key, value in metrics.items()}})
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        temporary = self.path.with_suffix(".csv.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.path)
        for key, value in metrics.items():
            self.board.add_scalar(f"{self.name}/{key}", value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.board.close()  # type: ignore[no-untyped-call]
