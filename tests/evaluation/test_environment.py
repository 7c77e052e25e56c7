"""What an evaluation says of the machine: of this process what is the process's, of the machine what is its."""

import os

import torch

from modeling_cde.evaluation.evaluate import environment


def test_threads_are_those_of_the_process_and_cores_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    found = environment()
    assert (found["threads"], found["cores"], found["torch"]) == (3, 64, torch.__version__)
