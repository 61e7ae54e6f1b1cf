"""The stages of a run, one file each: what it needs, its outputs, what its result depends on, and the work."""
