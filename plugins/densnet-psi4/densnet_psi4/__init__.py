"""DenSNet plugin: reference calculations with Psi4, run as a program of its own."""

__version__ = "0.1.0"
