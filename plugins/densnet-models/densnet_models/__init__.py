"""DenSNet plugin: trained models. ``science/ship.py NAME`` makes one anew from its labels in ``science/systems``."""

__version__ = "0.1.0"
