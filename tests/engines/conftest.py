"""Engines driven directly, without a broker."""

from __future__ import annotations

import itertools
import pickle

import pytest

from mlforhpc.broker.encoding import Encoder
from mlforhpc.core.task import Batch, Call
from mlforhpc.engines import processes

NUMBERS = itertools.count(1)


@pytest.fixture
def engine():
    """Two slots, up."""
    engine = processes.create(2)
    engine.warm_up(60)
    yield engine
    engine.shutdown()


@pytest.fixture
def call():
    """A function that makes a call as data."""
    encoder = Encoder()

    def make(function, *args):
        return Call(next(NUMBERS), encoder.function(function), encoder.arguments(function, args, {}))

    return make


@pytest.fixture
def batch(call):
    """A function that makes a batch of one call."""

    def make(function, *args, **options):
        return Batch((call(function, *args),), **options)

    return make


@pytest.fixture
def value():
    """Unpickles an `ok` result."""

    def read(result):
        assert result.outcome == "ok", result
        return pickle.loads(result.value)

    return read
