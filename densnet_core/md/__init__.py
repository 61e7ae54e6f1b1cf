"""Molecular dynamics: engine interface, deployed potentials, trajectories."""
