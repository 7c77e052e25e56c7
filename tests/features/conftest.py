"""Counts encodings."""

import pytest

from modeling_cde.features import keep as keep_module


@pytest.fixture
def encoded(monkeypatch):
    """The number of clips of each call of an encoder, without the black one that tells the size."""
    calls, call = [], keep_module.Encoder.__call__

    def counted(self, pixel_values):
        if bool(pixel_values.any()):
            calls.append(len(pixel_values))
        return call(self, pixel_values)

    monkeypatch.setattr(keep_module.Encoder, "__call__", counted)
    return calls
