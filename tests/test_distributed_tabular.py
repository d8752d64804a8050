"""DaskTabularClassifier and DaskTabularRegressor: as on the table where that fits the sample, close to a stream where not."""

import gc

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("distributed")

import dask
import dask.array as da
import dask.dataframe as dd
from dask_clusters import cluster, eventually
from mixed_table import every_estimator, frame, labels, numbers
from sklearn.base import clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score

from fastdnn import TabularClassifier, TabularRegressor
from fastdnn.distributed import DaskDNNRegressor, DaskTabularClassifier, DaskTabularRegressor
from fastdnn.tabular import statistics

FAST = {"preset": "fast", "epochs": 4, "random_state": 0}
DASK = {TabularClassifier: DaskTabularClassifier, TabularRegressor: DaskTabularRegressor}


@pytest.fixture(scope="module")
def client():
    with cluster(2) as made:
        yield made


@pytest.fixture
def small_sample(monkeypatch):
    """Of more than 800 rows a sample is taken, and one in ten is held out."""
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 800)


def table(n, estimator, npartitions=4, **columns):
    """(pandas X, y, dask X, y), the dask ones of unknown sizes"""
    X, y = frame(n)
    X = X.assign(**columns)
    y = pd.Series(labels(y) if is_classifier(estimator()) else y, name="target")
    whole = dd.from_pandas(X.assign(target=y), npartitions=npartitions, sort=False)
    return X, y, whole[list(X.columns)], whole["target"]


def same(a, b, X):
    return np.array_equal(numbers(a, X), numbers(b, X))


# ---------------------------------------------------------------- few rows


@every_estimator
def test_of_few_rows_the_fit_is_that_of_the_table(client, estimator):
    X, y, x, target = table(400, estimator)
    weight = np.arange(400) % 5  # those of 0 are left out
    weights = dd.from_pandas(pd.Series(weight, name="weight"), npartitions=4, sort=False)
    model = DASK[estimator](**FAST).fit(x, target, weights)
    local = estimator(**FAST).fit(X, y, weight)
    assert same(model, local, X)
    np.testing.assert_array_equal(model.oof_predictions_, local.oof_predictions_)
    assert model.feature_names_in_.tolist() == list(X.columns)
    np.testing.assert_array_equal(model.feature_importances_, local.feature_importances_)
    assert type(model.to_local()) is estimator


def test_arrays(client):
    X = np.random.default_rng(0).standard_normal((300, 3))
    X[::7, 1] = np.nan
    y = np.stack([X[:, 0] * 2, X[:, 2]], axis=1)
    x = da.from_array(X, chunks=(90, 2))
    model = DaskTabularRegressor(**FAST).fit(x, da.from_array(y, chunks=(90, -1)))
    local = TabularRegressor(**FAST).fit(X, y)
    found = model.predict(x)
    assert found.chunks == ((90, 90, 90, 30), (2,))
    np.testing.assert_array_equal(found.compute(), local.predict(X))
    assert model.score(x, da.from_array(y, chunks=(90, -1))) == pytest.approx(local.score(X, y), abs=1e-12)


# ---------------------------------------------------------------- many rows


@every_estimator
def test_of_many_rows_the_score_is_that_of_the_stream(client, small_sample, estimator):
    X, y, x, target = table(4000, estimator)
    settings = FAST | {"epochs": 12}
    model = DASK[estimator](**settings, lanes=2).fit(x, target)
    blocks = [(X[lo : lo + 1000], y[lo : lo + 1000]) for lo in range(0, 4000, 1000)]
    stream = estimator(**settings).fit(blocks)
    assert model.score(X, y) == pytest.approx(stream.score(X, y), abs=0.005)
    assert model.score(X, y) > 0.9
    assert len(model._held[2]) == len(stream._held[2]) == 400
    np.testing.assert_array_equal(model._held[0], stream._held[0])  # the same rows are held out,
    np.testing.assert_array_equal(model._matrix(X), stream._matrix(X))  # and medians are those of the same sample


def test_lazy_predictions_and_scores(client, small_sample):
    X, y, x, target = table(1600, TabularClassifier)
    clf = DaskTabularClassifier(**FAST, lanes=2).fit(x, target)
    local, few = clf.to_local(), x[x["noise"] > 2.5]  # some partitions may be empty
    assert type(local) is TabularClassifier
    for method in ("predict", "predict_proba", "predict_log_proba"):
        lazily = getattr(clf, method)(x)
        assert isinstance(lazily, (dd.DataFrame, dd.Series))
        here = getattr(local, method)(X)
        np.testing.assert_array_equal(np.asarray(lazily.compute()), here)
        np.testing.assert_array_equal(getattr(clf, method)(X), here)
        np.testing.assert_array_equal(np.asarray(getattr(clf, method)(few).compute()), here[X["noise"] > 2.5])
    assert list(clf.predict_proba(x).columns) == ["high", "low"]
    assert clf.score(x, target) == pytest.approx(accuracy_score(y, local.predict(X)), abs=1e-15)
    assert clf.score(X, y) == local.score(X, y)


