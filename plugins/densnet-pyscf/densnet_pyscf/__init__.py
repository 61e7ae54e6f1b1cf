"""DenSNet plugin: reference calculations with PySCF."""

__version__ = "0.1.0"
