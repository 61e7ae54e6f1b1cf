"""Molecules as networks see them: graphs of atoms and pairs."""
