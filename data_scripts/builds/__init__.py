"""Builds that survive: independent units, the processes that build them, and the folder that keeps them.

Why the local pool is not pebble's: a pool of pebble 5.2 was tried against the tests of kills and hangs. It ends a unit
after its time limit and replaces dead workers. But the children of a killed worker (simulators) live on; a unit that
raised leaves its worker in use, where we want a fresh process; a worker that exits with code 0 leaves its unit waiting
forever; and a worker that hangs outlives a main process that was killed. Each needs the worker's process id and process
group, which pebble hides. `worker` covers all of it in one file, on `subprocess` and a pipe, and the Ray tasks use the
same file.
"""
