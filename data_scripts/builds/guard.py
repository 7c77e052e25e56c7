"""Stands between a supervisor and its worker, so that no end of either leaves a process behind.

    python -I -S guard.py DESCRIPTOR COMMAND...      standard input: a pipe that its supervisor holds open

Leads a process group, starts the command in it, and ends as the command ends. When the supervisor is gone, it kills the
group, also where the worker hangs in a library and could not. And it is what Ray kills, which kills the children of
a dead actor but not their children: the worker itself stays alive long enough to kill the group.

Started for every worker, so it is a script that imports next to nothing.
"""

import os
import signal
import sys
import threading


def watch() -> None:
    """Wait for the end of the pipe."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(descriptor: int, command: list[str]) -> None:
    """Run a command and end with its exit code, or by its signal.

    Args:
        descriptor: Of the worker's pipe, which has to end with the worker and so must not stay open here.
        command: Program and arguments.
    """
    worker = os.fork()
    if worker == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(command[0], command)
    os.close(descriptor)
    threading.Thread(target=watch, daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(abs(code))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
