"""Parts of the docstrings that MLPClassifier and MLPRegressor share."""

PARAMETERS = """hidden_layer_sizes : int or array-like of shape (n_layers - 2,), default=(100,)
        Units of each hidden layer; () for none.

    activation : str, ActivationFunction or list of them, default='relu'
        Activation of the hidden layers: 'identity', 'logistic', 'tanh', 'relu' as scikit-learn has them, and all the others
        of `fastdnn.layers.ACTIVATIONS`. A list gives each hidden layer its own.

    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'nadam', 'rmsprop', 'adagrad', 'schedule_free_adamw'}, default='adam'
        'lbfgs' (SciPy's, on all samples at once) suits small data, 'adam' everything else. The last five are not
        scikit-learn's.

    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (not on the intercepts), >= 0. As in scikit-learn it is divided by the
        number of samples in a batch (or the sum of their weights), so its effect depends on the batch size: the penalty is
        alpha / (2 * batch size) sum W^2. With batches of one size that is ``l2=alpha / batch_size`` of `layers.Dense` and of
        the optimizers, which divide nothing.

    batch_size : int or 'auto', default='auto'
        Samples in a step of 'sgd' and 'adam'; 'auto' is min(200, n_samples).

    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Course of the rate, for 'sgd' only. 'invscaling' divides it by t ** power_t after each epoch, t being the samples
        seen; 'adaptive' divides it by 5 whenever training stops improving, and stops at 1e-6.

    learning_rate_init : float, default=0.001
        Initial rate of 'sgd' and 'adam', > 0.

    power_t : float, default=0.5
        Exponent of 'invscaling', >= 0.

    max_iter : int, default=200
        Largest number of epochs ('sgd', 'adam') or iterations ('lbfgs').

    shuffle : bool, default=True
        Whether each epoch takes the samples in another random order.

    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split and the shuffles. The same int gives the same bits on any
        number of threads, and scikit-learn's own weights, batches and loss curve up to rounding.

    tol : float, default=1e-4
        Improvement of the loss or the validation score that counts, >= 0; for 'lbfgs' the gradient's tolerance.

    verbose : bool, default=False
        Whether to print the loss of each epoch.

    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before (with a fresh solver) instead of new ones.

    momentum : float, default=0.9
        Momentum of 'sgd', in [0, 1].

    nesterovs_momentum : bool, default=True
        Whether 'sgd' uses Nesterov's momentum.

    early_stopping : bool, default=False
        Whether to hold out a part of the samples, stop when its score stops improving and put the best weights back.

    validation_fraction : float, default=0.1
        Part held out, in [0, 1).

    beta_1 : float, default=0.9
        Decay of the first moment in 'adam', in [0, 1).

    beta_2 : float, default=0.999
        Decay of the second moment in 'adam', in [0, 1).

    epsilon : float, default=1e-8
        Added to the root of the second moment in 'adam', > 0.

    n_iter_no_change : int or inf, default=10
        Epochs without improvement after which 'sgd' and 'adam' stop.

    max_fun : int, default=15000
        Largest number of function calls of 'lbfgs'.

    dropout : float or array-like of shape (n_layers - 2,), default=0.0
        Rate of dropout after each hidden layer, in [0, 1). Not scikit-learn's, nor are those that follow.

    l1 : float, default=0.0
        Strength of the L1 penalty on the weights, >= 0, divided by the batch size like alpha: the penalty is
        l1 / batch_size sum |W|, that of ``l1=l1 / batch_size`` of `layers.Dense` and of the optimizers.

    weight_decay : float or None, default=None
        Decoupled weight decay of the stochastic solvers, >= 0; None is the solver's own, 0.01 for 'adamw', otherwise 0.
        It is not divided by the batch size.

    clip_norm : float or None, default=None
        Largest norm of the gradient; longer ones are shortened to it.

    clip_value : float or None, default=None
        Where each gradient is cut off, on either side of 0.

    schedule : Schedule or None, default=None
        Learning rate of each step, from `fastdnn.schedules`, in place of `learning_rate` and `learning_rate_init`.

    callbacks : list of Callback or callable, default=None
        See `fastdnn.callbacks`. A fit works on copies, which `callbacks_` holds. With `early_stopping` the score is
        "val_score" in the history."""

ATTRIBUTES = """coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer, views into the network's flat buffer: what is written to them, in place or by assignment
        of an item or of the list, changes what predicts.

    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer, views likewise.

    loss_ : float
        Loss of the last epoch.

    loss_curve_ : list of float
        Loss of each epoch ('sgd', 'adam').

    best_loss_ : float or None
        Smallest loss of an epoch; None with early stopping.

    validation_scores_ : list of float or None
        Score of each epoch on the held-out samples.

    best_validation_score_ : float or None
        Best of them.

    t_ : int
        Samples seen by 'sgd' and 'adam'.

    n_iter_ : int
        Epochs or iterations of this fit.

    n_layers_ : int
        Layers, input and output counted.

    n_outputs_ : int
        Outputs of the network.

    n_features_in_ : int
        Features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names.

    out_activation_ : {'identity', 'exp', 'logistic', 'softmax'}
        Link of the outputs.

    history_, callbacks_ : History, list of Callback
        What happened, epoch by epoch, and the copies that the fit worked with; only where there are callbacks."""

NOTES = """Unlike scikit-learn's: float32 samples are computed in float32 with every solver, 'lbfgs' too; changing
    `hidden_layer_sizes`, the number of outputs or the loss between warm starts or calls of `partial_fit` is an error that
    says so; a sparse matrix with an index out of range is one too (scikit-learn's crashes); `verbose` prints the loss of
    each iteration of 'lbfgs'; a batch whose weights are all zero raises ZeroDivisionError before its epoch, not within."""
