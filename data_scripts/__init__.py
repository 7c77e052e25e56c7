"""Sources of before/after pairs. The package never imports this one: training needs no simulator."""
