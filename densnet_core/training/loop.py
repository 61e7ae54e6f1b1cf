"""The training loop: Adam, a schedule, a moving average, the best model by validation, checkpoints, logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.training import parallel
from densnet_core.training.checkpoint import random_state, read_state, set_random_state, write_state
from densnet_core.training.log import VALIDATION, TrainingLog
from densnet_core.training.schedule import LoopOptions, Schedule

Step = Callable[[int], tuple[Tensor, dict[str, float]]]
Validate = Callable[[], dict[str, float]]
Progress = Callable[[int, Mapping[str, float]], None]
State = dict[str, Any]


class TrainingLoop:
    """Minimises a loss over the parameters of a module, and can be killed and resumed at any moment.

    Parameters
    ----------
    name : str
        ``density``, ``energy`` or the like; the names of the files in ``folder``.
    module : Module
        Its trainable parameters are optimised; at the end it holds the averaged parameters, and the buffers, of the
        validation with the smallest loss.
    step : callable
        ``step(number) -> (loss, metrics)`` for the batch of that step; metrics' names carry their unit.
    validate : callable
        Metrics of the validation frames, with the averaged parameters in place; "loss" among them decides which model
        is the best. Without it that is the last.
    folder : Path
        Holds NAME.checkpoint, NAME.csv, NAME.png and the TensorBoard logs.
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
        parallel.share(module)
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=options.learning_rate, fused=True)
        self.schedule = Schedule(options)
        self.best: State | None = None
        self.done, self.stopped = 0, False

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.checkpoint"

    @property
    def finished(self) -> bool:
        return self.stopped or self.done >= self.options.steps

    def resume(self) -> int:
        """Continue from the checkpoint if there is one for the same data and options; returns the steps done.

        Raises
        ------
        DataError
            The checkpoint is damaged or of another network.
        """
        found = parallel.from_first(lambda: read_state(self.checkpoint, self.key))
        if found is None:
            return 0
        state, meta = found
        try:
            _same_shapes(self.average, state["average"])
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            for name, value in self.average.items():
                value.copy_(state["average"][name])
            self.best = state["best"]
            self.done, self.stopped = int(meta["step"]), bool(meta["stopped"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"{self.checkpoint} does not fit the model ({error}); remove it to start again.") from error
        states = state["random"]
        if parallel.rank() < len(states):
            set_random_state(states[parallel.rank()])
        return self.done

    def save(self) -> None:
        """Write the checkpoint; a kill leaves the old one or the new one."""
        states = parallel.from_all(random_state())
        if parallel.rank() > 0:
            return
        state = {
            "module": self.module.state_dict(),
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": states,
        }
        meta = {"step": self.done, "stopped": self.stopped, "key": self.key, "name": self.name}
        write_state(self.checkpoint, state, meta)

    def run(self, progress: Progress | None = None) -> None:
        """Train to the end; afterwards the module holds the best model.

        Raises
        ------
        DenSNetError
            If the loss or its gradient is not finite; the last checkpoint stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = TrainingLog(self.folder, self.name, self.done) if parallel.rank() == 0 else None
        metrics: dict[str, float] = {}
        self.module.train()
        try:
            while not self.finished:
                metrics = self._one_step(self.done, metrics)
                self.done += 1
                last = self.done == self.options.steps
                if last or self.done % self.options.validate_every == 0:
                    metrics = self._validated(metrics)
                    if log is not None:
                        log.write(self.done, metrics)
                if self.finished or self.done % self.options.checkpoint_every == 0:
                    self.save()
                if progress is not None:
                    progress(self.done, metrics)
        finally:
            if log is not None:
                log.close()
        self.module.eval()
        if self.best is not None:
            self.module.load_state_dict(self.best["module"])

    def _one_step(self, number: int, before: Mapping[str, float]) -> dict[str, float]:
        rate = self.schedule.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = self.step(number)
        if loss.requires_grad:  # a process whose frames have none of the labels has nothing to add
            loss.backward()  # type: ignore[no-untyped-call]
        parameters = list(self.parameters.values())
        for parameter in parameters:
            if parameter.grad is None:  # a parameter that this batch does not touch
                parameter.grad = torch.zeros_like(parameter)
        value = loss.detach().clone()
        parallel.add_up([p.grad for p in parameters if p.grad is not None])
        parallel.add_up([value])
        if not bool(torch.isfinite(value)):
            raise DenSNetError(self._advice(f"{self.name} loss", value.item(), number))
        norm = nn.utils.clip_grad_norm_(parameters, self.options.gradient_clip)
        if not bool(torch.isfinite(norm)):  # before the step, or the next checkpoint would hold spoilt parameters
            raise DenSNetError(self._advice(f"gradient of the {self.name} loss", norm.item(), number))
        self.optimizer.step()
        # a short memory at first, so that the average forgets the random start
        decay = min(self.options.ema_decay, (1.0 + number) / (10.0 + number))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in parameters], 1.0 - decay)
        return {**before, **metrics, "loss": value.item(), "learning_rate": rate}

    def _advice(self, what: str, value: float, number: int) -> str:
        last = f"the last checkpoint, {self.checkpoint}, is sound" if self.checkpoint.exists() else "nothing was saved"
        return (
            f"The {what} became {value} at step {number}. Lower [training.{self.name}] learning_rate (now "
            f"{self.options.learning_rate:g}) and train again; {last}. If it is already small, look for a damaged "
            "frame with `densnet data verify`."
        )

    def _validated(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Metrics with those of the validation frames; remembers the best model."""
        with self._averaged():
            found = parallel.from_first(self.validate)
            loss = found.get("loss")
            before = None if self.best is None else self.best["loss"]
            better = loss is None or before is None or loss < before
            if better:
                if loss is not None and not isfinite(loss):
                    loss = None  # anything finite is better
                held = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
                self.best = {"loss": loss, "step": self.done, "module": held}
        self.schedule.validated(better)
        self.stopped = self.schedule.exhausted
        return {**metrics, **{f"{VALIDATION}{name}": value for name, value in found.items()}}

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module with averaged parameters, as it is when it is used."""
        current = {name: p.detach().clone() for name, p in self.parameters.items()}
        _fill(self.parameters, self.average)
        self.module.eval()
        try:
            yield
        finally:
            _fill(self.parameters, current)
            self.module.train()


def _fill(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.data.copy_(values[name])


def _same_shapes(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """``copy_`` would broadcast a tensor of another shape."""
    for name, value in own.items():
        if found[name].shape != value.shape:
            raise ValueError(f"another shape of {name}")
