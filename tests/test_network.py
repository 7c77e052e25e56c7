"""What SECURITY.md says of the network: no command reaches another machine unasked, in no process and no thread.

Python's sockets are watched from inside (`blocked_network`), in every test. Threads of native libraries know nothing of
Python's sockets: strace watches the whole way from training to demo for them.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.blocked_network import sitecustomize as blocked_network
from tests.conftest import TRIES

ROOT = Path(__file__).resolve().parents[1]


def tried():
    """What was written down of tries to reach another machine; taken away, so that the test does not fail for it."""
    text = TRIES.read_text() if TRIES.exists() else ""
    TRIES.unlink(missing_ok=True)
    return text


def test_the_block_bites_here_and_in_children():
    with pytest.raises(OSError, match=r"192.0.2.1: the tests reach no other machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="example.org"):
        socket.getaddrinfo("example.org", 80)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, pytest.raises(OSError, match="reach no other"):
        one.sendto(b"x", ("192.0.2.1", 9))
    assert tried().count("192.0.2.1") == 2

    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "the tests reach no other machine" in done.stderr
    assert "connect 192.0.2.1" in tried()

    with pytest.raises(socket.gaierror):
        socket.create_connection(("nowhere.invalid", 80))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert tried() == ""
    assert not blocked_network.reaches_out("::1") and blocked_network.reaches_out("10.0.0.1")


# --- threads that are not Python's ------------------------------------------------------------------------------

STRACE = [
    "strace",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-s",
    "0",
    "-e",
    "signal=none",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
]
ADDRESS = re.compile(r'sa_family=AF_INET6?, .*?htons\((\d+)\).*?"([0-9a-f.:]+)"')


def reached(lines):
    """The lines of strace in which something turns to another machine, or to a name server on whichever."""
    found = [(line, *ADDRESS.search(line).groups()) for line in lines if ADDRESS.search(line)]
    return [line for line, port, host in found if port == "53" or blocked_network.reaches_out(host)]


@cache
def obstacle():
    """Why strace cannot watch a process here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run([*STRACE, "true"], capture_output=True, text=True)
    return f"strace may not watch processes here: {done.stderr.strip()[:200]}" if done.returncode else None


def watched(command, log, **options):
    """Runs a command under strace, where there is one, and returns what it did and the lines of other machines."""
    if obstacle() is None:
        command = [*STRACE, "-o", str(log), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, **options)
    return done, reached(log.read_text().splitlines()) if log.exists() else []


def test_what_watches_native_threads_sees_what_it_should(tmp_path):
    """The call is that of the C library, so that Python's own block does not see it."""
    if obstacle():
        pytest.skip(obstacle())
    code = (
        "import ctypes, socket, struct, threading\n"
        "libc = ctypes.CDLL(None)\n"
        "def connect(host, port):\n"
        "    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "    address = struct.pack('=H', one.family) + struct.pack('>H', port) + socket.inet_aton(host) + bytes(8)\n"
        "    libc.connect(one.fileno(), address, len(address))\n"
        "for given in (('127.0.0.1', 80), ('192.0.2.7', 80), ('127.0.0.53', 53)):\n"
        "    thread = threading.Thread(target=connect, args=given)\n"
        "    thread.start(), thread.join()\n"
    )
    done, found = watched([sys.executable, "-c", code], tmp_path / "log")
    assert done.returncode == 0 and len(found) == 2, done.stderr
    assert "192.0.2.7" in found[0] and "htons(53)" in found[1]
    assert reached(['1 connect(3, {sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "2001:db8::1", &a)}'])


