"""How densities are fitted, as configurations, stores and models record it; light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FitMetric = Literal["coulomb", "overlap", "weighted"]
"""Metrics of a fit; the real-space weighted one is that of ``densnet_core.density.weighted``."""

Moment = Literal["charge", "dipole", "quadrupole"]
MOMENTS: Final[tuple[Moment, ...]] = ("charge", "dipole", "quadrupole")
"""What a fit can hold exactly; each together with those before it."""


@dataclass(frozen=True)
class FitMethod:
    """How densities are fitted.

    Parameters
    ----------
    metric : {"coulomb", "overlap", "weighted"}
    exact : {"charge", "dipole", "quadrupole"}
        The highest moment of the reference that the fit holds exactly, with all lower ones.
    tikhonov : float or None
        As ``densnet_core.density.fitting.fit_density``.
    """

    metric: FitMetric = "coulomb"
    exact: Moment = "dipole"
    tikhonov: float | None = None

    @property
    def constraints(self) -> tuple[Moment, ...]:
        """All moments that are held."""
        return MOMENTS[: MOMENTS.index(self.exact) + 1]
