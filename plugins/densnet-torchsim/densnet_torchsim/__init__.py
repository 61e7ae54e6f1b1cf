"""DenSNet plugin: models for torch-sim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densnet_torchsim.model import DenSNetModel

__version__ = "0.1.0"
__all__ = ["DenSNetModel"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line looks at this package at every start.
    if name == "DenSNetModel":
        from densnet_torchsim.model import DenSNetModel

        return DenSNetModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
