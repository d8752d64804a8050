"""Lanes: the same bits wherever they are, the gradient of one process, averages; who works on what, and what it costs."""

import numpy as np
import pytest

pytest.importorskip("distributed")

from dask_clusters import CHUNKS, WEIGHTS, X, Y, bits, network
from test_distributed_exchange import together

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.distributed import Exchange
from fastdnn.distributed.cost import Machine, Step, exchange_bytes, exchange_seconds, steps_of_round
from fastdnn.distributed.crew import Crew, Figures, Lane, Order, digest, model_of_lane
from fastdnn.distributed.placement import Lanes, assigned, placed

ROWS = np.split(np.arange(len(X)), np.cumsum(CHUNKS)[:-1])


def trained(hosted, every, make=network, epochs=2, batch_size=64, weights=None, cuts=None):
    """[(digest, losses, model)] of the ranks, which host these lanes."""
    n = sum(map(len, hosted))
    lanes = Lanes.of([range(lane, len(CHUNKS), n) for lane in range(n)], CHUNKS, batch_size)

    def work(rank, sockets):
        model, own, losses = make(), [], []
        model = model if model.layout else model.build(8)
        for lane in hosted[rank]:
            rows = [ROWS[p] for p in lanes.parts[lane]]
            at = np.concatenate(rows)
            w = None if weights is None else weights[at]
            own.append(Lane(model_of_lane(model, lane, every, n == 1), [X[r] for r in rows], Y[at], w, lanes.batches[lane]))
        with Exchange(rank, sockets, hosted) as exchange:
            crew = Crew(model, own, every, n == 1, exchange)
            for epoch in range(epochs):
                figures, ends = Figures(), [*(cuts or []), lanes.steps]
                for first, last in zip([0, *ends], ends, strict=False):
                    figures = figures.plus(crew.work(Order(epoch, first, last, (0, epochs * lanes.steps, 1.0))))
                losses.append(figures.mean_loss)
        return digest(model), losses, model

    found = together(work, len(hosted))
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found


PLACES = [[(0, 1, 2, 3)], [(0, 1), (2, 3)], [(3, 1), (0, 2)], [(2,), (0,), (1, 3)]]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": optimizers.SGD(0.1), "dtype": "float64"},
        {"optimizer": optimizers.AdamW(schedules.OneCycle(0.01), weight_decay=0.01, average=0.9, clip_norm=1.0)},
        {"optimizer": "schedule_free_adamw"},
    ],
)
def test_results_do_not_depend_on_which_rank_hosts_which_lane(every, settings):
    def make():
        return network(**settings)

    found = [rank for hosted in PLACES for rank in trained(hosted, every, make, weights=WEIGHTS)]
    assert len({bits(model) for _, _, model in found}) == 1
    assert len({tuple(losses) for _, losses, _ in found}) == 1
    assert found[0][1][1] < found[0][1][0]


@pytest.mark.parametrize("every", [1, 3])
def test_results_do_not_depend_on_where_rounds_end(every):
    assert trained(PLACES[1], every)[0][:1] == trained(PLACES[1], every, cuts=[3, 12])[0][:1]


def test_one_lane_is_a_fit():
    model = network()
    history = model.fit(np.concatenate([X[r] for r in ROWS]), Y, epochs=2, batch_size=64)
    _, losses, other = trained([(0,)], 1)[0]
    assert bits(other) == bits(model)
    assert losses == history["loss"]


def plain():
    return Model([layers.Dense(16, "tanh"), layers.Dense(3)], loss="cross_entropy", optimizer=optimizers.SGD(1.0),
                 dtype="float64", random_state=0)  # fmt: skip


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_step_has_the_gradient_of_one_process(weights):
    """Of a batch of all samples: one step of SGD with rate 1."""
    before = plain().build(8)
    _, gradient = before.loss_and_grad(X, Y, weights)
    (_, losses, model), *_ = trained(PLACES[1], 1, plain, epochs=1, batch_size=len(X), weights=weights)
    np.testing.assert_allclose(model.params, before.params - gradient, rtol=0, atol=1e-13)
    np.testing.assert_allclose(losses[0], before.loss_and_grad(X, Y, weights)[0], rtol=1e-12)


