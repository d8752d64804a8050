"""What a fitted ensemble of a table has to say: which columns matter, why a prediction is what it is."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..tabular.explaining import shares

REPEATS = 3  # times that a column is permuted


class Insight:
    """Importances, explanations and a summary."""

    @property
    def feature_importances_(self):
        """Of each column, by how much the error of held out rows grows if its values change places; ndarray, computed once.

        At most 2,000 rows, each judged by networks that were not trained on it (by all where no rows were held out); the mean
        of three permutations. Reference: Breiman 2001, Random forests.
        """
        check_is_fitted(self)
        if "_importances" not in self.__dict__:
            self._importances = self._permuted()
        return self._importances

    def _permuted(self):
        numbers, codes, y = self._held[:3]
        reader, rng = self._reader, np.random.default_rng(0)
        base, found = self._held_error(numbers, codes), np.zeros(self.n_features_in_)
        for column in range(self.n_features_in_):
            own = np.flatnonzero(reader.number_sources_ == column), np.flatnonzero(reader.category_sources_ == column)
            if not any(map(len, own)):
                continue
            for _ in range(REPEATS):
                order, others = rng.permutation(len(y)), (numbers.copy(), codes.copy())
                for table, columns in zip(others, own, strict=True):
                    table[:, columns] = table[order][:, columns]
                found[column] += (self._held_error(*others) - base) / REPEATS
        return found

    def _held_error(self, numbers, codes):
        """Error of the kept rows, each predicted by the networks that it was held out of, or by all if by none."""
        _, _, y, weight, parts = self._held
        Z, ensemble, task = self._features.transform(numbers, codes), self.ensemble_, self._task
        p = self._final(ensemble.predict_held(Z, task, parts))
        known = np.isfinite(p[:, 0])
        return task.error_of(y[known], p[known], None if weight is None else weight[known])

    def explain(self, X: Any, target: Any = None) -> np.ndarray:
        """Shares of the columns in the prediction of each row, compared with a row that says nothing.

        That row has the medians of the numbers, and of columns with up to 8 categories the one that more than half of the
        rows have, if there is one, otherwise no category.

        Parameters
        ----------
        X : table as for `fit`
            Rows.
        target : label or int, default=None
            Class, label number or output whose score is looked at; None is the predicted class, or the first output.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            They sum to the prediction of the row less that of the other, up to the error of the integral: for
            numbers in the units of the targets, for classes as the score before the softmax.

        Notes
        -----
        Integrated gradients of the networks' mean score, 32 points on the path from the medians to the row. Reference:
        Sundararajan et al. 2017, arXiv:1703.01365.
        """
        Z = self._matrix(X)
        numbers = self._score_numbers(Z, target)
        return shares(self.ensemble_, self._features, Z, numbers, self._slopes, self.n_features_in_)

    def summary(self) -> str:
        """The columns, the recipe and the networks of the fitted estimator, as a table in words."""
        check_is_fitted(self)
        reader, ensemble = self._reader, self.ensemble_
        kinds = {
            kind: [c for c, k in zip(reader.columns_, reader.kinds_, strict=True) if k == kind] for kind in reader.kinds_
        }
        lines = [f"{self.n_features_in_} columns, {ensemble.models[0].layout.shapes[0][0]} features"]
        lines += [f"  {kind}: {', '.join(_short(names))}" for kind, names in sorted(kinds.items())]
        lines += ensemble.how()
        if np.isfinite(self.validation_score_):
            lines.append(f"error of held out rows: {self.validation_score_:.6g} ({self._metric_name()})")
        return "\n".join(lines)


def _short(names, most=8):
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
