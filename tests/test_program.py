"""What the engine walks: shares, parts, shards, segments, the workspace. Nothing is left out, nothing is done twice."""

import itertools

import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.gemm import ALIGN, padded
from fastdnn.layers.base import OP
from fastdnn.layout import Layout
from fastdnn.losses import get_loss
from fastdnn.planning import SHARD_ROWS, SHARDS, n_shards
from fastdnn.program import Program, share, value_size
from fastdnn.tables import PART, SEGMENT

NETWORKS = {
    "one layer": ([layers.Dense(3)], (5,)),
    "wide": ([layers.Dense(700, "relu"), layers.Dense(300, "relu", use_bias=False), layers.Dense(10)], (600,)),
    "normalized": (
        [layers.Dense(40), layers.BatchNorm(), layers.Activation("relu"), layers.Dense(20), layers.BatchNorm()],
        (9,),
    ),
    "series": ([layers.Dense(12, "tanh"), layers.LayerNorm(), layers.Flatten(), layers.Dense(2)], (7, 5)),
    "skips": ([layers.Dense(16), layers.Residual([layers.Dense(16, "gelu"), layers.Dropout(0.1)]), layers.Dense(1)], (4,)),
}


@pytest.fixture(params=NETWORKS)
def built(request):
    shapes, input_shape = NETWORKS[request.param]
    return Layout(tuple(shapes), input_shape)


def program(layout, rows=64, training=True):
    loss = get_loss("squared_error")
    kernel = loss.kernel_for(np.zeros(1), layout.shapes[-1][-1]) if training else None
    return Program(layout, loss, "float", "float64", rows, kernel, training)


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_shares_hold_each_part_once_and_cost_about_the_same(n, threads):
    costs = np.random.default_rng(n).integers(1, 100, n)
    bounds = share(costs, threads)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, n, threads + 1)
    assert (np.diff(bounds) >= 0).all()
    for first, last in itertools.pairwise(bounds):
        assert costs[first:last].sum() <= costs.sum() / threads + costs.max(initial=0)


def test_parts_hold_every_parameter_once(built):
    seen, units = np.zeros(built.size, int), {}
    for part in built.parts():
        seen[part[PART.first_param] : part[PART.first_param] + part[PART.n_params]] += 1
        assert part[PART.first_unit] == units.get(part[PART.op], 0)
        units[part[PART.op]] = part[PART.first_unit] + part[PART.units]
        entry = built.entries[part[PART.entry]]
        assert part[PART.n_params] == part[PART.units] * entry.stride
        assert part[PART.decays] == entry.decays
    real = np.ones(built.size, bool)
    real[built.padding()] = False
    assert (seen[real] == 1).all()
    assert seen.max() == 1
    for number in {e.layer for e in built.entries}:
        assert units[number + 1] == sum(e.rows for e in built.entries if e.layer == number)
    assert len(built.factors()) == len(built.parts())


def test_large_matrices_are_cut_so_that_threads_find_parts():
    layout = Layout((layers.Dense(2048),), (2048,))
    parts = layout.parts()
    assert len(parts) >= 16
    assert parts[:, PART.n_params].max() < layout.size / 8
    assert (parts[:-2, PART.units] % ALIGN == 0).all()


def test_segments_walk_every_op_once_each_way(built):
    made = program(built)
    forward, backward = [], []
    for row in made.segments:
        forward += range(row[SEGMENT.forward], row[SEGMENT.forward_end])
        backward += range(row[SEGMENT.backward], row[SEGMENT.backward_end] - 1, -1)
    ops = len(made.table)
    # The ops of a segment that ends with a sync kernel go forward once; the loss is the last op, and only goes back.
    assert forward == list(range(ops - 1))
    assert backward == list(range(ops - 1, -1, -1))
    syncs = [o for o in range(ops) for kind in (OP.sync_forward, OP.sync_backward) if made.table[o, kind]]
    assert sorted(row[SEGMENT.sync_op] for row in made.segments if row[SEGMENT.sync] >= 0) == syncs


@pytest.mark.parametrize("rows", [1, 33])
def test_values_of_a_training_do_not_share_memory(built, rows):
    made = program(built, rows)
    blocks = []
    for o, shape in zip(range(len(made.table) - 1), built.shapes, strict=True):
        y, dy = made.table[o, OP.y], made.table[o, OP.dy]
        blocks += [(start, start + rows * value_size(shape)) for start in {y, dy} if start > 0]
    blocks = sorted(set(blocks))
    for (_, end), (start, _) in itertools.pairwise(blocks):
        assert end <= start
    assert blocks[-1][1] <= made.n_work
    assert made.workspace().ctypes.data % 64 == 0
    assert len(made.workspace(3)) >= 3 * made.n_work


def test_inference_keeps_two_blocks_however_deep_the_network_is():
    deep = Layout(tuple(layers.Dense(50, "relu") for _ in range(60)), (50,))
    made = program(deep, 10, training=False)
    assert made.n_work < 4 * 10 * padded(50) + 2048


def test_shards_are_a_matter_of_the_network_and_its_batch():
    small, large = (Layout((layers.Dense(n),), (100,)) for n in (10, 1000))
    series = Layout((layers.Dense(32),), (200, 16))
    assert n_shards(small, SHARD_ROWS - 1) == 1
    assert n_shards(small, SHARD_ROWS) == SHARDS
    assert n_shards(large, 1000) == 1
    assert n_shards(series, 64) > SHARDS
    model = Model([layers.Dense(10)]).build(100)
    X, y = np.zeros((64, 100)), np.zeros((64, 10))
    run = model.bind(X, y, batch_size=64)
    assert run.plan.shards == SHARDS
