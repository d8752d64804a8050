"""Estimators as scikit-learn's own MLPs, and those as ours."""

import copy
import inspect
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ..frozen.folding import parts_of
from ..layers import BatchNorm, Dense, Flatten, Rescaling, Scale
from ..optimizers import SGD, Adam
from ..schedules import get_schedule
from ._mlp_solver import SOLVERS, StochasticSolver

ACTIVATIONS = "identity", "logistic", "tanh", "relu"  # that scikit-learn has
LINKS = "identity", "exp", "logistic", "softmax"
OF_A_FIT = (  # attributes that mean the same in both
    "classes_", "n_features_in_", "feature_names_in_", "n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_", "loss_",
    "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "_label_binarizer", "_random_state",
    "_no_improvement_count",
)  # fmt: skip


def twin(estimator):
    """scikit-learn's class for the task of an estimator."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return MLPClassifier if is_classifier(estimator) else MLPRegressor


# ---------------------------------------------------------------- networks


class Chain(NamedTuple):
    """A network as scikit-learn has them."""

    coefs: list
    intercepts: list
    activation: str
    folded: bool  # whether other layers went into the weights


class Affine(NamedTuple):
    """x -> scale x + shift, number by number."""

    scale: Any
    shift: Any


def affine_of(part):
    """What a `Part` of a network does in inference as an `Affine`; None if it is something else."""
    layer, own = part.layer, part.arrays[-1]
    if type(layer) is Rescaling:
        return Affine(layer.scale, layer.offset)
    if type(layer) is Scale:
        return Affine(np.asarray(own["scale"], float), 0.0)
    if type(layer) is BatchNorm and layer.activation == "identity":
        gamma, beta, mean, var = (np.asarray(own[name], float) for name in ("gamma", "beta", "mean", "var"))
        scale = gamma / np.sqrt(var + layer.epsilon)
        return Affine(scale, beta - mean * scale)
    return None


def chain_of(model):
    """The `Chain` of a model; ValueError with the layer that scikit-learn cannot express."""
    if len(model.layout.shapes[0]) != 1:
        raise ValueError(f"scikit-learn's MLP takes vectors, this network samples of shape {model.layout.shapes[0]}")
    parts = parts_of(model.layers, "", dict(model.weights) | dict(model.states))
    dense, kernels, biases, pending = [], [], [], None
    for part in parts:
        affine = affine_of(part)
        if affine is not None:
            before = Affine(1.0, 0.0) if pending is None else pending
            pending = Affine(before.scale * affine.scale, before.shift * affine.scale + affine.shift)
        elif type(part.layer) is Dense:
            kernel, bias = part.kernel_and_bias
            if pending is not None:
                bias = bias + np.broadcast_to(pending.shift, len(kernel)) @ kernel
                kernel = np.broadcast_to(pending.scale, len(kernel))[:, None] * kernel
            pending = None
            dense.append(part.layer)
            kernels.append(kernel.astype(model.dtype))
            biases.append(bias.astype(model.dtype))
        elif type(part.layer) is not Flatten:
            raise ValueError(f"{part.layer!r} cannot be expressed by scikit-learn's MLP, which has dense layers alone")
    folded = any(type(la) in (BatchNorm, Rescaling, Scale) or getattr(la, "spectral_norm", False) for la in model.layers)
    return Chain(kernels, biases, activation_of(dense), folded)


def activation_of(dense):
    """The activation that all hidden layers have; ValueError unless it is one that scikit-learn has."""
    *hidden, last = dense
    for layer in hidden:
        if layer.activation not in ACTIVATIONS or layer.activation != hidden[0].activation:
            raise ValueError(
                f"{layer!r} cannot be expressed by scikit-learn's MLP, whose hidden layers all have the same activation, one "
                f"of {', '.join(map(repr, ACTIVATIONS))}"
            )
    if last.activation != "identity":
        raise ValueError(f"{last!r} cannot be expressed by scikit-learn's MLP, whose last layer has no activation of its own")
    return hidden[0].activation if hidden else "identity"


def moments_of(model):
    """The optimizer's memory, an array like `params` each, as lists of arrays: all kernels, then all biases (0 if none)."""
    found = []
    for flat in model.moments.reshape(max(1, model.optimizer.n_arrays), -1):
        views = model.layout.views(flat)
        kernels = {key.removesuffix("kernel"): views[key] for key in views if key.endswith(".kernel")}
        biases = [views.get(f"{key}bias", np.zeros(kernel.shape[1], kernel.dtype)) for key, kernel in kernels.items()]
        found.append([*kernels.values(), *biases])
    return found


