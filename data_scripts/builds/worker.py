"""A process that builds units, and the object that starts it, gives it units and replaces it.

    Worker                                        process (leads a session and process group of its own)
      source and Arrow schema (pickled)    -->   loads them, answers None
      name of a unit                       -->   builds it, answers with an Outcome, which holds the shard
      None                                 -->   closes the source and ends

- A process that dies, raises or takes too long is killed with its whole process group, because simulators leave
  children behind. A guard in the group does the same when the process or its starter is gone.
- The shard comes back as bytes. The process writes no files, so it can run on another machine.
- The process is a fresh interpreter, because OpenGL, Ray and threads do not survive a fork. It does not import the
  caller's main module, as `multiprocessing` would, so scripts need no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.work_units import Outcome, Source, StopBuildError
from modeling_cde.data.building.shards import encode_shard

if TYPE_CHECKING:
    import pyarrow as pa

START_SECONDS = 300.0  # for importing the source
END_SECONDS = 30.0  # for closing it
_GUARD_SECONDS = 0.2  # between two looks


def pack_source(source: Source, schema: pa.Schema) -> bytes:
    """Pickle what every worker process gets: a source, and the Arrow schema of its features."""
    try:
        return pickle.dumps((source, schema))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{type(source).__name__} cannot be sent to a worker process ({error}): create this object in the source's "
            "`build` instead."
        ) from error


class Worker:
    """Builds units one after another in a process, and replaces the process after every error.

    `payload` is from `pack_source`, `retries` and `unit_timeout` are those of `run_units`.
    """

    def __init__(self, payload: bytes, retries: int, unit_timeout: float | None) -> None:
        self._payload, self._retries, self._unit_timeout = payload, retries, unit_timeout
        self._process: _Process | None = None
        self._stopped = False
        self._lock = threading.Lock()  # between a start and a stop

    def build(self, unit: str) -> Outcome:
        """Build a unit; never raises: the outcome says what went wrong."""
        for attempt in range(1, self._retries + 2):
            try:
                outcome = self._started().build(unit, self._unit_timeout)
            except _LostError as lost:
                outcome = Outcome(unit, error=str(lost))
            except _UnstartableError as refused:
                outcome = Outcome(unit, error=str(refused), stop=True)
            outcome.attempts = attempt
            if outcome.error is None:
                return outcome
            self._kill()  # after an exception too: it may have left the process in any state
            if outcome.stop or self._stopped:
                break
        return outcome

    def close(self) -> None:
        """Let the process close its source and end, then kill what it left behind."""
        if self._process is not None:
            self._process.end()
            self._kill()

    def stop(self) -> None:
        """Kill the process now, from any thread; no new one is started."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill_group()  # the thread that waits for an answer notices, and cleans up

    def _started(self) -> _Process:
        with self._lock:
            if self._stopped:
                raise _LostError("the build was stopped")
            if self._process is None:
                self._process = _Process()
            elif self._process.ready:
                return self._process
        self._process.load(self._payload)
        return self._process

    def _kill(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()


class _LostError(Exception):
    """The process died or hung; the message says how."""


class _UnstartableError(Exception):
    """The process cannot load the source; the message says why."""


class _Process:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        self.ready = False
        self._pipe, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; "
        code += f"from data_scripts.builds.worker import work; work({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,  # never written to: when our end closes, the guard knows that we are gone
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C reaches only the main process, which then ends the workers
        )
        theirs.close()

    def load(self, payload: bytes) -> None:
        problem = self._ask(payload, START_SECONDS, f"did not start within {START_SECONDS:g} seconds")
        if problem is not None:
            raise _UnstartableError(f"No worker can start: {problem}")
        self.ready = True

    def build(self, unit: str, timeout: float | None) -> Outcome:
        late = f"hung: it took more than {timeout or 0:g} seconds (unit_timeout)"
        answer = self._ask(pickle.dumps(unit), timeout, late)
        assert isinstance(answer, Outcome)
        return answer

    def end(self) -> None:
        try:
            self._pipe.send(None)
            self._process.wait(END_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            pass  # it is killed next

    def kill(self) -> None:
        self.kill_group()
        self._process.wait()
        self.kill_group()  # children that were just being born
        self._pipe.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill_group(self) -> None:
        """Kill every process of the group, and wait for none."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nothing is left, or only zombies
            pass

    def _ask(self, message: bytes, seconds: float | None, late: str) -> Any:
        """Send a message and wait for the answer. A late process is killed, which ends the wait."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.kill_group()

        timer = threading.Timer(seconds or 0, expire)
        timer.daemon = True
        if seconds is not None:
            timer.start()
        try:
            self._pipe.send_bytes(message)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            if not expired.is_set():
                raise self._lost() from None
        finally:
            timer.cancel()
        if expired.is_set():
            raise _LostError(f"the worker {late}")
        return answer

    def _lost(self) -> _LostError:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return _LostError("the worker closed its pipe")
        if code < 0:
            name = signal.Signals(-code).name
            return _LostError(f"the worker was killed by {name}" + ", perhaps out of memory" * (name == "SIGKILL"))
        return _LostError(f"the worker ended with exit code {code}")


def work(descriptor: int) -> None:
    """What the process does from start to end; `descriptor` is that of the pipe to its `Worker`."""
    _start_guard(descriptor)
    pipe = Connection(descriptor)
    os.set_inheritable(descriptor, False)  # children of the source must not hold it open
    try:
        source, schema = pipe.recv()
    except BaseException as error:
        pipe.send(sentence(error))
        return
    pipe.send(None)
    while (unit := pipe.recv()) is not None:
        pipe.send(build_outcome(source, schema, unit))
    source.close()


def _start_guard(descriptor: int) -> None:
    """Fork a process that kills this process group as soon as the worker or its starter is gone.

    It also works while the worker hangs in a library. And Ray, which kills the children of a dead task but not their
    children, does not reach the guard.
    """
    worker = os.getpid()
    if os.fork() == 0:
        os.close(descriptor)  # the pipe has to end with the worker
        # Standard input gets readable when the starter's end of it is closed.
        while os.getppid() == worker and not select.select([0], [], [], _GUARD_SECONDS)[0]:
            pass
        os.killpg(0, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def build_outcome(source: Source, schema: pa.Schema, unit: str) -> Outcome:
    """Build a unit in this process."""
    try:
        built = source.build(unit)
        shard = encode_shard(built.rows, schema)
        # Plain numbers and texts, whatever kinds of them the source used.
        rejected = {str(reason): int(count) for reason, count in built.rejected.items()}
        return Outcome(unit, shard, len(built.rows), rejected, [str(problem) for problem in built.problems])
    except StopBuildError as error:
        return Outcome(unit, error=str(error), stop=True)
    except BaseException as error:  # libraries also exit
        return Outcome(unit, error=sentence(error))


def sentence(error: BaseException) -> str:
    """An error on one line: its kind, its message, and where it was raised."""
    message = " ".join(str(error).split()) or "no message"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{place}"
