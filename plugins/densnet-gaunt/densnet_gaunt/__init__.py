"""DenSNet plugin: an equivariant backbone whose products are taken on the sphere, for speed on small molecules."""

__version__ = "0.1.0"
