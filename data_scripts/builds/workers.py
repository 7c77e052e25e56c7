"""A worker: a process of its own that builds units, and the supervisor that outlives whatever happens to it.

    supervisor                         worker (in a session and process group of its own, which its `guard` leads)
      job (source, schema; JSON)   -->   makes them again, answers "ready"
      name of a unit               -->   builds it, answers with a record (JSON), then the shard as bytes
      empty name                   -->   closes the source and ends

- A worker that dies, raises or takes too long is killed together with its process group: simulators leave children
  behind. The same happens after a worker ended well, and, by guard and worker, when their supervisor dies.
- Nothing is pickled: the job is told in JSON (`packing`), and so are the answers. A worker reads strangers' files, and
  its supervisor should not trust it.
- The shard comes back as bytes: the worker writes nothing, so it may run on another machine.
- A worker imports neither PyTorch nor `modeling_cde` unless its source does: it is there in half a second.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.packing import unpack_job
from data_scripts.builds.work_units import Source, StopBuildError, UnitRows
from modeling_cde.data.building.shards import encode_shard

if TYPE_CHECKING:
    import pyarrow as pa

GUARD = Path(__file__).with_name("guard.py")
START_SECONDS = 300.0  # that a worker may take to import its source
END_SECONDS = 30.0  # that it may take to close it
_POLL_SECONDS = 0.5


@dataclass
class Outcome:
    """What became of a unit.

    Attributes:
        unit: Its name.
        shard: The Parquet file.
        rows: Pairs in it.
        rejected: From `UnitRows`.
        problems: From `UnitRows`.
        error: Why there is no shard, as a sentence; None where there is one.
        attempts: How often it was tried.
        stop: Whether the whole build is to end, with `error`.
    """

    unit: str
    shard: bytes = b""
    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    error: str | None = None
    attempts: int = 1
    stop: bool = False


class Supervisor:
    """Builds units one after another in a worker process, and replaces the process whenever it must.

    Args:
        payload: Source and Arrow schema, by `packing.pack_job`.
        retries: How often a unit is tried again.
        unit_timeout: Seconds after which a unit counts as hung; None waits for ever.
    """

    def __init__(self, payload: bytes, retries: int, unit_timeout: float | None) -> None:
        self._payload, self._retries, self._unit_timeout = payload, retries, unit_timeout
        self._worker: _Worker | None = None
        self._stopped = False
        self._lock = threading.Lock()  # between a start and a stop

    def build(self, unit: str) -> Outcome:
        """Build a unit; whatever goes wrong is in the outcome."""
        for attempt in range(1, self._retries + 2):
            try:
                worker = self._started()
                outcome = worker.build(unit, self._unit_timeout)
            except _LostError as lost:
                outcome = Outcome(unit, error=str(lost))
            except _UnstartableError as refused:
                outcome = Outcome(unit, error=str(refused), stop=True)
            outcome.attempts = attempt
            if outcome.error is None:
                return outcome
            self._kill()  # also after an error: what state the process is in, no one knows
            if outcome.stop or self._stopped:
                break
        return outcome

    def close(self) -> None:
        """Let the worker end by itself, then end what it left behind."""
        if self._worker is not None:
            self._worker.end(END_SECONDS)
            self._kill()

    def stop(self) -> None:
        """Kill the worker at once, from another thread too; no new one is started."""
        with self._lock:
            self._stopped = True
            worker = self._worker
        if worker is not None:
            worker.kill_group()  # whoever waits for it in another thread sees that, and clears up

    def _started(self) -> _Worker:
        with self._lock:
            if self._stopped:
                raise _LostError("the build was stopped")
            if self._worker is None:
                self._worker = _Worker()
            elif self._worker.ready:
                return self._worker
        self._worker.load(self._payload)
        return self._worker

    def _kill(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


class _LostError(Exception):
    """The worker died or hung; the message says how."""


class _UnstartableError(Exception):
    """The worker refused the source; the message says why."""


class _Worker:
    """One worker process, behind its guard, and the pipe to it."""

    def __init__(self) -> None:
        self.ready = False
        self._pipe, theirs = Pipe()
        # A fresh interpreter rather than a fork: OpenGL, Ray and threads do not survive one. Nor does it import the
        # main module again, as multiprocessing would, which under Ray is Ray's.
        code = f"import sys; sys.path[:] = {sys.path!r}; "
        code += f"from data_scripts.builds.workers import work; work({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(theirs.fileno()), sys.executable, "-c", code],
            stdin=subprocess.PIPE,  # its end tells the guard of ours
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which then ends the workers
        )
        theirs.close()

    def load(self, payload: bytes) -> None:
        deadline = time.monotonic() + START_SECONDS
        self._send(payload)
        answer = json.loads(self._receive(deadline, f"did not start within {START_SECONDS:g} seconds"))
        if answer is not None:
            raise _UnstartableError(f"No worker can be started: {answer}")
        self.ready = True

    def build(self, unit: str, timeout: float | None) -> Outcome:
        deadline = None if timeout is None else time.monotonic() + timeout
        hung = f"hung: it took more than {timeout:g} seconds (unit_timeout)" if timeout else ""
        self._send(unit.encode())
        outcome = Outcome(**json.loads(self._receive(deadline, hung)))
        if outcome.error is None:
            outcome.shard = self._receive(deadline, hung)
        return outcome

    def end(self, seconds: float) -> None:
        try:
            self._send(b"")
            self._process.wait(seconds)
        except (_LostError, subprocess.TimeoutExpired):
            pass  # it is killed next

    def kill(self) -> None:
        """Kill the process group; its id cannot be another's while a member lives."""
        self.kill_group()
        self._process.wait()
        self.kill_group()  # children that were being born meanwhile
        self._pipe.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill_group(self) -> None:
        """Kill every process of the group, and wait for none."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nobody is left, or zombies only
            pass

    def _send(self, message: bytes) -> None:
        try:
            self._pipe.send_bytes(message)
        except OSError:
            raise self._lost() from None

    def _receive(self, deadline: float | None, late: str) -> bytes:
        """The next message. A dead worker's children may hold the pipe open, so its process is looked at, too."""
        try:
            while True:
                dead = self._process.poll() is not None
                if self._pipe.poll(0 if dead else _POLL_SECONDS):
                    return self._receive_whole(deadline)
                if dead:
                    raise self._lost()
                if deadline is not None and time.monotonic() > deadline:
                    raise _LostError(f"the worker {late}")
        except (EOFError, OSError):
            if deadline is not None and time.monotonic() > deadline:
                raise _LostError(f"the worker {late}") from None
            raise self._lost() from None

    def _receive_whole(self, deadline: float | None) -> bytes:
        """A message that has begun; a worker that stops in the middle of it is killed, which ends the message."""
        if deadline is None:
            return self._pipe.recv_bytes()
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), self.kill_group)
        timer.start()
        try:
            return self._pipe.recv_bytes()
        finally:
            timer.cancel()

    def _lost(self) -> _LostError:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return _LostError("the worker closed its pipe")
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return _LostError(f"the worker was ended by {name}{hint}")
        return _LostError(f"the worker ended with exit code {code}")


