"""Files inside folders, zips and tars, read in place."""
