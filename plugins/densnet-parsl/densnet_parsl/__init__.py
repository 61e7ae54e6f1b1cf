"""The executor Parsl for DenSNet."""

__version__ = "0.1.0"
