"""scikit-learn's pipelines with estimators of fastdnn in them as ONNX models, by the converters of skl2onnx."""

import onnx
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted

from ..estimators import (
    Autoencoder,
    DNNClassifier,
    DNNRegressor,
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
    VariationalAutoencoder,
)
from .graph import LEAST_OPSET, ML, ML_OPSET, check_opset
from .nested import nested

CLASSIFIERS = MLPClassifier, DNNClassifier, TabularClassifier
WITH_TRANSFORM = DNNClassifier, DNNRegressor
ALL = (*CLASSIFIERS, MLPRegressor, DNNRegressor, TabularRegressor, Autoencoder, VariationalAutoencoder)
OF_CLASSIFIERS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register_converters():
    """Tell skl2onnx of fastdnn's estimators, so that its `to_onnx` takes what they are in.

    Classifiers have skl2onnx's options "zipmap", "nocl" and "output_class_labels", `DNNClassifier` also "raw_scores" (what
    `decision_function` gives; of two classes -s and s). `DNNClassifier` and `DNNRegressor` have "transform": whether their
    `transform` is what a pipeline or a union uses, ``options={id(net): {"transform": True}}``; `pipeline_to_onnx` sets it.
    scikit-learn's `TransformedTargetRegressor` is registered, too, with a scaler or with functions of NumPy.
    To call it twice changes nothing.

    Raises
    ------
    ImportError
        Without skl2onnx.

    Examples
    --------
    >>> import skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastdnn import MLPClassifier
    >>> from fastdnn.onnx import register_converters
    >>> register_converters()
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0)).fit(X, y)
    >>> exported = skl2onnx.to_onnx(model, X[:1].astype("float32"), target_opset=17)
    >>> [output.name for output in exported.graph.output]
    ['output_label', 'output_probability']
    """
    from . import target_scaling
    from .converting import alias, convert, parse, shapes, update_registered_converter

    for cls in ALL:
        options = dict(OF_CLASSIFIERS) if cls in CLASSIFIERS else {}
        if hasattr(cls, "decision_function"):
            options["raw_scores"] = [True, False]
        if cls in WITH_TRANSFORM:
            options["transform"] = [True, False]
        parser = parse if cls is DNNClassifier else None
        update_registered_converter(cls, alias(cls), shapes, convert, parser=parser, options=options)
    scaled = TransformedTargetRegressor
    update_registered_converter(scaled, alias(scaled), target_scaling.shapes, target_scaling.convert)


def pipeline_to_onnx(model, target_opset=LEAST_OPSET, X=None, zipmap=False, initial_types=None, options=None):
    """A scikit-learn estimator with estimators of fastdnn in it, a pipeline, a search, an ensemble, as an ONNX model.

    Parameters
    ----------
    model : estimator
        Fitted.
    target_opset : int, default=17
        Version of ONNX's operators, up to the newest one that skl2onnx knows.
    X : table or array, or None
        Some samples as `predict` takes them, which say what the inputs are. Each column of a frame is an input of its name
        (with a digit behind it where an output has that name), of shape (n, 1): strings and categories str, booleans and
        integers int64 (float64 if there are gaps), floats in their type. An array is the input "X", and so is what there is
        without X: numbers (n, features) of the float type of fastdnn's networks.
    zipmap : bool or "columns", default=False
        As in `estimator_to_onnx`.
    initial_types : list of tuple (name, type), default=None
        Inputs as skl2onnx takes them, in place of X.
    options : dict, default=None
        Further options of skl2onnx's converters.

    Returns
    -------
    onnx.ModelProto
        Its outputs are skl2onnx's: "label" and "probabilities" of classifiers ("output_label" and "output_probability" with
        zipmap), "variable" of others.

    Raises
    ------
    ValueError
        If X is needed, or has a column that is no input of ONNX, or if probabilities are calibrated with "isotonic".
    ImportError
        Without skl2onnx.

    Notes
    -----
    skl2onnx's nodes compute in the type of their inputs: only where these are float64 are scores those of scikit-learn, which
    scales and encodes in float64, to 1e-5; float32 loses digits of numbers that are large beside their spread.
    """
    from . import imputer, scalers
    from .converting import convert_sklearn, get_latest_tested_opset_version
    from .pipeline_inputs import as_one, inputs_of, name_inputs, take_columns, usual_input

    check_is_fitted(model)
    register_converters()
    options, parts = dict(options or {}), list(nested(model))
    if any(isinstance(part, CalibratedClassifierCV) and part.method == "isotonic" for part, _ in parts):
        raise ValueError(
            "a CalibratedClassifierCV must have method='sigmoid' for ONNX, got 'isotonic': skl2onnx takes the nearest "
            "probability that is known where scikit-learn interpolates"
        )
    if is_classifier(model):
        options[id(model)] = {"zipmap": zipmap} | options.get(id(model), {})
    for part, transforms in parts:
        if transforms and isinstance(part, WITH_TRANSFORM):
            options[id(part)] = {"transform": True} | options.get(id(part), {})
    if initial_types is None:
        ours = [part for part, _ in parts if isinstance(part, ALL) and hasattr(part, "n_features_in_")]
        initial_types = usual_input(model, ours) if X is None else inputs_of(X)
    apart = any(isinstance(part, ColumnTransformer) for part, _ in parts)
    together = None if apart or X is None else as_one(initial_types)
    newest = get_latest_tested_opset_version()
    if check_opset(target_opset) > newest:
        raise ValueError(f"target_opset must be {LEAST_OPSET} to {newest}, which skl2onnx knows, got {target_opset}")
    exported = convert_sklearn(
        model, type(model).__name__, together or initial_types, options=options,
        target_opset={"": target_opset, ML: ML_OPSET},
        custom_conversion_functions={SimpleImputer: imputer.impute} | dict.fromkeys(scalers.SCALERS, scalers.scale),
        custom_shape_calculators={SimpleImputer: imputer.shapes},
    )  # fmt: skip
    if any(holds_doubles(output) for output in exported.graph.output):
        raise ValueError("zipmap must be False or 'columns' where inputs are float64: dictionaries of ONNX hold float32")
    if together:
        take_columns(exported.graph, initial_types)
    else:
        name_inputs(exported.graph, [name for name, _ in initial_types])
    onnx.checker.check_model(exported, full_check=True)
    return exported


def holds_doubles(output):
    """Whether an output is of dictionaries of float64, which skl2onnx writes down, but ONNX does not have."""
    value = output.type.sequence_type.elem_type.map_type.value_type
    return value.tensor_type.elem_type == onnx.TensorProto.DOUBLE