# Everything that a user does in turn, in a process that believes it is online and whose interpreter reports what it
# loads: `pickle.find_class` is said whenever an unpickled object names a class or a function.
CHAIN = """
import json, os, runpy, sys, time
from pathlib import Path

here, data, settings, much = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
seen = []
# What this process and those that it has started hand each other by pipes, and what UMAP's compiler keeps of itself.
own = {"multiprocessing.queues", "multiprocessing.connection", "data_scripts.builds.worker"}
own |= {"numba.core.caching", "numba.core.serialize"}

def note(event, args):
    if event == "pickle.find_class":
        frame = sys._getframe(1)
        while frame and frame.f_globals["__name__"] not in own:
            frame = frame.f_back
        if frame is None:
            seen.append(args)

sys.addaudithook(note)

def command(module, *arguments):
    sys.argv = [module, *map(str, arguments)]
    print("->", *sys.argv, flush=True)
    try:
        (runpy.run_path if module.endswith(".py") else runpy.run_module)(module, run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code

run = here / "run"
training = ["--config", "configs/from_scratch.yaml", *settings, "--data", data, "--output_dir", run]
command("train.py", *training, "--max_steps", 2)
command("modeling_cde.evaluation.export", run, "--int8")  # first, since ONNX Runtime takes its time to call its maker
if much == "whole":
    command("train.py", *training, "--max_steps", 4, "--resume_from_checkpoint", "true")
tested = here / "evaluated"
command("modeling_cde.evaluation", "--model", run, "--data", data, "--output", tested, "--split", "test")
command("modeling_cde.analysis", *([run] if much == "whole" else [tested, "--no_umap"]))
command("modeling_cde.cards", run)

from PIL import Image
pictures = here / "pictures" / "open" / "box" / "kitchen"
pictures.mkdir(parents=True)
for name, colour in (("before", "red"), ("after", "blue")):
    Image.new("RGB", (40, 32), colour).save(pictures / f"1_{name}.png")
built = ["--output", here / "built", "--view", "multi", "--workers", 1, "--no_split"]
command("data_scripts.episodes", "table", "--input", here / "pictures", *built)

from transformers import pipeline
import modeling_cde
pipe = pipeline("action-classification", model=str(run))
assert pipe(*map(str, sorted(pictures.iterdir())))

sys.path.insert(0, "space")
import app
page = app.build(app.Checkpoint.load(str(run), None))
served = app.launch(page, prevent_thread_lock=True, quiet=True)
page.close()
print("unpickled:", json.dumps(sorted({".".join(names[-2:]) for names in seen})), flush=True)
if much == "whole":
    time.sleep(10)  # ONNX Runtime waits nine seconds before it calls its maker
os._exit(0)
"""
TINY = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8}


@pytest.mark.parametrize("much", ["part", pytest.param("whole", marks=pytest.mark.slow)])
def test_the_way_from_training_to_demo_reaches_no_other_machine_and_unpickles_nothing(data, tmp_path, much):
    settings = ["--backbone_config", json.dumps(TINY | {"intermediate_size": 32}), "--image_size=32", "--delta_dim=16"]
    settings += ["--use_cpu=true", "--per_device_train_batch_size=16", "--save_strategy=steps", "--save_steps=2"]
    settings += ["--eval_strategy=no", "--load_best_model_at_end=false"]
    # Programs hold their tongue where they think that they are tested: this one thinks that it is used.
    hushed = ("HF_", "GRADIO", "ORT_", "CI", "GITHUB_", "TF_BUILD", "BUILD_", "DO_NOT_TRACK")
    online = {name: value for name, value in os.environ.items() if not name.startswith(hushed)}
    home = {"HF_HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    chain = [sys.executable, "-c", CHAIN, str(tmp_path), str(data), json.dumps(settings), much]
    done, found = watched(chain, tmp_path / "log", cwd=ROOT, env=online | home)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert not found, "\n".join(found)
    assert not TRIES.exists(), TRIES.read_text()
    assert (tmp_path / "run" / "README.md").is_file() and (tmp_path / "run" / "onnx" / "model_int8.onnx").is_file()
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"matplotlib", "modeling-cde"}, "whose are they?"
    unpickled = json.loads(re.search(r"^unpickled: (.*)$", done.stdout, flags=re.MULTILINE)[1])
    assert unpickled == [], unpickled
    if obstacle():
        pytest.skip(f"native threads were not watched: {obstacle()}")
