"""Geometry samplers."""