# ---------------------------------------------------------------- to scikit-learn


def optimizer_of(model, made, solver, remembers):
    """scikit-learn's optimizer for an estimator of theirs.

    solver : the `StochasticSolver` of ours, if it has one
    remembers : whether the memory of the model's optimizer, if that is one of the same kind, is of these weights
    """
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    params, ours = made.coefs_ + made.intercepts_, model.optimizer
    carries = remembers and model.trained.moments is not None
    if made.solver == "adam":
        found = AdamOptimizer(params, made.learning_rate_init, made.beta_1, made.beta_2, made.epsilon)
        if carries and isinstance(ours, Adam):
            found.t, (found.ms, found.vs) = model.step, [[a.copy() for a in moment] for moment in moments_of(model)]
    else:
        schedule = made.learning_rate, made.momentum, made.nesterovs_momentum, made.power_t
        found = SGDOptimizer(params, made.learning_rate_init, *schedule)
        if carries and isinstance(ours, SGD):
            found.velocities = [a.copy() for a in moments_of(model)[0]]
    if solver is not None and solver.learning_rate is not None:
        found.learning_rate = solver.learning_rate
    return found


def settings_of_dnn(estimator, chain):
    """scikit-learn's parameters for a DNN* estimator."""
    model = estimator.model_
    optimizer, batch_size = model.optimizer, estimator.batch_size
    found = {
        "hidden_layer_sizes": tuple(len(b) for b in chain.intercepts[:-1]),
        "solver": "sgd" if isinstance(optimizer, SGD) else "adam",
        "alpha": optimizer.l2 * (200 if batch_size == "auto" else batch_size),
        "max_iter": estimator.epochs,
        "verbose": estimator.verbose not in (0, "log"),
    }
    if isinstance(optimizer, (SGD, Adam)):
        found["learning_rate_init"] = get_schedule(optimizer.learning_rate).rate
    if isinstance(optimizer, SGD):
        found |= {"momentum": optimizer.momentum, "nesterovs_momentum": optimizer.nesterov}
    elif isinstance(optimizer, Adam):
        found |= {name: getattr(optimizer, name) for name in ("beta_1", "beta_2", "epsilon")}
    return found | {name: getattr(estimator, name) for name in ("batch_size", "shuffle", "random_state", "warm_start")}


def attributes_of_dnn(estimator):
    """What a fit of a DNN* estimator has left, as scikit-learn's MLP calls it."""
    losses, model = list(estimator.history_["loss"]), estimator.model_
    batch_size = 200 if estimator.batch_size == "auto" else estimator.batch_size
    return {
        "n_iter_": estimator.n_epochs_, "t_": model.step * batch_size, "loss_": losses[-1], "loss_curve_": losses,
        "best_loss_": min(losses), "validation_scores_": None, "best_validation_score_": None, "_no_improvement_count": 0,
    }  # fmt: skip


def made_for_sklearn(estimator):
    """`ToSklearn.to_sklearn`."""
    model, cls = estimator._fitted_network(), twin(estimator)
    link = vars(estimator).get("out_activation_") or estimator._output_activation()
    if link not in LINKS:
        raise ValueError(f"{model.loss!r} cannot be expressed by scikit-learn's MLP, which has none of its kind")
    chain = chain_of(model)
    own, dnn = vars(estimator), hasattr(estimator, "model_")
    names = [name for name in inspect.signature(cls).parameters if hasattr(estimator, name)]
    settings = settings_of_dnn(estimator, chain) if dnn else {name: getattr(estimator, name) for name in names}
    settings |= {"activation": chain.activation} | ({} if is_classifier(estimator) else {"loss": loss_of(link)})
    if settings["solver"] not in ("lbfgs", "sgd", "adam"):
        settings["solver"] = "adam"
    made = cls(**copy.deepcopy(settings))
    attributes = {name: own[name] for name in OF_A_FIT if name in own} | (attributes_of_dnn(estimator) if dnn else {})
    vars(made).update(copy.deepcopy(attributes))
    made.coefs_, made.intercepts_ = chain.coefs, chain.intercepts
    made.n_layers_, made.out_activation_ = len(chain.coefs) + 1, link
    # scikit-learn's best weights are the trained ones from the second fit on.
    made._best_coefs, made._best_intercepts = made.coefs_, made.intercepts_
    if made.solver in SOLVERS and hasattr(made, "loss_curve_"):
        made._optimizer = optimizer_of(model, made, own.get("_optimizer"), not chain.folded)
    return made


