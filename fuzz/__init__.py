"""Readers of what others wrote, fed with what nobody should have written.

    python -m fuzz --cases 100000 --seed 1 --json benchmarks/results/safety/fuzz.json
    python -m fuzz --atheris archives --seconds 600      where atheris is installed

A *target* (`targets`) takes bytes, makes a file of them, reads it as the product does, and checks what came out.
Hypothesis edits the targets' own examples and what is in `corpus/`, and makes the smallest case of whatever fails. That
is kept in `corpus/`, and read again by the tests. What has to hold for every case is in `case`.
"""
