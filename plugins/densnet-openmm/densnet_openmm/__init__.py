"""DenSNet plugin: models as forces of OpenMM, and molecular dynamics with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densnet_openmm.force import add_force
    from densnet_openmm.reporter import DensityReporter

__version__ = "0.1.0"
__all__ = ["DensityReporter", "add_force"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line looks at this package at every start.
    if name == "add_force":
        from densnet_openmm.force import add_force

        return add_force
    if name == "DensityReporter":
        from densnet_openmm.reporter import DensityReporter

        return DensityReporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
