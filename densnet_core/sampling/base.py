"""Interface of a geometry sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.structures import Structure

__all__ = ["HarmonicReference", "Sampler"]


class Sampler(ABC):
    """Makes geometries around a starting molecule.

    Parameters
    ----------
    options : object or None
        Validated options of the component; every sampler is deterministic given its seed.
    """

    needs_harmonic: bool = False
    """True if ``sample`` must be given the harmonic reference."""

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def sample(self, structure: Structure, harmonic: HarmonicReference | None = None) -> list[Structure]:
        """Geometries, every one checked by ``densnet_core.sampling.checks``; equal seeds give equal lists."""
