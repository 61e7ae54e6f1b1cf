"""Zarr stores and model packages."""
