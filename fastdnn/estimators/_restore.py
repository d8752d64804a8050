"""A failing fit changes nothing."""

import contextlib

OF_CALLBACKS = "_callback_fit_ctx", "_skl_callbacks_to_teardown"  # what scikit-learn needs to end its callbacks


def put_back(estimator, attributes):
    """Make the attributes of an estimator those of a dict taken before, but for what belongs to the call under way."""
    kept = {name: estimator.__dict__[name] for name in OF_CALLBACKS if name in estimator.__dict__}
    estimator.__dict__.clear()
    estimator.__dict__.update(attributes | kept)


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """A block after an error in which the attributes of the estimator are what they were before."""
    before = dict(estimator.__dict__)
    try:
        yield
    except Exception:
        put_back(estimator, before)
        raise
