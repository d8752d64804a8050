"""Parts of the docstrings that DNNClassifier and DNNRegressor share."""

PARAMETERS = """layers : list of Layer or None, default=None
        The network before its output layer, from `fastdnn.layers`; [] for none. None makes one of the next three.

    hidden_layer_sizes : int or array-like of int, default=(100,)
        The short way: units of each dense layer.

    activation : str, ActivationFunction or list of them, default='relu'
        Of the short way: one, or one for each layer.

    dropout : float or array-like of float, default=0.0
        Of the short way: rate of dropout after each layer, in [0, 1).

    optimizer : str or Optimizer, default='adam'
        Name in `fastdnn.optimizers.OPTIMIZERS`, or one with settings of its own.

    schedule : Schedule or None, default=None
        Learning rate of each step, in place of the optimizer's.

    epochs : int, default=200
        Largest number of passes over the samples (iterations of L-BFGS): the resource of a successive halving.

    batch_size : int or 'auto', default='auto'
        Samples in a step; 'auto' is min(200, n_samples).

    accumulate : int, default=1
        Batches whose gradients add up to one step.

    mixup, cutmix : float, default=0.0
        In [0, inf); 0 turns it off. In training each sample and its target are mixed with another one's, by shares drawn
        from Beta(mixup, mixup) or, of images, by a box whose area is drawn from Beta(cutmix, cutmix); with both, each
        sample draws which with equal probability. See `Model.fit`; of the losses they take cross_entropy, log_loss and
        those of numbers.

    shuffle : bool, default=True
        Whether each epoch takes the samples in another random order.

    early_stopping : bool, default=False
        Whether to stop when the validation loss, or the first metric of `scoring`, has not improved for `patience` epochs,
        and to put the weights of the best epoch back.

    patience : int, default=10
        Epochs without improvement that early stopping bears.

    min_delta : float, default=0.0
        By how much the best value must be surpassed to count, >= 0.

    scoring : str, callable, list or dict, default=None
        scikit-learn's scorers, evaluated on the validation samples after each epoch: "roc_auc" is "val_roc_auc" of the
        history.

    validation_fraction : float or None, default=None
        Part of the samples to hold out, in (0, 1). None is 0.1 with early stopping, otherwise nothing; it must be None where
        `fit` gets X_val and y_val.

    validation_split : {'auto', 'random', 'stratified', 'grouped', 'last'}, default='auto'
        Which part: by class, by the `groups` that `fit` gets, the last ones of a series in time. 'auto' is 'grouped' where
        there are groups, 'stratified' for classes where each has room in both parts, otherwise 'random'.

    callbacks : list of Callback or callable, default=None
        See `fastdnn.callbacks`. A fit works on copies, which `callbacks_` holds.

    transform_layer : int, default=-1
        Number of the layer, of those before the output layer, whose output `transform` gives; -1 is the last.

    warm_start : bool, default=False
        Whether `fit` goes on from the network of the fit before.

    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split, the shuffles and dropout. The same int gives the same bits on
        any number of threads.

    verbose : bool, int or 'log', default=0
        As in `fastdnn.Model.fit`."""

ATTRIBUTES = """model_ : Model
        The network; ``model_.save(path)`` writes it to a file, ``model_.summary()`` shows it.

    history_ : History
        What happened, epoch by epoch; its attribute `stopped` says in words why the fit ended early.

    callbacks_ : list of Callback
        The copies that the fit worked with, with what they have found.

    n_epochs_ : int
        Epochs of the fit.

    n_outputs_ : int
        Columns of the targets.

    out_activation_ : str
        Link of the outputs.

    n_features_in_ : int
        Features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names."""

NOTES = """Notes
    -----
    The network's float type is X's: float32 samples are computed in float32 (about twice as fast), anything else in float64.

    `get_params` and `set_params` reach into specs: ``optimizer__learning_rate``, ``layers__1__rate``,
    ``callbacks__0__patience``.

    References
    ----------
    Kingma, D. & Ba, J. (2015). Adam: A method for stochastic optimization. arXiv:1412.6980."""
