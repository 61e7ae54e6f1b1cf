"""How a model is trained: stages one after the other, on which device, in which precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import torch

from densnet_core.errors import InputError
from densnet_core.plugins.manager import Manager
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.terms import Wanted, wanted_objectives

CompileName = Literal["auto", "always", "never"]
DeviceName = Literal["auto", "cpu", "cuda"]
PRECISIONS: Final = {"float32": torch.float32, "float64": torch.float64}
USUAL: Final = LoopOptions(5000, 5e-3)


@dataclass(frozen=True)
class Stage:
    """A piece of a training.

    Parameters
    ----------
    options : LoopOptions
    weights : mapping of str to float
        Of the terms of the loss by the name of the objective; 0 leaves one out, others have their own defaults.
    """

    options: LoopOptions = USUAL
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How a model is trained.

    Parameters
    ----------
    pretraining : sequence of Stage
        Both networks on frames of another level of theory, before everything else; none is usual.
    density, energy : sequence of Stage
        One after the other, each starting from the best model of the one before.
    joint : sequence of Stage
        With both networks free; none is usual.
    batch_size, seed : int
    device : {"auto", "cpu", "cuda"}
        "auto" takes a CUDA device if there is one.
    precision : {"float32", "float64"}
        Of the parameters. Densities and energies are summed in float64 in any case.
    threads : int
        Of the CPU; operations of small molecules are too short to share, and native code has one thread.
    compile : {"auto", "always", "never"}
        Whether steps are native code; "auto": where it pays, see ``densnet_core.training.native``.
    shared : bool
        The energy model reads the density model's invariants, so the energy stage trains both, on the terms of both.
    """

    density: Sequence[Stage] = (Stage(),)
    energy: Sequence[Stage] = (Stage(),)
    joint: Sequence[Stage] = ()
    batch_size: int = 10
    seed: int = 0
    device: DeviceName = "auto"
    precision: str = "float32"
    threads: int = 1
    shared: bool = False
    pretraining: Sequence[Stage] = ()
    compile: CompileName = "auto"

    @property
    def stages(self) -> dict[str, tuple[Stage, ...]]:
        """The stages of "pretraining", "density", "energy" and "joint"."""
        return {name: tuple(getattr(self, name)) for name in ("pretraining", "density", "energy", "joint")}

    @property
    def stage_names(self) -> list[tuple[str, str]]:
        """The network of every stage and the name of its files."""
        return [(name, stage_name(name, number)) for name, own in self.stages.items() for number in range(len(own))]

    def wanted(self, name: str, stage: Stage, manager: Manager | None = None) -> list[Wanted]:
        """The terms of a stage; those of one that trains both networks come from both."""
        if self.trains_both(name):
            return joint_objectives(stage.weights, manager)
        return wanted_objectives(name, stage.weights, manager)

    def trains_both(self, name: str) -> bool:
        """Whether the stages of a name train both networks."""
        return name in ("pretraining", "joint") or (name == "energy" and self.shared)

    def all_wanted(self, manager: Manager | None = None) -> list[Wanted]:
        """The terms of all stages that learn from the frames of the run, one stage after the other."""
        stages = {name: own for name, own in self.stages.items() if name != "pretraining"}
        return [one for name, own in stages.items() for stage in own for one in self.wanted(name, stage, manager)]


def joint_objectives(weights: Mapping[str, float], manager: Manager | None = None) -> list[Wanted]:
    """The objectives of both stages with a weight.

    Raises
    ------
    InputError
        A weight names no objective of either.
    """
    known = {
        name: {one.objective.name for one in wanted_objectives(name, {}, manager)} for name in ("density", "energy")
    }
    of_density = {name: weight for name, weight in weights.items() if name in known["density"]}
    rest = {name: weight for name, weight in weights.items() if name not in known["density"]}
    return [*wanted_objectives("density", of_density, manager), *wanted_objectives("energy", rest, manager)]


def stage_name(network: str, number: int) -> str:
    """Name of the files of a stage: ``energy``, then ``energy-2``."""
    return network if number == 0 else f"{network}-{number + 1}"


def device_of(name: DeviceName) -> torch.device:
    """The device of a training; ``InputError`` if CUDA is asked for and not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            '[training] device = "cuda": torch finds no CUDA device here. Use "cpu", or "auto" to take what is there.'
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
