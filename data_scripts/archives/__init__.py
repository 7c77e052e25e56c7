"""Files inside zips and tars, read where they lie."""
