"""Named labels over frames, and the quantities they are."""
