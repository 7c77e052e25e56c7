"""Question 1: do deltas of actions add up, and can two actions be read from the end points of a sequence?"""
