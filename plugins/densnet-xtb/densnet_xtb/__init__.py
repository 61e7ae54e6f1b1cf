"""Samplers with GFN2-xTB for DenSNet."""

__version__ = "0.1.0"
