"""The command `cde`, and what every other command says about itself: its name, its files, what it needs installed."""
