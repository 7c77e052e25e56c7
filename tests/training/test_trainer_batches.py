"""Where a training's batches come from: seeds, the loader's settings, and what is left as it was."""

import random

import numpy as np
import pytest
import torch

from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


def batches(folder, data=None, **options):
    data = pairs(noise=0.1) if data is None else data
    loader = CDETrainer(tiny_cde(), quick(folder, **options), train_dataset=data).get_train_dataloader()
    return [(batch["labels"].tolist(), batch["pixel_values"].sum().item()) for batch in loader]


@pytest.mark.parametrize("class_aware", [True, False])
def test_data_seed_decides_on_the_batches_and_seed_where_it_is_absent(tmp_path, class_aware):
    def found(**seeds):
        return batches(tmp_path, class_aware_sampling=class_aware, **seeds)

    assert found(seed=1, data_seed=7) == found(seed=2, data_seed=7) == found(seed=7)
    assert found(seed=1, data_seed=8) != found(seed=1, data_seed=7) != found(seed=1, data_seed=0) != found(seed=1)
    assert found(seed=1, data_seed=0) == found(seed=0)


def test_an_epoch_takes_nothing_from_the_generators_of_the_model(tmp_path):
    trainer = CDETrainer(tiny_cde(), quick(tmp_path), train_dataset=pairs(noise=0.1), eval_dataset=pairs(noise=0.1))
    loader = trainer.get_train_dataloader()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert len(list(loader)) == 4
    trainer.evaluate()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_the_loader_has_the_settings_of_the_arguments(tmp_path):
    workers = {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 3, "dataloader_persistent_workers": True}
    workers |= {"dataloader_multiprocessing_context": "fork", "dataloader_pin_memory": False}
    trainer = CDETrainer(tiny_cde(), quick(tmp_path, **workers), train_dataset=pairs())
    loader = trainer.get_train_dataloader()
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (1, 3, True)
    assert loader.multiprocessing_context.get_start_method() == "fork" and not loader.pin_memory
    assert trainer.accelerator.dataloader_config.split_batches is False  # as the user has set it
    plain = CDETrainer(tiny_cde(), quick(tmp_path), train_dataset=pairs()).get_train_dataloader()
    assert (plain.num_workers, plain.prefetch_factor, plain.persistent_workers) == (0, None, False)


def test_only_what_does_not_fill_a_batch_is_left_out_and_only_on_request(tmp_path):
    for drop, sizes in ((True, [6, 6, 6]), (False, [6, 6, 6, 2])):
        options = {"class_aware_sampling": False, "dataloader_drop_last": drop}
        assert [len(labels) for labels, _ in batches(tmp_path, pairs(20), **options)] == sizes
    trainer = CDETrainer(tiny_cde(), quick(tmp_path, dataloader_drop_last=True))
    for loader in (trainer.get_eval_dataloader(pairs(7)), trainer.get_test_dataloader(pairs(7))):
        assert [len(batch["labels"]) for batch in loader] == [6, 1]
    assert trainer.args.dataloader_drop_last
