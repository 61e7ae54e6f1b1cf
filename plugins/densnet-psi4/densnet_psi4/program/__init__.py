"""What runs inside Psi4's interpreter: standard library, numpy and psi4, nothing of DenSNet."""
