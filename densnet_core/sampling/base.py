"""Interface of a geometry sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densnet_core.reference.executors import Executor
from densnet_core.reference.runner import BackendFactory
from densnet_core.sampling.refusals import Refusals
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.structures import Structure

__all__ = ["HarmonicReference", "MoleculeSampler", "Sampler", "SamplingContext"]

Advance = Callable[[int, str], None]
"""Called with the number of steps done so far and a short note."""


def _silent(description: str, total: int) -> Advance:
    return lambda done, note: None


@dataclass(frozen=True)
class SamplingContext:
    """What a run lends to a sampler besides the molecule.

    Parameters
    ----------
    harmonic : HarmonicReference or None
        Minimum and Hessian; there for samplers with ``needs_harmonic``.
    factory : BackendFactory or None
        Makes the reference backend; there for samplers with ``needs_backend``.
    executor : Executor or None
        Where independent pieces of work may run; None: in this process.
    folder : Path or None
        Empty, or as the same sampler with the same options and molecule left it when it was killed. A sampler that
        costs more than seconds keeps there what it needs to go on. None: nothing is kept.
    stream : int
        Number of the starting geometry among several. Samplers draw independent random numbers for each.
    task : callable
        Announces work of so many steps; what it returns is told the progress.
    refused : Refusals
        Where a sampler records geometries that it made and did not take.
    """

    harmonic: HarmonicReference | None = None
    factory: BackendFactory | None = None
    executor: Executor | None = None
    folder: Path | None = None
    stream: int = 0
    task: Callable[[str, int], Advance] = _silent
    refused: Refusals = field(default_factory=Refusals)


class Sampler(ABC):
    """Makes geometries around a starting molecule.

    Parameters
    ----------
    options : object or None
        Validated options of the component; every sampler is deterministic given its seed.
    """

    needs_harmonic: bool = False
    """True if ``sample`` must be given the harmonic reference."""
    needs_backend: bool = False
    """True if ``sample`` must be given a factory of the reference backend."""
    moves_atoms: bool = True
    """False if ``sample`` does not begin at the positions it is given, so that another sampler cannot make them."""
    random: bool = True
    """True if random numbers decide the geometries: then the options have a ``seed``, and every seed and every
    ``SamplingContext.stream`` has geometries of its own."""

    def __init__(self, options: Any = None) -> None:
        self.options = options

    def check(self, structure: Structure) -> None:  # noqa: B027  most samplers can begin with any molecule
        """``InputError`` if the sampler cannot begin with this molecule; called before anything is computed."""

    def most(self, structure: Structure) -> int | None:
        """How many geometries ``sample`` gives at most; None: that is not known beforehand."""
        count = getattr(self.options, "count", None)
        return count if isinstance(count, int) else None

    @abstractmethod
    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """Geometries, every one checked by ``densnet_core.sampling.checks``; equal seeds give equal lists."""


class MoleculeSampler(Sampler):
    """Makes molecules from a description, such as SMILES, and not from a geometry."""

    moves_atoms = False

    @abstractmethod
    def build(self, charge: int, multiplicity: int, context: SamplingContext | None = None) -> list[Structure]:
        """The molecules; ``InputError`` if the description is of another charge."""

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """The molecules, with charge and multiplicity of ``structure`` and nothing else from it."""
        return self.build(structure.charge, structure.multiplicity, context)
