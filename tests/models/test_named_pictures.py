"""Pictures that the pipeline is given by path or URL: who may name them, and what a download may take."""

import functools
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from modeling_cde import ActionClassificationPipeline, CDEImageProcessor
from modeling_cde.data import PairTransform
from modeling_cde.models import pictures_cde
from tests.tiny_models import tiny_cde

X, Y = (Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)) for seed in (0, 1))
PICTURES = {"before": "x.png", "after": "y.png"}


def make_pipeline(**options):
    processor = CDEImageProcessor(size=32)
    return ActionClassificationPipeline(model=tiny_cde("vit"), image_processor=processor, device="cpu", **options)


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


def test_an_image_is_fetched_by_its_url(pipe, tmp_path):
    X.save(tmp_path / "x.png")
    (tmp_path / "page.png").write_text("<html>no picture</html>")
    with served(tmp_path) as address:
        assert pipe(f"{address}/x.png", Y) == pipe(X, Y)
        with pytest.raises(OSError, match=r"page.png cannot be read as an image: .*, perhaps the page of an error"):
            pipe(f"{address}/page.png", Y)
    with pytest.raises(OSError, match=r"x.png cannot be read as an image: .*refused"):
        pipe(f"{address}/x.png", Y)


class Items(torch.utils.data.Dataset):
    """A data set of the caller's own."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_what_a_row_or_a_data_set_names_is_opened_if_asked_alone(pipe, tmp_path, monkeypatch):
    """A pair names files by the caller's own word; rows are others'."""
    X.save(tmp_path / "x.png")
    asked, whole = [], (tmp_path / "x.png").read_bytes()
    monkeypatch.setattr(
        pictures_cde, "_fetched", lambda address: asked.append(address) or (tmp_path / "x.png").read_bytes()
    )
    there, url, expected = str(tmp_path / "x.png"), "http://192.0.2.1/x.png", pipe(X, Y)
    trusting = make_pipeline(open_paths=True)
    for name in (there, url, tmp_path / "x.png"):
        row, stored = {"before": name, "after": Y}, {"before": {"bytes": None, "path": name}, "after": Y}
        assert pipe([(name, Y)]) == list(pipe((name, Y) for _ in "1")) == [expected]
        for given in (row, [row], stored, [(X, Y), row], (one for one in [row]), Items([row]), Items([(name, Y)])):
            asked.clear()
            with pytest.raises(OSError, match="^A row names '.*x.png' instead of .*: pass open_paths=True"):
                list(pipe(given))
            assert not asked
        for given in ([row], [stored], Items([row]), Items([(name, Y)])):
            assert list(pipe(given, open_paths=True)) == list(trusting(given)) == [expected]
        with pytest.raises(OSError, match="A row names"):
            pipe(name, Y, open_paths=False)
    stored = {"before": {"bytes": whole, "path": url}, "after": Y}
    assert pipe(stored) == pipe({"before": whole, "after": Y}) == expected


def test_a_stream_of_datasets_opens_nothing_that_its_rows_name(pipe, tmp_path):
    """Left to itself, Datasets opens and fetches it while it decodes a row."""
    X.save(tmp_path / "x.png")
    Y.save(tmp_path / "y.png")
    features = datasets.Features({"before": datasets.Image(), "after": datasets.Image()})

    def stream(**row):
        return datasets.Dataset.from_list([row], features=features).to_iterable_dataset()

    whole = {name: {"bytes": (tmp_path / file).read_bytes(), "path": None} for name, file in PICTURES.items()}
    assert list(pipe(stream(**whole))) == [pipe(X, Y)]
    for name in (str(tmp_path / "x.png"), "http://192.0.2.1/x.png"):
        with pytest.raises(OSError, match="A row names"):
            list(pipe(stream(**whole | {"before": {"bytes": None, "path": name}})))
    named = stream(**whole | {"before": {"bytes": None, "path": str(tmp_path / "x.png")}})
    assert list(pipe(named, open_paths=True)) == [pipe(X, Y)]


def test_a_row_to_train_or_test_on_names_nothing_either(tmp_path):
    X.save(tmp_path / "x.png")
    transform = PairTransform((8, 8), crop="none")
    for name in (str(tmp_path / "x.png"), tmp_path / "x.png", {"bytes": None, "path": str(tmp_path / "x.png")}):
        with pytest.raises(OSError, match="the row names a file instead of containing the picture"):
            transform.pixel_values(name, Y)
    assert transform.pixel_values((tmp_path / "x.png").read_bytes(), Y).equal(transform.pixel_values(X, Y))


@pytest.mark.parametrize("slow_part", ["head", "body"])
def test_a_download_that_takes_too_long_or_too_much_ends_in_a_sentence(slow_part, monkeypatch):
    """However often the server sends a byte meanwhile."""
    ended = threading.Event()

    def serve(listening):
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"\r\n" * (slow_part == "body"))
            while not ended.wait(0.02):
                connection.sendall(b"a")

    monkeypatch.setattr(pictures_cde, "_URL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(
            OSError, match=r"x.png cannot be read as an image: it took more than 0 seconds to arrive\.$"
        ):
            pictures_cde.load_picture(f"http://127.0.0.1:{listening.getsockname()[1]}/x.png")
        assert time.monotonic() < began + 5
        ended.set()


def test_a_download_has_a_largest_size(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(bytes(3 << 20))
    monkeypatch.setattr(pictures_cde, "_MOST_FETCHED", 2 << 20)
    with served(tmp_path) as address, pytest.raises(OSError, match="x.png cannot be .*: it has more than 2 MiB"):
        pictures_cde.load_picture(f"{address}/x.png")


@contextmanager
def served(folder):
    """The address of a server of a folder's files."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves the files of a folder."""

    def log_message(self, *_):
        pass
