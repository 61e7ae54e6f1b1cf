"""DenSNet: machine-learned molecular simulation with the electron density at its centre.

The folders are the stages the data flows through; a module imports only from folders above its own:
``errors``, ``units``, ``elements``, ``options``, ``fragments``, ``files``, ``structures``, ``plugins``, ``basis``,
``density``, ``reference``, ``stores``, ``graphs``, ``datasets``, ``models``, ``potentials``, ``training``, ``md``,
``spectra``, ``sampling``, ``testing``, ``config``, ``workflow``, ``cli``.
Inside the package every quantity is in Hartree atomic units.

The front door, imported on first use: ``load_model(path)`` gives a trained ``DenSNet``, ``read_structures(path)`` the
molecules of an XYZ file, ``train(frames, level, folder)`` a model of arrays or ASE atoms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densnet_core.potentials.densnet import DenSNet
    from densnet_core.structures import read_xyz as read_structures
    from densnet_core.workflow.arrays import train

    load_model = DenSNet.load

__all__ = ["__version__", "load_model", "read_structures", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load_model":
        from densnet_core.potentials.densnet import DenSNet

        return DenSNet.load
    if name == "read_structures":
        from densnet_core.structures import read_xyz

        return read_xyz
    if name == "train":
        from densnet_core.workflow.arrays import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
