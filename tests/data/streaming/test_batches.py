"""The loader of a stream: whose seed it has, and that it ends at once when it is closed."""

from types import SimpleNamespace

import pytest
import torch

from modeling_cde.data.streaming.batches import StreamedBatches, stream_loader
from tests.data.streamed_pairs import named, stream_of, write_files


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return stream_of(write_files(tmp_path_factory.mktemp("streamed")), augment=False)


def test_data_seed_decides_on_the_order_and_seed_where_it_is_absent(stream):
    def seed(seed, data_seed):
        loader = {"num_workers": 0, "pin_memory": False, "prefetch_factor": None, "multiprocessing_context": None}
        loader |= {"persistent_workers": False, "drop_last": True}
        args = SimpleNamespace(seed=seed, data_seed=data_seed, process_index=0, world_size=1)
        vars(args).update({f"dataloader_{name}": value for name, value in loader.items()})
        return stream_loader(stream, named, torch.device("cpu"), args, 4)[1].order.seed

    assert (seed(1, None), seed(1, 7), seed(1, 0)) == (1, 7, 0)


def test_a_closed_stream_does_not_wait_for_a_file_that_does_not_come(stream, monkeypatch):
    """The next block is read ahead: without the word, closing would wait for all attempts, minutes."""
    told = []

    def read(pieces, closing):
        if told:
            told.append(closing.wait(5))
        else:
            told.append(False)
        return [{}] * sum(end - first for _, first, end in pieces)

    monkeypatch.setattr(stream, "read", read)
    batches = iter(StreamedBatches(stream, named, 4)._batches(0, [StreamedBatches(stream, named, 4).whole], 0, 0))
    next(batches)
    batches.close()
    assert told == [False, True]
