"""Forms of samples: arrays of any strides, several dimensions, lists, sparse matrices, sound or not."""

import numpy as np
import pytest
import scipy.sparse
from test_model import data, network

import fastdnn
from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, Model, layers


def test_forms_of_input_give_the_same_bits():
    X, y = data(80, 10)
    X[X < -1] = 0
    wide = np.zeros((160, 20))
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    forms = {
        "list": X.tolist(),
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read_only": read_only,
        "big_endian": X.astype(">f8"),
        "csr": scipy.sparse.csr_matrix(X),
        "csc": scipy.sparse.csc_array(X),
        "coo": scipy.sparse.coo_matrix(X),
    }
    reference = network(features=10)
    reference.fit(X, y, epochs=2, batch_size=11)
    for name, form in forms.items():
        model = network(features=10)
        model.fit(form, y, epochs=2, batch_size=11)
        np.testing.assert_array_equal(model.params, reference.params, err_msg=name)
        np.testing.assert_array_equal(model.predict(form), reference.predict(X), err_msg=name)


def test_samples_of_several_dimensions_are_those_of_one():
    X, y = data(features=12)
    images = X.reshape(-1, 3, 4)
    flat, deep = (
        network(features=12),
        Model([layers.Flatten(), *network().layers], "cross_entropy", dtype="float64", random_state=0),
    )
    for model, samples in ((flat, X), (deep, images)):
        model.fit(samples, y, epochs=2, batch_size=8)
    np.testing.assert_array_equal(flat.params, deep.params)
    np.testing.assert_array_equal(flat.predict(X), deep.predict(images))
    images[3, 2, 3] = np.nan  # the last number of a sample
    assert np.isnan(deep.predict(images)[3]).all()


def test_csr_entries_given_twice_add_up():
    X = scipy.sparse.csr_matrix((np.array([1.0, 2.0, 4.0]), np.array([2, 2, 0]), np.array([0, 2, 3])), shape=(2, 3))
    model = network(features=3)
    np.testing.assert_array_equal(model.forward(X), model.forward([[0.0, 0.0, 3.0], [4.0, 0.0, 0.0]]))


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("index", [-1, 3, 2**31, -(2**40)])
def test_a_sparse_index_out_of_range_is_an_error(index, form):
    for estimator in (network(features=3), fastdnn.MLPClassifier(max_iter=1, early_stopping=True)):
        X = scipy.sparse.eye_array(3, format=form)
        X.indices = np.array([0, 1, index], np.int64)
        with pytest.raises(ValueError, match=f"valid {form.upper()} matrix: .* indices must be 0 to 2"):
            estimator.fit(X, [0, 1, 0])
        X.indices, X.indptr = np.array([0, 1, 2]), np.array([0, 1, 2, 50])
        with pytest.raises(ValueError, match="indptr"):
            estimator.fit(X, [0, 1, 0])


def test_sparse_matrices_of_other_formats():
    model, dense = network(features=4), np.arange(24).reshape(6, 4) % 5 * 1.0
    for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
        np.testing.assert_array_equal(model.predict(scipy.sparse.csr_array(dense).asformat(form)), model.predict(dense))
    blocks = scipy.sparse.bsr_array((np.ones((2, 1, 1)), [0, 10**8], [0, 1, 2]), shape=(2, 4))
    with pytest.raises(ValueError, match="valid BSR matrix: column indices must be 0 to 3"):
        model.predict(blocks)
    triples = scipy.sparse.coo_array(dense)
    triples.coords = (triples.coords[0], np.full(len(triples.data), 10**8))
    with pytest.raises(ValueError, match="valid COO matrix: column indices"):
        model.predict(triples)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(80, 1e307), "finite sum.*got the sum inf"),
        (np.r_[np.full(79, 1.0), 1e-310], "no weight below"),
        (np.full(80, 5e-324), "no weight below"),
    ],
)
@pytest.mark.parametrize("estimator", [DNNRegressor, MLPRegressor, None])
def test_weights_whose_sum_is_no_number_are_refused(weights, message, estimator):
    """The mean over them would be 0 or NaN, whatever the losses."""
    X, y = data(80, 10)
    y = y.astype(float)
    if estimator is not None:
        with pytest.raises(ValueError, match=message):
            estimator(hidden_layer_sizes=(3,)).fit(X, y, sample_weight=weights)
        return
    model = network((), 1, "squared_error", features=10)
    for call in (
        lambda: model.fit(X, y, sample_weight=weights),
        lambda: model.fit(X, y, validation_data=(X, y, weights)),
        lambda: model.evaluate(X, y, weights),
        lambda: model.loss_and_grad(X, y, weights),
    ):
        with pytest.raises(ValueError, match=message):
            call()
        model.build(10)


def test_class_weights_that_overflow_with_the_sample_weights_are_refused():
    X, y = data(80, 10)
    with np.errstate(over="ignore"):
        for call in (
            lambda: network(features=10).fit(X, y, class_weight={0: 1e200, 1: 1.0, 2: 1.0}, sample_weight=np.full(80, 1e200)),
            lambda: network(features=10).fit(X, y, class_weight={0: 1e307, 1: 1e307, 2: 1e307}),
            lambda: MLPClassifier(class_weight={0: 1e307, 1: 1e307, 2: 1e307}).fit(X, y),
            lambda: DNNClassifier(class_weight={0: 1e307, 1: 1e307, 2: 1e307}).fit(X, y),
        ):
            with pytest.raises(ValueError, match="finite"):
                call()


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_weights_count_relative_to_each_other(scale):
    X, y = data(80, 10)
    weights = np.random.default_rng(0).uniform(0, 1, 80)
    one, other = network(features=10), network(features=10)
    losses = one.fit(X, y, sample_weight=weights, epochs=3)["loss"]
    np.testing.assert_allclose(other.fit(X, y, sample_weight=weights * scale, epochs=3)["loss"], losses, rtol=1e-9)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-9, atol=1e-12)
