"""DenSNet plugin: the Atomic Simulation Environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densnet_ase.calculator import DenSNetCalculator, DenSNetPolarizability

__version__ = "0.1.0"
__all__ = ["DenSNetCalculator", "DenSNetPolarizability"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line looks at this package at every start.
    if name in __all__:
        from densnet_ase import calculator

        return getattr(calculator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
