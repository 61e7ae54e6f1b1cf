"""Atom-centred Gaussian bases: shells, conventions, integrals and the library."""
