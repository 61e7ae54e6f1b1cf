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
    """Frames of a file: geometries made elsewhere, or a trajectory.

    XYZ and extended XYZ files (angstrom), trajectory stores (``.zarr``), and geometries of the data of the paper
    (``.npy``), each with labels or without.

    Parameters
    ----------
    options : FileOptions
        ``path`` of the file or store; every ``stride``-th frame is taken, beginning with the first.
    """

    moves_atoms = False
    random = False

    def __init__(self, options: FileOptions | None = None) -> None:
        if options is None:
            raise InputError("The sampler 'file' needs the path of a file; none was given.")
        super().__init__(options)
        self.path = Path(options.path)
        self.stride = options.stride

    def check(self, structure: Structure) -> None:
        """``InputError`` or ``DataError`` where ``sample`` would raise it."""
        self.sample(structure)

    def sample(self, structure: Structure, context: SamplingContext | None = None) -> list[Structure]:
        """Frames of the file with charge and multiplicity of ``structure``; repeated frames are dropped.

        Raises
        ------
        InputError
            If the file cannot be read, a frame has other atoms than ``structure``, or a frame taken is broken. Such
            a frame is not left out silently: the file is the user's choice.
        """
        frames = self._read(structure)
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

    def most(self, structure: Structure) -> int | None:
        return len(self.sample(structure))

    def _read(self, structure: Structure) -> list[Structure]:
        if self.path.suffix.lower() == ".npy":
            from densnet_core.stores.published import read_geometries  # imports torch, which few files need

            return read_geometries(self.path, structure.charge, structure.multiplicity)
        if self.path.suffix.lower() != ".zarr":
            return read_xyz(self.path, structure.charge, structure.multiplicity)
        from densnet_core.stores.trajectory import TrajectoryStore

        with TrajectoryStore.open(self.path) as store:
            moved, positions = store.structure, store.positions()
        if (moved.charge, moved.multiplicity) != (structure.charge, structure.multiplicity):
            raise InputError(
                f"{self.path} moves {moved.formula} with charge {moved.charge} and multiplicity {moved.multiplicity}; "
                f"asked for are {structure.charge} and {structure.multiplicity}. If its geometries are to serve for "
                "another state, export them ('densnet data export') and remove both from the headers."
            )
        return [moved.with_positions(frame) for frame in positions.reshape(-1, *moved.positions.shape)]
