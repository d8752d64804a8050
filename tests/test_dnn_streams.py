"""DNNClassifier and DNNRegressor on streams of blocks: arrays, frames, Arrow tables."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from fastdnn import DNNClassifier, DNNRegressor, layers

pa = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 4)).astype(np.float32)
LABELS = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
NUMBERS = X[:, 0] - 2 * X[:, 1]
NAMES = ["a", "b", "c", "d"]
SETTINGS = {"hidden_layer_sizes": (16,), "epochs": 3, "batch_size": 20, "random_state": 0}

MAKES = {
    "array": lambda x: x,
    "list": lambda x: x.tolist(),
    "pandas": lambda x: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x: pl.DataFrame(x, schema=NAMES),
    "arrow": lambda x: pa.table(dict(zip(NAMES, x.T, strict=True))),
    "csr": scipy.sparse.csr_array,
}


def blocks(make, y, size=130, **more):
    cut = range(0, 600, size)
    return [(make(X[lo : lo + size]), y[lo : lo + size], *(a[lo : lo + size] for a in more.values())) for lo in cut]


@pytest.mark.parametrize("kind", MAKES)
def test_a_classifier_on_blocks_of_any_kind(kind):
    make = MAKES[kind]
    on_array = DNNClassifier(shuffle=False, **SETTINGS).fit(
        make(X) if kind != "arrow" else pd.DataFrame(X, columns=NAMES), LABELS
    )
    clf = DNNClassifier(shuffle=False, **SETTINGS).fit(blocks(make, LABELS))
    assert np.array_equal(clf.model_.params, on_array.model_.params)
    assert clf.classes_.tolist() == ["maybe", "no", "yes"]
    assert clf.n_features_in_ == 4
    assert clf.n_epochs_ == 3
    if kind in ("pandas", "polars", "arrow"):
        assert clf.feature_names_in_.tolist() == NAMES
    assert np.array_equal(clf.predict_proba(make(X)), on_array.predict_proba(X if kind == "array" else MAKES["pandas"](X)
                          if hasattr(on_array, "feature_names_in_") else make(X)))  # fmt: skip
    assert np.array_equal(clf.predict(blocks(make, LABELS)), clf.predict(make(X)))
    assert np.array_equal(clf.predict_proba(blocks(make, LABELS)), clf.predict_proba(make(X)))


@pytest.mark.parametrize("y", [NUMBERS, np.stack([NUMBERS, X[:, 2]], axis=1)], ids=["one", "two"])
def test_a_regressor(y):
    on_array = DNNRegressor(shuffle=False, **SETTINGS).fit(X, y)
    reg = DNNRegressor(shuffle=False, **SETTINGS).fit(blocks(MAKES["array"], y))
    assert np.array_equal(reg.model_.params, on_array.model_.params)
    assert np.array_equal(reg.predict(blocks(MAKES["array"], y)), reg.predict(X))
    assert reg.predict(X).shape == y.shape


def test_multilabel_and_binary():
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    for y in (labels, labels[:, 0]):
        on_array = DNNClassifier(shuffle=False, **SETTINGS).fit(X, y)
        clf = DNNClassifier(shuffle=False, **SETTINGS).fit(blocks(MAKES["array"], y))
        assert np.array_equal(clf.model_.params, on_array.model_.params)
        assert np.array_equal(clf.predict(X), on_array.predict(X))


def test_sequences_with_labels_of_steps():
    ids = RNG.integers(1, 9, (600, 5))
    y = (ids > 4).astype(int)
    stack = [layers.Embedding(9, 3), layers.GRU(4, return_sequences=True)]
    settings = {**SETTINGS, "layers": stack, "shuffle": False}
    on_array = DNNClassifier(**settings).fit(ids, y)
    clf = DNNClassifier(**settings).fit([(ids[lo : lo + 100], y[lo : lo + 100]) for lo in range(0, 600, 100)])
    assert np.array_equal(clf.model_.params, on_array.model_.params)


@pytest.mark.parametrize("class_weight", ["balanced", {"no": 2.0, "yes": 1.0, "maybe": 0.5}])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weight_and_sample_weight(class_weight, weighted):
    weights = {"w": RNG.uniform(0.5, 2, 600)} if weighted else {}
    settings = {**SETTINGS, "shuffle": False, "class_weight": class_weight}
    on_array = DNNClassifier(**settings).fit(X, LABELS, weights.get("w"))
    clf = DNNClassifier(**settings).fit(blocks(MAKES["array"], LABELS, **weights))
    np.testing.assert_allclose(clf.model_.params, on_array.model_.params, atol=1e-6)


def test_validation_stops_early_and_scores():
    held = X[:100], LABELS[:100]
    clf = DNNClassifier(early_stopping=True, patience=2, scoring="roc_auc_ovr", **{**SETTINGS, "epochs": 40})
    clf.fit(blocks(MAKES["array"], LABELS), X_val=held[0], y_val=held[1])
    assert len(clf.history_["val_roc_auc_ovr"]) == clf.n_epochs_
    with pytest.raises(ValueError, match="a stream has no part to hold out"):
        clf.fit(blocks(MAKES["array"], LABELS))


def test_warm_start_goes_on():
    data = blocks(MAKES["array"], LABELS)
    clf = DNNClassifier(warm_start=True, **SETTINGS).fit(data)
    before = clf.model_.epochs
    clf.fit(data)
    assert clf.model_.epochs == before + 3
    with pytest.raises(ValueError, match="block 0: `y` has classes not in"):
        clf.fit([(X, np.full(600, "new"))])


def test_generators_need_their_classes():
    def read():
        yield from blocks(MAKES["array"], LABELS)

    settings = {**SETTINGS, "epochs": 1}
    with pytest.raises(ValueError, match="classes must be given for a generator"):
        DNNClassifier(**settings).fit(read())
    clf = DNNClassifier(**settings).fit(read(), classes=["yes", "no", "maybe"])
    assert np.array_equal(clf.model_.params, DNNClassifier(**settings).fit(read).model_.params)


WRONG = {
    "other columns": (lambda: pd.DataFrame(X[:50], columns=["a", "b", "x", "d"]), "block 2: .*feature names"),
    "fewer columns": (lambda: pd.DataFrame(X[:50, :3], columns=NAMES[:3]), "block 2: "),
    "strings": (lambda: pd.DataFrame({**dict.fromkeys(NAMES[:3], 1.0), "d": ["x"] * 50}), "block 2: could not convert"),
    "NaN": (lambda: pd.DataFrame(np.where(X[:50] > 1, np.nan, X[:50]), columns=NAMES), "block 2: Input X contains NaN"),
    "empty": (lambda: pd.DataFrame(X[:0], columns=NAMES), "block 2: Found array with 0 sample"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_block_names_it_and_changes_nothing(what):
    make, message = WRONG[what]
    data = blocks(MAKES["pandas"], LABELS, size=50)
    wrong = make()
    clf = DNNClassifier(shuffle=False, **SETTINGS).fit(data)
    before = clf.model_.params.copy()
    with pytest.raises(ValueError, match=message):
        clf.fit([*data[:2], (wrong, LABELS[: len(wrong)]), *data[2:]])
    assert np.array_equal(clf.model_.params, before)
    with pytest.raises(ValueError, match="sample_weight and groups cannot be given with a stream"):
        clf.fit(data, sample_weight=np.ones(600))


def test_arguments_of_streams_are_refused_for_arrays():
    with pytest.raises(ValueError, match="classes and shuffle_buffer are for streams"):
        DNNClassifier(**SETTINGS).fit(X, LABELS, classes=["no"])


def test_validation_with_a_stream():
    settings = {**SETTINGS, "early_stopping": True, "epochs": 5, "class_weight": {"no": 2.0, "yes": 1.0, "maybe": 0.5}}
    arrow, names = blocks(MAKES["arrow"], LABELS), list(reversed(NAMES))
    made = [DNNClassifier(**settings).fit(arrow, X_val=X_val, y_val=y_val) for X_val, y_val in ((arrow, None), (X, LABELS))]
    for key in ("val_loss", "val_accuracy"):
        np.testing.assert_allclose(made[0].history_[key], made[1].history_[key], rtol=1e-6)
    assert np.array_equal(made[0].model_.params, made[1].model_.params)
    with pytest.raises(ValueError, match=r"block 0: X has the columns .'d', 'c', 'b', 'a'., in the blocks before .'a', 'b'"):
        made[0].fit(arrow, X_val=[(table.select(names), y) for table, y in arrow])
    with pytest.raises(ValueError, match="scoring needs validation_data that are arrays"):
        DNNClassifier(**settings, scoring="accuracy").fit(arrow, X_val=arrow)
    with pytest.raises(ValueError, match="belong together"):
        made[0].fit(arrow, X_val=X)


def test_columns_of_arrow_tables_are_those_of_the_fit_before_and_of_frames():
    arrow = blocks(MAKES["arrow"], LABELS)
    turned = [(table.select(list(reversed(NAMES))), y) for table, y in arrow]
    clf = DNNClassifier(warm_start=True, **SETTINGS).fit(arrow)
    for data in (turned, [*blocks(MAKES["pandas"], LABELS)[:1], *turned[1:]]):
        with pytest.raises(ValueError, match=r"X has the columns .'d', 'c', 'b', 'a'., in the blocks before .'a', 'b'"):
            (clf if data is turned else DNNClassifier(shuffle=False, **SETTINGS)).fit(data)
