"""Estimators that stand in others: in pipelines, unions, ensembles, searches."""

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline


def nested(model, transforms=False):
    """(estimator, whether its `transform` is what is used) of a model and of all that it consists of, unfitted ones, too."""
    yield model, transforms
    if isinstance(model, Pipeline):
        steps = [step for _, step in model.steps]
        parts = [(step, True) for step in steps[:-1]] + [(steps[-1], transforms)]
    elif isinstance(model, ColumnTransformer):  # what a search was given is not fitted
        parts = [(part[1], True) for part in getattr(model, "transformers_", model.transformers)]
    elif isinstance(model, FeatureUnion):
        parts = [(part[1], True) for part in model.transformer_list]
    else:
        parts = [(part, False) for part in contained(list(vars(model).values()))]
    for part, transforms_too in parts:
        if isinstance(part, BaseEstimator):
            yield from nested(part, transforms_too)


def contained(value):
    """Estimators in a list, a tuple, a dict, or an object of scikit-learn's that is no estimator itself."""
    if isinstance(value, BaseEstimator):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif type(value).__module__.startswith("sklearn.calibration"):  # the classifiers of a CalibratedClassifierCV
        value = vars(value).values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [part for each in value for part in contained(each)]
