"""Density models, the atomic prior, fitting and observables."""
