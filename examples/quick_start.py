"""Change one import: scikit-learn's digits with fastdnn's MLPClassifier.

python examples/quick_start.py
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import MLPClassifier  # instead of: from sklearn.neural_network import MLPClassifier


def main(max_iter=300):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0)
    clf = MLPClassifier(hidden_layer_sizes=(64,), early_stopping=True, max_iter=max_iter, random_state=0)
    clf.fit(X_train, y_train)
    accuracy = clf.score(X_test, y_test)
    print(f"{clf.n_iter_} epochs, test accuracy {accuracy:.3f}")
    print("first test images:", clf.predict(X_test[:8]), "true:", y_test[:8])
    return accuracy


if __name__ == "__main__":
    main()
