"""Trajectories of a sampler and the file in which they outlive a killed process."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import DataError
from densnet_core.sampling.checks import Defect
from densnet_core.sampling.integrator import Motion
from densnet_core.stores.commit import sync_folder, write_bytes

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Walker:
    """One trajectory of a sampler.

    Parameters
    ----------
    index : int
        Its number, which selects its random numbers.
    start : (n_atoms, 3)
        Where it began, bohr.
    frames : tuple of (n_atoms, 3)
        Geometries so far, bohr.
    motion : Motion or None
        Where it is; None if it has to leave its last geometry with fresh velocities.
    refused : tuple of Defect
        What was wrong with geometries that were not taken.
    """

    index: int
    start: Array
    frames: tuple[Array, ...]
    motion: Motion | None = None
    refused: tuple[Defect, ...] = ()


class WalkerFile:
    """A set of walkers in one file, replaced as a whole.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, walkers: Sequence[Walker]) -> None:
        """Replace the file; a process killed meanwhile leaves the old one."""
        arrays: dict[str, Array] = {}
        for walker in walkers:
            prefix = f"{walker.index}."
            arrays[prefix + "start"] = walker.start
            arrays[prefix + "frames"] = np.array(walker.frames).reshape(-1, *walker.start.shape)
            if walker.motion is not None:
                motion = walker.motion
                arrays[prefix + "motion"] = np.array([motion.positions, motion.velocities, motion.forces])
        refused = json.dumps([[asdict(fault) for fault in walker.refused] for walker in walkers])
        buffer = io.BytesIO()
        np.savez(buffer, refused=np.frombuffer(refused.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, buffer.getvalue())
        sync_folder(self.path.parent)

    def read(self) -> list[Walker] | None:
        """The walkers; None if there is no file.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                refused = json.loads(file["refused"].tobytes())
                return [
                    Walker(
                        index,
                        file[f"{index}.start"],
                        tuple(file[f"{index}.frames"]),
                        Motion(*file[f"{index}.motion"]) if f"{index}.motion" in file.files else None,
                        tuple(Defect(**fault) for fault in faults),
                    )
                    for index, faults in enumerate(refused)
                ]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path} is damaged ({error}). Remove it to have the dynamics begin anew.") from error
