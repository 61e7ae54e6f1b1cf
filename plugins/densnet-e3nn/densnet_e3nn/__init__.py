"""DenSNet plugin: an equivariant message-passing backbone built on e3nn."""

__version__ = "0.1.0"
