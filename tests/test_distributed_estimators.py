"""DaskDNNClassifier and DaskDNNRegressor; estimators in tasks of Dask take one core each."""

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

pytest.importorskip("distributed")

import dask
import dask.array as da
import dask.dataframe as dd
from dask_clusters import CHUNKS, WEIGHTS, X, Y, cluster, samples
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV

import fastdnn
from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, TabularClassifier
from fastdnn.distributed import DaskDNNClassifier, DaskDNNRegressor

LABELS = np.array(["no", "perhaps", "yes"])[Y]
NUMBERS = X[:, 0] * 2 + X[:, 1]
NAMES = [f"c{i}" for i in range(8)]


@pytest.fixture(scope="module")
def client():
    with cluster(2) as made:
        yield made


def frame(npartitions=5):
    made = pd.DataFrame(X, columns=NAMES).assign(label=LABELS, number=NUMBERS)
    return dd.from_pandas(made, npartitions=npartitions)


def of(y):
    return da.from_array(y, chunks=(CHUNKS, *y.shape[1:]))


def test_a_classifier_of_arrays(client):
    x, y = samples()[0], of(LABELS)
    clf = DaskDNNClassifier(epochs=15, random_state=0, batch_size=64, lanes=2).fit(x, y)
    assert clf.classes_.tolist() == ["no", "perhaps", "yes"]
    assert (clf.n_features_in_, clf.n_outputs_, clf.n_epochs_) == (8, 3, 15)
    predicted = clf.predict(x)
    assert isinstance(predicted, da.Array)
    assert predicted.chunks == (CHUNKS,)
    local = clf.to_local()
    assert type(local) is DNNClassifier
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform"):
        lazily, here = getattr(clf, method)(x), getattr(local, method)(X)
        assert lazily.shape == here.shape
        assert lazily.dtype == here.dtype
        assert (lazily.compute() == here).all()
        assert (getattr(clf, method)(X) == here).all()
    assert local.score(X, LABELS) > 0.85
    assert clf.score(x, y) == pytest.approx(accuracy_score(LABELS, local.predict(X)), abs=1e-15)
    assert clf.score(x, y, of(WEIGHTS)) == pytest.approx(local.score(X, LABELS, WEIGHTS), abs=1e-12)
    assert clf.score(X, LABELS) == local.score(X, LABELS)


def test_what_predicts_has_no_memory_of_the_optimizer(client):
    x, y = samples()
    clf = DaskDNNClassifier(epochs=1, hidden_layer_sizes=(300, 300), random_state=0).fit(x, y)
    graph = dict(clf.predict(x).__dask_graph__())
    assert 1.0 < len(cloudpickle.dumps(graph)) / clf.model_.params.nbytes < 1.5
    assert clf.model_.moments.any()
    assert clf.to_local().model_.moments.any()


@pytest.mark.parametrize("as_frame", [False, True])
def test_predictions_of_two_estimators_are_their_own(client, as_frame):
    """What is computed together, or was computed before, is not taken for the other's."""
    x, y, here = (
        (frame()[NAMES], frame().label, pd.DataFrame(X, columns=NAMES)) if as_frame else (samples()[0], of(LABELS), X)
    )
    first, second = (DaskDNNClassifier(epochs=e, random_state=e, lanes=2).fit(x, y) for e in (1, 5))
    found = dask.compute(first.predict_proba(x), second.predict_proba(x))
    for clf, lazily in zip((first, second), found, strict=True):
        assert (np.asarray(lazily) == np.asarray(clf.predict_proba(here))).all()
    kept = first.predict_proba(x).persist()
    first.set_params(epochs=4).fit(x, y)
    assert (np.asarray(first.predict_proba(x).compute()) == np.asarray(first.predict_proba(here))).all()
    del kept


def test_sparse_samples(client):
    x, y = samples()
    found = []
    for given in (x, x.map_blocks(scipy.sparse.csr_matrix)):
        clf = DaskDNNClassifier(epochs=2, random_state=0, batch_size=64, lanes=2).fit(given, y)
        found.append(clf.predict_proba(X))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_frames_of_types_with_missing_values(client):
    made = frame()[NAMES].astype(dict.fromkeys(NAMES, "Float32"))
    y, settings = frame().label, {"epochs": 2, "random_state": 0, "lanes": 1}
    clf, plain = DaskDNNClassifier(**settings).fit(made, y), DaskDNNClassifier(**settings).fit(frame()[NAMES], y)
    found = dask.compute(clf.predict_proba(made), plain.predict_proba(frame()[NAMES]))
    assert (found[0].to_numpy() == found[1].to_numpy()).all()
    missing = made.assign(c0=made.c0.mask(made.c0 > 2))
    with pytest.raises(ValueError, match=r"partition . on worker .*NaN"):
        DaskDNNClassifier(epochs=1).fit(missing, y)


def test_one_lane_is_the_local_classifier(client):
    settings = {"epochs": 3, "batch_size": 64, "random_state": 0, "class_weight": "balanced"}
    clf = DaskDNNClassifier(**settings, lanes=1).fit(samples()[0], of(LABELS), of(WEIGHTS))
    local = DNNClassifier(**settings).fit(X, LABELS, WEIGHTS)
    np.testing.assert_allclose(clf.predict_proba(X), local.predict_proba(X), atol=1e-5)


