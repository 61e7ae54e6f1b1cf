"""Geometries from a file."""

from __future__ import annotations

from pathlib import Path

from densnet_core.errors import InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import defect
from densnet_core.sampling.config import FileOptions
from densnet_core.sampling.distinct import distinct, on_hash_grid
from densnet_core.structures import Structure, read_xyz


class FileSampler(Sampler):
    """Frames of an XYZ or extended XYZ file (angstrom): a trajectory, or geometries made elsewhere.

    Parameters
    ----------
    options : FileOptions
        ``path`` of the file; every ``stride``-th frame is taken, beginning with the first.
    """

    moves_atoms = False
    random = False

    def __init__(self, options: FileOptions | None = None) -> None:
        if options is None:
            raise InputError("The sampler 'file' needs the path of a file; none was given.")
        super().__init__(options)
        self.path = Path(options.path)
        self.stride = options.stride

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """Frames of the file with charge and multiplicity of ``structure``; repeated frames are dropped.

        Raises
        ------
        InputError
            If the file cannot be read, a frame has other atoms than ``structure``, or a frame taken is broken. Such
            a frame is not left out silently: the file is the user's choice.
        """
        frames = read_xyz(self.path, structure.charge, structure.multiplicity)
        taken = []
        for index in range(0, len(frames), self.stride):
            geometry = on_hash_grid(frames[index])
            try:
                reason = defect(geometry, structure)
            except InputError as error:
                raise InputError(f"{self.path}, frame {index + 1}: {error}") from None
            if reason is not None:
                raise InputError(f"{self.path}, frame {index + 1}: {reason}. Remove the frame from the file.")
            taken.append(geometry)
        return distinct(taken)
