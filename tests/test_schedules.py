"""Every schedule, from the table: its formula at some steps, PyTorch's where it has it, and what it refuses."""

import itertools

import numpy as np
import pytest

from fastdnn import Model, layers, schedules
from fastdnn.optimizers import SGD
from fastdnn.schedules import SCHEDULES

STEPS = 40
CASES = [
    schedules.Constant(0.1),
    schedules.Step(0.1, every=7, factor=0.5),
    schedules.Exponential(0.1, 0.9),
    schedules.Exponential(0.1, 0.5, every=10),
    schedules.Polynomial(0.1, end=0.01, power=2.0),
    schedules.Polynomial(0.1, total=20),
    schedules.InverseScaling(0.1),
    schedules.Cosine(0.1, end=0.01),
    schedules.Cosine(0.1, period=10),
    schedules.Cosine(0.1, period=5, growth=2.0),
    schedules.OneCycle(0.1),
    schedules.CosLog(0.1),
    schedules.CosLog(0.1, cycles=2, total=30),
    schedules.Warmup(schedules.Cosine(0.1), 5),
    schedules.ReduceOnPlateau(0.1),
]


def test_every_schedule_has_a_case():
    assert {type(s) for s in CASES} == set(SCHEDULES.values())


@pytest.mark.parametrize("schedule", CASES, ids=repr)
def test_rates_are_positive_and_no_higher_than_the_rate(schedule):
    rates = schedule.rates(np.arange(STEPS), STEPS)
    assert rates.shape == (STEPS,)
    assert (rates >= 0).all()
    assert rates.max() <= schedule.rate * (1 + 1e-12)
    np.testing.assert_allclose(np.concatenate([schedule.rates(np.arange(k, k + 1), STEPS) for k in range(STEPS)]), rates)
    assert eval(repr(schedule), vars(schedules)) == schedule


def torch_rates(torch, make, steps=STEPS):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "name", "settings"),
    [
        (schedules.Step(0.1, every=7, factor=0.5), "StepLR", {"step_size": 7, "gamma": 0.5}),
        (schedules.Exponential(0.1, 0.9), "ExponentialLR", {"gamma": 0.9}),
        (schedules.Polynomial(0.1, power=2.0, total=20), "PolynomialLR", {"total_iters": 20, "power": 2.0}),
        (schedules.Cosine(0.1, end=0.01), "CosineAnnealingLR", {"T_max": STEPS, "eta_min": 0.01}),
        (schedules.Cosine(0.1, period=5, growth=2.0), "CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}),
        (schedules.Cosine(0.1, period=10), "CosineAnnealingWarmRestarts", {"T_0": 10}),
    ],
    ids=repr,
)
def test_same_as_pytorch(schedule, name, settings):
    torch = pytest.importorskip("torch")
    expected = torch_rates(torch, lambda o: getattr(torch.optim.lr_scheduler, name)(o, **settings))
    np.testing.assert_allclose(schedule.rates(np.arange(STEPS), STEPS), expected, rtol=1e-9, atol=1e-12)


def test_one_cycle_as_in_pytorch():
    torch = pytest.importorskip("torch")

    def make(o):
        return torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=41, pct_start=0.3, final_div_factor=4000)

    expected = torch_rates(torch, make)
    ours = schedules.OneCycle(0.1, rise=0.3 - 1 / 40 * 0.0, total=41).rates(np.arange(STEPS), None)
    # PyTorch turns one step earlier (its first phase ends at pct_start * total - 1).
    assert np.abs(np.subtract(ours, expected)).max() < 0.01
    assert ours[0] == pytest.approx(expected[0])


def test_the_waves_of_cos_log_double_and_end_in_valleys():
    schedule = schedules.CosLog(0.1)
    np.testing.assert_allclose(schedule.valleys, [1 / 15, 3 / 15, 7 / 15, 1])
    ends = [0, *(15 * 20 * part for part in schedule.valleys)]
    np.testing.assert_allclose(schedule.rates(np.array(ends), 300), 0, atol=1e-12)
    for start, end in itertools.pairwise(map(round, ends)):
        rates = schedule.rates(np.arange(start, end + 1), 300)
        top = rates.argmax()
        assert rates[top] > 0.099
        assert (np.diff(rates[: top + 1]) > 0).all()
        assert (np.diff(rates[top:]) < 0).all()
    np.testing.assert_array_equal(schedules.CosLog(0.1, total=30).rates(np.arange(30, 50), 99), 0)


def test_a_schedule_knows_the_steps_of_a_fit():
    seen = []

    class Watched(schedules.Cosine):
        """Cosine that notes what it is asked."""

        def rates(self, steps, total):
            seen.append((int(steps[0]), total))
            return super().rates(steps, total)

    model = Model([layers.Dense(1)], optimizer=SGD(Watched(0.1)), random_state=0)
    X = np.random.default_rng(0).standard_normal((50, 3))
    model.fit(X, X[:, 0], epochs=3, batch_size=20)
    assert {total for _, total in seen} == {9}
    assert [step for step, _ in seen] == sorted(step for step, _ in seen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.Constant(0), "learning_rate must be a number in"),
        (lambda: schedules.Step(0.1, every=0), "every must be an integer >= 1"),
        (lambda: schedules.Exponential(0.1, 1.5), "factor must be a number in"),
        (lambda: schedules.OneCycle(0.1, rise=1.0), "rise must be a number"),
        (lambda: schedules.CosLog(0.1, cycles=0), "cycles must be an integer >= 1"),
        (lambda: schedules.CosLog(0.1, cycles=51), "cycles must be an integer from 1 to 50, got 51"),
        (lambda: schedules.CosLog(0.1).rates(np.arange(3), None), "needs the number of steps"),
        (lambda: schedules.Polynomial(0.1).rates(np.arange(3), None), "needs the number of steps"),
        (lambda: schedules.Cosine(0.1).rates(np.arange(3), None), "needs a period"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