def test_parameters(client):
    clf = DaskDNNClassifier(epochs=3, lanes=2, hidden_layer_sizes=(5,))
    assert clone(clf).get_params() == clf.get_params()
    assert clf.get_params()["lanes"] == 2
    assert clf.set_params(sync_every=4).sync_every == 4
    assert set(clf.get_params()) - set(DNNClassifier().get_params()) == {"lanes", "sync_every"}
    assert set(DaskDNNRegressor().get_params()) - set(DNNRegressor().get_params()) == {"lanes", "sync_every"}
    with pytest.raises(ValueError, match="sync_every"):
        DaskDNNClassifier(sync_every=0).fit(samples()[0], of(LABELS))


def test_two_classes_and_a_regressor_of_frames(client):
    given, x = frame(), frame()[NAMES]
    clf = DaskDNNClassifier(epochs=10, random_state=0, batch_size=64).fit(x, given.label == "yes")
    assert clf.feature_names_in_.tolist() == NAMES
    found = clf.predict_proba(x)
    assert list(found.columns) == [False, True]
    np.testing.assert_array_equal(found.compute().to_numpy(), clf.to_local().predict_proba(pd.DataFrame(X, columns=NAMES)))
    assert clf.predict(x).compute().index.tolist() == list(range(len(X)))
    regr = DaskDNNRegressor(epochs=10, random_state=0, batch_size=64, early_stopping=True, scoring="r2")
    regr.fit(x, given.number, X_val=x, y_val=given.number)
    assert regr.history_["val_r2"][-1] > 0.9
    local = regr.to_local()
    assert type(local) is DNNRegressor
    assert regr.score(x, given.number) == pytest.approx(
        r2_score(NUMBERS, local.predict(pd.DataFrame(X, columns=NAMES))), abs=1e-6
    )


def test_several_outputs(client):
    y = np.stack([NUMBERS, X[:, 2]], axis=1)
    regr = DaskDNNRegressor(epochs=10, random_state=0, batch_size=64).fit(samples()[0], of(y))
    assert regr.predict(samples()[0]).compute().shape == y.shape
    assert regr.score(samples()[0], of(y)) == pytest.approx(r2_score(y, regr.to_local().predict(X)), abs=1e-6)
    labels = (y > 0).astype(int)
    clf = DaskDNNClassifier(epochs=10, random_state=0, batch_size=64).fit(samples()[0], of(labels))
    assert clf.predict(samples()[0]).compute().shape == labels.shape
    assert clf.score(samples()[0], of(labels)) == pytest.approx(clf.to_local().score(X, labels), abs=1e-12)


def test_classes_are_found_in_all_partitions(client):
    order = np.argsort(Y, kind="stable")
    x = da.from_array(X[order], chunks=(300, -1))
    clf = DaskDNNClassifier(epochs=1, random_state=0).fit(x, da.from_array(Y[order], chunks=300))
    assert clf.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "given", "text"),
    [
        ({}, {"X": X}, "X must be a dask array or frame, got ndarray; DNNClassifier takes arrays"),
        ({}, {"y": of(NUMBERS)}, "partition . on worker .*y must hold class labels"),
        ({"early_stopping": True}, {}, "give X_val and y_val"),
        ({"mixup": 0.2}, {}, "mixup must be 0.0"),
        ({}, {"y": of(np.where(Y, Y, np.nan))}, "partition . on worker .*y must hold class labels, got NaN"),
        ({}, {"X": samples()[0][:, 0]}, "X must have a row for each sample, got one dimension"),
        ({"lanes": 9}, {}, "lanes must be at most the number of partitions, 6"),
        ({}, {"X_val": X}, "X_val and y_val belong together"),
    ],
)
def test_bad_input(client, settings, given, text):
    clf = DaskDNNClassifier(epochs=1, **settings)
    with pytest.raises(ValueError, match=text):
        clf.fit(**{"X": samples()[0], "y": of(LABELS)} | given)
    assert not hasattr(clf, "model_")


def test_what_takes_arrays_says_so(client):
    x, y = samples()[0], of(LABELS)
    clf = DaskDNNClassifier(epochs=1).fit(x, y)
    with pytest.raises(ValueError, match="partial_fit takes arrays"):
        clf.partial_fit(x, y)
    assert clf.partial_fit(X, LABELS).model_.epochs == 2
    with pytest.raises(ValueError, match="sample_weight must not be all zero"):
        clf.score(x, y, of(WEIGHTS) * 0)


def test_the_client_is_missing():
    if not pytest.importorskip("distributed").client._global_clients:
        with pytest.raises(ValueError, match="there is no Dask client"):
            DaskDNNClassifier().fit(samples()[0], of(LABELS))


# ---------------------------------------------------------------- threads


def test_a_task_takes_one_core(client):
    assert client.submit(fastdnn.get_num_threads).result() == 1

    def told():
        with fastdnn.config_context(n_threads=2):
            return fastdnn.get_num_threads()

    assert client.submit(told).result() == 2
    assert fastdnn.get_num_threads() == fastdnn._threads.available_threads()


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (MLPClassifier(max_iter=5, random_state=0), {"hidden_layer_sizes": [(4,), (8,)]}),
        (DNNClassifier(epochs=5, random_state=0), {"hidden_layer_sizes": [(4,), (8,)]}),
        (TabularClassifier(preset="fast", random_state=0), {"epochs": [1, 2]}),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grid_search_on_dask(client, estimator, grid):
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise")
    with joblib.parallel_config("dask"):
        search.fit(X, LABELS)
    alone = clone(search).fit(X, LABELS)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
