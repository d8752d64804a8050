"""Forms of samples: arrays of any strides, several dimensions, lists, sparse matrices, sound or not."""

import numpy as np
import pytest
import scipy.sparse
from test_model import data, network

import fastdnn
from fastdnn import Model, layers


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