def test_averages_are_weighted_means():
    """After one local step of SGD each: the mean of the lanes' parameters by their samples."""
    before = plain().build(8)
    (_, _, model), *_ = trained(PLACES[1], 2, plain, epochs=1, batch_size=len(X))
    lanes, mean = [np.concatenate([ROWS[p] for p in range(lane, 6, 4)]) for lane in range(4)], 0.0
    for rows in lanes:
        mean = mean + len(rows) * (before.params - before.loss_and_grad(X[rows], Y[rows])[1])
    np.testing.assert_allclose(model.params, mean / len(X), rtol=0, atol=1e-13)


@pytest.mark.parametrize("every", [1, 4])
def test_lanes_without_rows_left_wait_for_nobody(every):
    """One lane has a 24th of the samples, and none in the last batches."""

    def make():
        return Model([layers.Dense(3)], loss="cross_entropy", random_state=0)

    hosted = [(0, 1), (2, 3, 4, 5)]
    assert len({rank[0] for rank in trained(hosted, every, make, batch_size=7)}) == 1


def test_what_no_lane_changes_stays_bit_for_bit():
    def make():
        return Model([layers.Dense(16, "relu"), layers.Dense(3)], loss="cross_entropy", random_state=0)

    model = make().build(8)
    model.params = np.full(len(model.params), 0.1)
    model.mask = np.zeros(len(model.params))
    model.params[...] = 0.1  # where gradients are 0 nothing moves
    before = model.params.copy()
    assert (trained(PLACES[1], 3, model.copy)[0][2].params == before).all()


# ---------------------------------------------------------------- who works on what


def test_items_stay_where_they_lie():
    assert assigned([10, 10, 10, 10], ["a", "b", "b", "a"], ["a", "b"]) == ["a", "b", "b", "a"]
    assert assigned([10, 10, 10], ["a", "b", "b"], ["a", "b"]) == ["a", "b", "b"]
    assert assigned([10, 11, 10, 10], [["a", "b"], ["b"], ["b", "a"], ["a"]], ["a", "b"]).count("a") == 2


def test_items_move_where_much_is_to_be_gained():
    assert sorted(assigned([10] * 6, ["a"] * 6, ["a", "b", "c"])) == ["a", "a", "b", "b", "c", "c"]
    assert assigned([100, 1, 1], ["a", "a", "a"], ["a", "b"]) in (["a", "b", "b"], ["b", "a", "a"])
    assert assigned([5], [[]], ["a", "b"]) in (["a"], ["b"])


def test_lanes_share_batches_by_their_samples():
    lanes = Lanes.of([[0], [1, 2]], [100, 200, 100], 40)
    assert lanes == Lanes(((0,), (1, 2)), (100, 300), (10, 30), 10)
    assert Lanes.of([[0], [1]], [1000, 1], 10).batches == (10, 1)
    assert Lanes.of([[0]], [1003], 64)[2:] == ((64,), 16)


def test_fixed_lanes_have_the_same_partitions_everywhere():
    one = placed([10] * 7, [["a"]] * 7, ["a"], 10, 3)
    three = placed([10] * 7, [["a"], ["b"], ["c"], ["a"], ["b"], ["c"], ["a"]], ["a", "b", "c"], 10, 3)
    assert one.lanes == three.lanes
    assert one.lanes.parts == ((0, 3, 6), (1, 4), (2, 5))
    assert three[1:] == (("a", "b", "c"), ((0,), (1,), (2,)))
    by_place = placed([10] * 4, [["a"], ["b"], ["a"], ["b"]], ["a", "b"], 10)
    assert by_place.lanes.parts == ((0, 2), (1, 3))
    assert by_place.workers == ("a", "b")


# ---------------------------------------------------------------- what it costs


def test_bytes_of_a_sum():
    assert exchange_bytes(1000, 4) == 3000  # from everybody
    assert exchange_bytes(4 << 20, 4) == 2 * (4 << 20) * 3 / 4
    assert exchange_bytes(1000, 1) == 0
    fast = Machine(latency=0.0, bandwidth=1e9, message=0.0)
    assert exchange_seconds(1 << 20, 2, fast) == pytest.approx((1 << 20) / 1e9)


def test_averages_come_the_less_often_the_more_they_cost():
    small, large = Step(1e6, 10_000, 30_000), Step(5e9, 1_000_000, 3_000_000)
    assert large.sync_every(2) == 1
    assert small.sync_every(2) > 1
    assert small.sync_every(2, Machine(latency=1e-6, bandwidth=1e12, message=0.0)) == 1
    assert small.sync_every(100) == 64
    assert steps_of_round(small, 2, 16) % 16 == 0
    assert (
        Step.of(network().build(8), 10).n_averaged
        == 3 * network().build(8).layout.size + network().build(8).layout.state_size
    )
