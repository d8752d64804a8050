"""Income of adults: unequal classes, early stopping on the ROC AUC of held-out samples, the best epoch put back.

    python examples/adult.py [FOLDER]

FOLDER holds adult-train.csv and adult-test.csv of the UCI data set (no header, "?" where a value is missing); without it,
scikit-learn's breast cancer data stand in.
"""

import argparse
import pathlib

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, QuantileTransformer

from fastdnn import DNNClassifier, layers, optimizers


def read(folder):
    """(X_train, X_test, y_train, y_test), frames and labels."""
    files = (next(pathlib.Path(folder).glob(f"adult-{part}.csv*")) for part in ("train", "test"))  # packed or not
    train, test = (pd.read_csv(file, header=None, skipinitialspace=True) for file in files)
    (X, y), (X_test, y_test) = ((t.iloc[:, :-1], t.iloc[:, -1].str.strip().str.rstrip(".")) for t in (train, test))
    for frame in (X, X_test):
        frame.columns = [f"column{i}" for i in range(frame.shape[1])]
    return X, X_test, y, y_test


def main(folder=None, epochs=60, seed=0):
    if folder is None:
        X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True, as_frame=True), random_state=seed)
    else:
        X, X_test, y, y_test = read(folder)
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.1, stratify=y, random_state=seed)
    numbers, words = (make_column_selector(**{f"dtype_{side}clude": np.number}) for side in ("in", "ex"))
    scale = QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=seed)
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20, sparse_output=False)
    prepare = make_column_transformer((scale, numbers), (encode, words))
    hidden = [
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
    ]
    with sklearn.config_context(enable_metadata_routing=True):
        net = DNNClassifier(
            hidden,
            optimizer=optimizers.AdamW(2e-3, weight_decay=0.02),
            class_weight="balanced",
            epochs=epochs,
            batch_size=256,
            early_stopping=True,
            scoring="roc_auc",
            patience=8,
            random_state=seed,
        ).set_fit_request(X_val=True, y_val=True)
        model = make_pipeline(prepare, FunctionTransformer(np.float32), net, transform_input=["X_val"])
        model.fit(X, y, X_val=X_val, y_val=y_val)
    history = model[-1].history_
    p = model.predict_proba(X_test)[:, 1]
    balanced = balanced_accuracy_score(y_test, model.predict(X_test))
    print(f"stopped: {history.stopped}")
    print(f"best epoch {history.best('val_roc_auc') + 1} of {len(history['loss'])}, {sum(history['seconds']):.1f} s")
    print(f"test: balanced accuracy {balanced:.4f}, ROC AUC {roc_auc_score(y_test, p):.4f}")
    return balanced


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    main(parser.parse_args().folder)
