"""Samplers with RDKit for DenSNet."""

__version__ = "0.1.0"
