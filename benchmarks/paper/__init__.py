"""The tables of the paper: recipes, plans, runs."""
