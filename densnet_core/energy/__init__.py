"""Energy models on predicted densities."""
