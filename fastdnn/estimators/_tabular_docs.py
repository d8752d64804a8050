"""Parts of the docstrings that TabularClassifier and TabularRegressor share."""

PARAMETERS = """preset : {'fast', 'balanced', 'best'}, default='balanced'
        How much time goes into accuracy: 'fast' is one network; 'balanced' tries two to four recipes (with and without
        bins, with more and less dropout, a linear one, logarithms of the targets) on five networks each and mixes them by
        how good they are for the rows that each was not trained on; 'best' tries three recipes more and has ten networks
        of each.

    n_models : int or None, default=None
        Networks of each recipe; None is by the preset. 'balanced' has ten for quantiles of fewer than 5,000 rows: two of them
        have not seen a row, by whose mean the quantiles are calibrated.

    refit : bool or None, default=None
        Whether the networks are trained anew on all rows, for as many epochs as were best for held out rows. None does so for
        fewer than 5,000 rows whose numbers are predicted well (R2 of held out rows 0.9), where it wins; not for classes and
        quantiles.

    categorical_features : 'from_dtype' or array-like of str, int or bool, default='from_dtype'
        Columns that are categories beside those whose type says so (category, string, object, bool): by name, position or
        mask.

    hidden_layer_sizes : array-like of int or float, default=None
        Units of each hidden layer; a float is a multiple of the number of features behind the encoding. None is by the
        number of rows.

    learning_rate : float or None, default=None
        Highest rate of a layer of one input; one of d inputs has 1 / sqrt(d) of it. None is 0.04 for classes, 0.07 for
        numbers.

    epochs : int or None, default=None
        Length of the schedule; the fit ends earlier at a low of the rate that brought nothing. None is by the number of rows.

    batch_size : int or None, default=None
        Samples in a step; None is by the number of rows.

    n_bins : int, array-like of int or None, default=None
        Bins of the piecewise-linear encoding of the numbers, of the networks in turns; 0 for none.

    dropout : float or None, default=None
        Rate of dropout after each hidden layer, in [0, 1).

    weight_decay : float or None, default=None
        Decoupled weight decay, >= 0.

    time_limit : float or None, default=None
        Seconds for the fit, > 0, about; compilation included. Networks that find no time are left out, all but the first.

    callbacks : list of Callback or callable, default=None
        See `fastdnn.callbacks`; each is part of each network's fit, on several threads at once. The history has the error of
        the rows that are held out as "val_error".

    random_state : int, RandomState instance or None, default=None
        Source of weights, shuffles and parts. The same int gives the same bits on any number of threads.

    verbose : bool or int, default=0
        Whether a line is printed for each network."""

ATTRIBUTES = """ensemble_ : Ensemble
        The networks: ``ensemble_.models`` is a list of `Model`, ``ensemble_.histories`` what happened in their fits.

    oof_predictions_ : ndarray or None
        Out-of-fold predictions of the training rows: each by networks that were not trained on it; NaN where there is none.
        None of a stream of many rows.

    validation_score_ : float
        Error of these, by `eval_metric`; for a score like the accuracy, 1 - score. NaN where no rows were held out. The
        weights of the recipes and the ends of the fits are chosen by the same rows: of a few hundred rows it is somewhat too
        good, see `cross_val_score` for what is not.

    feature_importances_ : ndarray of shape (n_features_in_,)
        By how much that error grows if a column's values change places; computed when first asked for.

    n_features_in_ : int
        Columns seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all were strings."""

NOTES = """Notes
    -----
    Missing values are information: numbers get an indicator of them. Columns with up to 8 categories get a feature for each,
    others a trained vector of 8 numbers; unknown categories count as missing. Dates become calendar features. Text is
    refused. Everything is computed in float32.

    A stream of up to 100,000 rows (fewer of more than 335 columns) is fitted as the table of its rows. A longer one is read
    once to learn the table: kinds, categories, gaps, and range, mean and deviation of the targets are exact; medians,
    quartiles, limits of bins and what is known of logarithms of targets are those of a random sample of so many rows, m:
    their ranks have an error of about sqrt(q (1 - q) / m), 0.0016 for the median. One row in ten, at most 50,000, chosen by
    the seed and the number of the row, is held out of all networks: these end the fits, weigh the recipes and calibrate. Each
    network then reads the blocks again in each epoch, in another order; there are one or two of each recipe, four with
    'best', and fewer epochs from a million rows on. Memory holds the sample, a buffer of 64 MB and a few blocks.

    References
    ----------
    Holzmueller, D., Grinsztajn, L. & Steinwart, I. (2024). Better by default: strong pre-tuned MLPs and boosted trees on
    tabular data. arXiv:2407.04491.
    Gorishniy, Y., Rubachev, I. & Babenko, A. (2022). On embeddings for numerical features in tabular deep learning.
    arXiv:2203.05556."""
