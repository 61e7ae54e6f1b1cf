"""Spectra and normal modes."""
