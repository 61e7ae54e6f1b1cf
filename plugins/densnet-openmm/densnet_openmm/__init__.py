"""DenSNet plugin: molecular dynamics with OpenMM."""

__version__ = "0.1.0"
