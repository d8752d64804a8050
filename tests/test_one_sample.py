"""One sample that several threads share: the same bits as by one of them."""

import numpy as np
import pytest
from frozen_networks import NETWORKS, network

from fastdnn.inference import Inference, OneSample
from fastdnn.layers.base import DATA


@pytest.mark.parametrize("dtype", ["model", "float32", "float64", "bfloat16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_shares_give_the_bits_of_the_whole(name, dtype):
    model, X = network(name, "float64" if dtype == "float64" else "float32")
    predictor = model if dtype == "model" else model.freeze(dtype, X if dtype == "int8" else None)
    net = model.network if dtype == "model" else predictor.model.network
    want, kernel = predictor.predict(X[:3]), net.loss.link_for(net.n_out).address(model.dtype)
    for threads in (2, 3, 5):
        inference = Inference(net, model.dtype, "float")
        one = OneSample(inference, threads)
        for x, y in zip(X, want, strict=False):
            x, out = x.reshape(1, -1), np.zeros_like(y)
            inference.rows(x)
            inference.data[DATA.result] = out.ctypes.data
            one(kernel)
            np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize(("name", "least"), [("wide", 2), ("images", 2), ("separable", 4), ("dilated", 3)])
def test_what_takes_long_is_shared(name, least):
    model, _ = network(name)
    one = OneSample(Inference(model.network, model.dtype, "float"), 2)
    assert one.divided.sum() >= least


def test_more_threads_than_there_is_to_share():
    model, _ = network("images")
    one = OneSample(Inference(model.network, model.dtype, "float"), 40)
    assert not one.divided[1]  # 17 rows of pixels
