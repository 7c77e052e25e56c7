"""Before/after pairs of things that others drew: furniture and devices of robotics simulators, rendered by MuJoCo.

Their packages on the Python package index hold the models and textures. Only these files are read: no simulator is
installed, no robot is shown, and nothing moves by physics. `things` is the table of what is shown and how it changes.
"""
