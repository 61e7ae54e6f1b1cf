"""What files of geometries and labels are made of: names, units, and the frames of XYZ files."""
