"""Langevin dynamics with GFN2-xTB."""

from __future__ import annotations

from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.dynamics import DynamicsSampler
from densnet_core.sampling.integrator import Forces
from densnet_core.structures import Structure
from densnet_xtb.config import XTBLangevinOptions
from densnet_xtb.method import GFN2


class XTBLangevinSampler(DynamicsSampler):
    """Geometries of a semi-empirical ensemble, a thousandth of the cost of one with a density functional.

    Parameters
    ----------
    options : XTBLangevinOptions or None
    """

    frames_per_task = 10

    options: XTBLangevinOptions

    def __init__(self, options: XTBLangevinOptions | None = None) -> None:
        super().__init__(options or XTBLangevinOptions())

    def forces(self, structure: Structure, context: SamplingContext) -> Forces:
        """GFN2-xTB at the options' accuracy."""
        return GFN2(self.options.accuracy)
