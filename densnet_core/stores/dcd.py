"""DCD files in CHARMM's variant, as VMD and MDAnalysis read them: positions in single precision, angstrom.

The records are those of Fortran's unformatted files, each between its length in bytes as 32-bit integers. The format is
described by the source of CHARMM and of VMD's plugin ``dcdplugin``; it holds no elements, velocities and energies.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError

AKMA_TO_FEMTOSECOND: Final = 48.88821
"""CHARMM's unit of time, as the readers of DCD files have it."""
_VERSION: Final = 24
"""Of CHARMM; any number but zero says that the file is CHARMM's."""
_LARGEST: Final = 2**31 - 1


class DCDWriter:
    """Writes frames of one molecule.

    Parameters
    ----------
    file : binary file
    n_atoms, n_frames : int
    first_step, interval : int
        Time step of the first frame, and time steps between two frames.
    time_step : float
        Femtoseconds.
    title : str

    Raises
    ------
    InputError
        If the number of a step does not fit into 32 bits.
    """

    def __init__(
        self,
        file: BinaryIO,
        n_atoms: int,
        n_frames: int,
        first_step: int,
        interval: int,
        time_step: float,
        title: str,
    ) -> None:
        self.file, self.n_atoms = file, n_atoms
        last_step = first_step + (n_frames - 1) * interval
        if max(last_step, n_frames) > _LARGEST:
            raise InputError(f"Step {last_step} does not fit into a DCD file (32 bits); write extended XYZ.")
        counts = (n_frames, first_step, interval, last_step, *(0,) * 5)
        flags = (*(0,) * 9, _VERSION)  # no cell, no fluctuating charges, ...
        self._record(struct.pack("<4s9if10i", b"CORD", *counts, time_step / AKMA_TO_FEMTOSECOND, *flags))
        lines = [title.encode("ascii", "replace")[:80].ljust(80)]
        self._record(struct.pack("<i", len(lines)) + b"".join(lines))
        self._record(struct.pack("<i", n_atoms))

    def write(self, positions: NDArray[np.float64]) -> None:
        """Add a frame: (n_atoms, 3) positions in angstrom."""
        for axis in np.asarray(positions, dtype="<f4").T:
            self._record(axis.tobytes())

    def _record(self, content: bytes) -> None:
        length = struct.pack("<i", len(content))
        self.file.write(length + content + length)
