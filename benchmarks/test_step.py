"""Epochs of the engine, without an estimator around it: pytest benchmarks/test_step.py --benchmark-enable

extra_info holds the microseconds a step and the share of the peak of fused multiply-adds of the threads used.
"""

import pytest
from limits import fma_peak
from peers import CASES, data, flops_per_row

from fastdnn import Model, config_context, get_num_threads, layers


@pytest.mark.parametrize("threads", sorted({1, get_num_threads()}))
@pytest.mark.parametrize("name", CASES)
def test_epoch(benchmark, name, threads):
    rows, _, hidden, outputs, batch, dtype = case = CASES[name]
    X, y = data((min(rows, 4 * batch), *case[1:])) if not benchmark.enabled else data(case)
    network = [*[layers.Dense(n, activation="relu") for n in hidden], layers.Dense(outputs)]
    loss = "squared_error" if outputs == 1 else "cross_entropy"
    training = Model(network, loss=loss, dtype=dtype, random_state=0).bind(X, y, batch_size=batch)
    with config_context(n_threads=threads):
        assert training.epoch() > 0
        benchmark.pedantic(training.epoch, rounds=7, iterations=1)
    if benchmark.stats:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["us_per_step"] = 1e6 * seconds / -(-rows // batch)
        benchmark.extra_info["share_of_peak"] = flops_per_row(case) * rows / seconds / fma_peak(dtype, threads)
