"""A search over a table's recipe with Optuna; trials that do worse than the others at the same epoch end early.

pip install optuna
python examples/tables_search.py
"""

import warnings

import optuna
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from fastdnn import TabularRegressor, search_space
from fastdnn.callbacks import Callback


class Pruned(Callback):
    """Tells a trial the error of the held out rows after each epoch, and ends it where the trial says so."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, fit):
        self.trial.report(fit.history["val_error"][-1], fit.epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def suggest(trial, space):
    """A value of each of the settings: lists are choices, what has a logarithmic density is a float."""
    found = {}
    for name, values in space.items():
        if isinstance(values, list):
            found[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
        else:
            found[name] = trial.suggest_float(name, *values.support(), log=True)
    return found


def main(trials=20, seed=0):
    X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True, as_frame=True), random_state=seed)

    def objective(trial):
        settings = suggest(trial, search_space(TabularRegressor))
        model = TabularRegressor("fast", callbacks=[Pruned(trial)], random_state=seed, **settings).fit(X, y)
        return model.validation_score_

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler, pruner = optuna.samplers.TPESampler(seed=seed), optuna.pruners.MedianPruner(5, 10)
        study = optuna.create_study(sampler=sampler, pruner=pruner)
        study.optimize(objective, n_trials=trials)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    best = suggest(optuna.trial.FixedTrial(study.best_params), search_space(TabularRegressor))
    print(f"{trials} trials, {pruned} ended early; best held out RMSE {study.best_value:.2f}, with {best}")
    for name, settings in (("the best settings", best), ("the defaults", {})):
        model = TabularRegressor(random_state=seed, **settings).fit(X, y)
        print(f"{name}: test R2 {model.score(X_test, y_test):.3f}")
    return len(study.trials)


if __name__ == "__main__":
    main()
