"""Normal modes as pictures that move."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from densnet_core.spectra.harmonic import NormalModes
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

N_FRAMES: Final = 24
"""Of one period; a multiple of four, so that both turning points are among them."""
AMPLITUDE: Final = 0.25 / BOHR_TO_ANGSTROM
"""Bohr, of the atom that moves most: what is seen well, not what any temperature gives."""


def displacements(modes: NormalModes, amplitude: float = AMPLITUDE) -> Array:
    """(n_modes, n_atoms, 3) displacements in bohr in which the atom that moves most moves by ``amplitude``."""
    largest = np.linalg.norm(modes.displacements, axis=-1).max(axis=-1, initial=0.0)
    return np.asarray(amplitude * modes.displacements / largest[:, None, None])


def animation(modes: NormalModes, mode: int, n_frames: int = N_FRAMES, amplitude: float = AMPLITUDE) -> list[Structure]:
    """Frames of one period of a mode along straight lines, from rest; the last leads on to the first."""
    shift = displacements(modes, amplitude)[mode]
    phases = np.sin(2.0 * np.pi * np.arange(n_frames) / n_frames)
    structure = modes.structure
    return [structure.with_positions(structure.positions + phase * shift) for phase in phases]