def loss_of(link):
    return "poisson" if link == "exp" else "squared_error"


class ToSklearn:
    """Base of estimators that scikit-learn's MLP may express."""

    def to_sklearn(self) -> Any:
        """A fitted `sklearn.neural_network.MLPClassifier` or `MLPRegressor` that predicts the same.

        Returns
        -------
        estimator : MLPClassifier or MLPRegressor of scikit-learn
            With copies of the weights. Its `partial_fit`, and its `fit` with ``warm_start``, go on with them: with "adam" and
            "sgd" from the same moments, and so the same way up to rounding.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If scikit-learn's MLP cannot express the network; the message says which layer it is. It has dense layers, all
            hidden ones with the same activation: identity, logistic, tanh or relu. Batch normalization, `Rescaling` and
            `Scale` before or behind one go into its weights, dropout goes.

        Notes
        -----
        Predictions are equal up to rounding: BLAS adds up in another order. Where the training was one that scikit-learn does
        not have (dropout, clipping, another optimizer or loss), it goes on with what it has, "adam" for optimizers that it
        does not know.
        """
        return made_for_sklearn(self)


# ---------------------------------------------------------------- from scikit-learn


class FromSklearn:
    """Base of the twins of scikit-learn's MLPs."""

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """An estimator like a fitted one of scikit-learn's, with its weights, that goes on where it has ended.

        Parameters
        ----------
        estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
            Fitted, of the same task; it stays as it is.

        Returns
        -------
        estimator : MLPClassifier or MLPRegressor
            With copies of parameters, weights and what the solver remembers: `partial_fit` goes on the same way as
            scikit-learn's, up to rounding.

        Raises
        ------
        NotFittedError
            If `estimator` is not fitted.
        ValueError
            If it is not one of scikit-learn's MLPs for this task.
        """
        new = cls()
        wanted = twin(new)
        if not isinstance(estimator, wanted):
            raise ValueError(f"estimator must be a fitted sklearn.neural_network.{wanted.__name__}, got {estimator!r}")
        check_is_fitted(estimator, "coefs_")
        known = inspect.signature(wanted).parameters
        given = {k: v for k, v in estimator.get_params(deep=False).items() if k in known}
        new.set_params(**copy.deepcopy(given))
        own = vars(estimator)
        vars(new).update(copy.deepcopy({name: own[name] for name in OF_A_FIT if name in own}))
        sizes = [estimator.coefs_[0].shape[0], *(c.shape[1] for c in estimator.coefs_)]
        dtype = np.result_type(*estimator.coefs_)
        new._make_model(sizes, dtype, {"coefs_": estimator.coefs_, "intercepts_": estimator.intercepts_})
        if "_optimizer" in own and new.solver in SOLVERS:
            new._optimizer = StochasticSolver(new, 1)
            new._model.optimizer = new._optimizer.optimizer
            new._optimizer.learning_rate = own["_optimizer"].learning_rate if new.solver == "sgd" else new.learning_rate_init
            _remember(new._model, own["_optimizer"], new.solver)
        return new


def _remember(model, optimizer, solver):
    """Take over what an optimizer of scikit-learn's remembers."""
    given = [optimizer.ms, optimizer.vs] if solver == "adam" else [optimizer.velocities]
    for places, values in zip(moments_of(model), given, strict=True):
        for place, value in zip(places, values, strict=True):
            place[...] = value
    model.step = optimizer.t if solver == "adam" else 0