def test_quantiles(client, small_sample):
    X, y, x, target = table(1600, TabularRegressor)
    model = DaskTabularRegressor(**FAST, quantiles=(0.1, 0.5, 0.9), lanes=2).fit(x, target)
    found = model.predict(x).compute().to_numpy()
    np.testing.assert_array_equal(found, model.to_local().predict(X))
    assert (np.diff(found, axis=1) >= 0).all()
    assert model.score(x, target) == pytest.approx(r2_score(y, found[:, 1]), abs=1e-12)


def test_label_indicators(client, small_sample):
    X = np.random.default_rng(0).standard_normal((1600, 4))
    y = (X[:, :2] > 0).astype(int)
    x, target = da.from_array(X, chunks=(400, -1)), da.from_array(y, chunks=(400, -1))
    clf = DaskTabularClassifier(**FAST, lanes=2, time_limit=60).fit(x, target)
    np.testing.assert_array_equal(clf.predict(x).compute(), clf.to_local().predict(X))
    assert clf.score(x, target) == pytest.approx(clf.to_local().score(X, y), abs=1e-12)
    assert clf.score(x, target) > 0.9


@every_estimator
def test_same_bits_wherever_partitions_lie(client, small_sample, estimator):
    X, _, x, target = table(1600, estimator)
    found = [DASK[estimator](**FAST, lanes=2).fit(x, target, client=client)]
    on_one = client.persist([x, target], workers=[sorted(client.nthreads())[0]])
    found.append(DASK[estimator](**FAST, lanes=2).fit(*on_one, client=client))
    with cluster(1) as alone:
        found.append(DASK[estimator](**FAST, lanes=2).fit(x, target, client=alone))
    assert same(found[0], found[1], X)
    assert same(found[0], found[2], X)
    assert len({model.validation_score_ for model in found}) == 1


def test_categories_of_one_partition_and_partitions_without_rows(client, small_sample):
    late = np.where(np.arange(2000) >= 1500, np.where(np.arange(2000) % 2, "b", "c"), "a")
    X, y, x, _ = table(2000, TabularRegressor, late=late, kind=pd.Categorical(late))
    y = y + 5 * (late == "b")
    target = dd.from_pandas(pd.Series(y, name="target"), npartitions=4, sort=False)
    kept = np.arange(2000) // 500 != 1  # all of the second partition go
    x = x.assign(number=dd.from_pandas(pd.Series(kept, name="kept"), npartitions=4, sort=False))
    target, x = target[x["number"]], x[x["number"]].drop(columns="number")
    model = DaskTabularRegressor(**FAST | {"epochs": 12}, lanes=4, sync_every=1).fit(x, target)
    assert model._reader.categories_[-2:] == [["a", "b", "c"]] * 2
    p = model.predict(X)[1500:]
    assert p[late[1500:] == "b"].mean() - p[late[1500:] == "c"].mean() == pytest.approx(5, abs=0.2)


def test_weights_of_rows_and_classes(client, small_sample):
    X, y, x, target = table(2000, TabularClassifier)
    weight = np.where(np.arange(2000) < 500, 0.0, 1.0 + np.arange(2000) % 3)  # no row of the first partition counts
    weights = dd.from_pandas(pd.Series(weight, name="weight"), npartitions=4, sort=False)
    settings = FAST | {"class_weight": {"high": 3.0, "low": 1.0}, "epochs": 8}
    clf = DaskTabularClassifier(**settings, lanes=2).fit(x, target, weights)
    blocks = [(X[lo : lo + 500], y[lo : lo + 500], weight[lo : lo + 500]) for lo in range(0, 2000, 500)]
    stream = TabularClassifier(**settings).fit(blocks)
    assert clf.score(x, target, weights) == pytest.approx(clf.to_local().score(X, y, weight), abs=1e-12)
    assert clf.predict_proba(X)[:, 0].mean() == pytest.approx(stream.predict_proba(X)[:, 0].mean(), abs=0.02)


