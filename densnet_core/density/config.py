"""Options of the density models that ship with the core."""

from densnet_core.options import Options


class DensityModelOptions(Options):
    """Options of the density model ``equivariant``: it has none, its size is that of the backbone."""