def work(descriptor: int) -> None:
    """The worker's whole life.

    Args:
        descriptor: File descriptor of the pipe to the supervisor.
    """
    pipe = Connection(descriptor)
    os.set_inheritable(descriptor, False)  # not for the children of the source
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, messages), daemon=True).start()
    try:
        source, schema = unpack_job(messages.get())
    except BaseException as error:
        pipe.send_bytes(json.dumps(sentence(error)).encode())
        return
    pipe.send_bytes(json.dumps(None).encode())
    while unit := messages.get().decode():
        outcome = build_outcome(source, schema, unit)
        record = {name: value for name, value in vars(outcome).items() if name != "shard"}
        pipe.send_bytes(json.dumps(record).encode())
        if outcome.error is None:
            pipe.send_bytes(outcome.shard)
    source.close()


def _listen(pipe: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    """Take in messages; when the supervisor is gone, end this process and its children, also amid a unit."""
    try:
        while True:
            messages.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def build_outcome(source: Source, schema: pa.Schema, unit: str) -> Outcome:
    """Build a unit in this process."""
    try:
        built: UnitRows = source.build(unit)
        shard = encode_shard(built.rows, schema)
        rejected = {str(reason): int(count) for reason, count in built.rejected.items()}
        return Outcome(unit, shard, len(built.rows), rejected, [str(problem) for problem in built.problems])
    except StopBuildError as error:
        return Outcome(unit, error=str(error), stop=True)
    except BaseException as error:  # libraries exit, too
        return Outcome(unit, error=sentence(error))


def sentence(error: BaseException) -> str:
    """An error on one line: its kind, its message, and where our code or a library raised it."""
    message = " ".join(str(error).split()) or "no message"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{place}"