@every_estimator
def test_a_frame_of_one_column_of_targets(client, small_sample, estimator):
    """Warnings are errors on these workers, too."""
    X, y, x, target = table(1600, estimator)
    weight = 1.0 + np.arange(1600) % 3
    weights = dd.from_pandas(pd.DataFrame({"weight": weight}), npartitions=4, sort=False)
    of_frame = DASK[estimator](**FAST, lanes=2).fit(x, target.to_frame(), weights)
    of_series = DASK[estimator](**FAST, lanes=2).fit(x, target, weights["weight"])
    of_array = DASK[estimator](**FAST, lanes=2).fit(
        x, da.from_array(np.asarray(y)[:, None], chunks=(400, 1)), da.from_array(weight, chunks=400)
    )
    assert same(of_frame, of_series, X)
    assert same(of_array, of_series, X)
    assert of_frame.score(x, target.to_frame()) == of_series.score(x, target)


def test_predicted_labels_have_the_type_that_is_announced(client):
    _, _, x, target = table(400, TabularClassifier)
    found = DaskTabularClassifier(**FAST).fit(x, target).predict(x)
    assert found.dtype == found.compute().dtype
    none = found.partitions[0][found.partitions[0] == "neither"]
    assert none.compute().dtype == found.dtype
    empty = DaskTabularClassifier(**FAST).fit(x, target).predict(x[x["noise"] > 99])
    assert empty.compute().dtype == empty.dtype == found.dtype


def test_workers_keep_nothing_of_networks_that_are_done(client, small_sample):
    """Rows of one network go before those of the next are made, and all of them at the end, without a garbage collection."""
    _, _, x, target = table(1600, TabularRegressor)
    scheduler, seen = client.cluster.scheduler, []

    def look(model, history):
        seen.append(sum(key.startswith("fastdnn_arrays") for key in scheduler.tasks if isinstance(key, str)))

    gc.collect()
    gc.disable()
    try:
        DaskTabularRegressor(**FAST | {"epochs": 1}, n_models=3, callbacks=look).fit(x, target)
        assert eventually(lambda: not scheduler.tasks)
    finally:
        gc.enable()
    assert seen == [4, 4, 4]


# ---------------------------------------------------------------- what is wrong


def changed(part, partition_info=None, number=2, **columns):
    return part.assign(**columns) if partition_info and partition_info["number"] == number else part


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"size": "large"}, "partition 2: column 'size' holds strings or categories, in the blocks before numbers"),
        ({"size": np.inf}, "partition 2 on worker .*'size'"),
        ({"more": 1.0}, "partition 2 on worker .*X must have the columns"),
    ],
)
def test_a_partition_is_named(client, columns, text):
    _, _, x, target = table(400, TabularRegressor)
    wrong = x.map_partitions(changed, meta=x._meta, enforce_metadata=False, **columns)
    model = DaskTabularRegressor(**FAST)
    with pytest.raises(ValueError, match=text):
        model.fit(wrong, target)
    assert not hasattr(model, "ensemble_")


@pytest.mark.parametrize(
    ("settings", "change", "text"),
    [
        ({}, lambda x, y: (x.compute(), y), "X must be a dask array or frame, got DataFrame; TabularClassifier takes tables"),
        ({}, lambda x, y: (x, y.compute()), "y must be a dask array"),
        ({}, lambda x, y: (x, x["size"]), "partition 0 on worker .*"),
        ({"lanes": 9}, lambda x, y: (x, y), "lanes must be at most the number of partitions, 4"),
        ({"sync_every": 0}, lambda x, y: (x, y), "sync_every"),
        ({}, lambda x, y: (x[x["noise"] > 99], y[x["noise"] > 99]), "X must have at least one row"),
    ],
)
def test_bad_input(client, settings, change, text):
    _, _, x, target = table(400, TabularClassifier)
    with pytest.raises(ValueError, match=text):
        DaskTabularClassifier(**FAST | settings).fit(*change(x, target))


@every_estimator
def test_parameters(estimator):
    made = DASK[estimator](lanes=3, epochs=2)
    assert clone(made).get_params() == made.get_params()
    assert set(made.get_params()) - set(estimator().get_params()) == {"lanes", "sync_every"}
    rest = {name: value for name, value in made.get_params().items() if name not in ("lanes", "sync_every")}
    assert rest == estimator(epochs=2).get_params()


def test_predictions_of_two_estimators_of_the_same_rows(client):
    X = da.from_array(np.random.default_rng(0).standard_normal((100, 2)), chunks=(50, -1))
    found = [DaskDNNRegressor(epochs=1, random_state=seed).fit(X, X[:, 0]).predict(X) for seed in (0, 1)]
    assert np.abs(np.subtract(*dask.compute(*found))).max() > 0
