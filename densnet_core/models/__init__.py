"""Density and energy models, and the backbones they stand on."""
