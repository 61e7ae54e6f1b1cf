"""Electron densities, energies and responses to a field from the bonds of each atom; a plugin of DenSNet."""

__version__ = "0.3.0"
