"""What a model does with files."""

import os
from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import DTypeLike

from .._guard import guard
from ..specs import check_path
from .errors import ModelFormatError
from .state import check_file, load_model, read_weights, save_model
from .torch_weights import read_state_dict

LAYOUTS = "fastdnn", "torch"


class Files:
    """Base of `Model`: to files and back."""

    def save(self, path: str | os.PathLike, training: bool = True) -> None:
        """Write the model to a file that cannot execute code, in the safetensors layout; whole or not at all.

        What is written is the model between two epochs: where another thread trains it, this one waits for the end of the
        epoch. The new file is read back before it takes the place of the old one.

        Parameters
        ----------
        path : str or path-like
            The file; what was there is replaced at the end, in one go.
        training : bool, default=True
            Whether what training goes on from is in it too (the optimizer's memory, averages, history); without it the file
            has a third of the size with Adam.

        Raises
        ------
        OSError
            If the file cannot be written, or does not read back; what was there is untouched.
        ValueError
            If the model has no parameters yet, or parts that cannot be written down (functions).
        """
        save_model(self, path, training)

    @classmethod
    def load(
        cls, path: str | os.PathLike, parts: Sequence[type] = (), finite: bool = True, max_bytes: int | None = None
    ) -> Self:
        """A model from a file that `save` wrote. Nothing in the file is executed, whatever it holds.

        Parameters
        ----------
        path : str or path-like
            The file.
        parts : sequence of type
            Classes of your own that the file may name: layers, losses, optimizers and schedules. What is in the table of
            its kind, by its decorator (``@extending.loss``, say), is known without, once its module has been imported.
        finite : bool, default=True
            Whether NaN or infinity in the weights is an error.
        max_bytes : int or None, default=None
            Largest file to accept.

        Returns
        -------
        Model
            As it was, with all that training goes on from, if the file has it.

        Raises
        ------
        ModelFormatError
            If the file is not a whole and valid one; the message says what is wrong.
        OSError
            If it cannot be read.
        """
        return load_model(cls, path, parts, finite, max_bytes)

    @classmethod
    def from_onnx(
        cls,
        model: Any,
        loss: Any = None,
        optimizer: Any = "adam",
        dtype: DTypeLike = "float32",
        random_state: Any = None,
        *,
        input_shape: int | Sequence[int] | None = None,
        output: str | None = None,
        finite: bool = True,
        max_bytes: int | None = None,
    ) -> Self:
        """A model from an ONNX file, with its weights: it predicts what the file does, and its training goes on.

        Parameters
        ----------
        model : path, bytes or onnx.ModelProto
            As PyTorch (``torch.onnx.export``, either exporter), Keras (tf2onnx) or scikit-learn (skl2onnx) write it, in one
            file. Nothing else than the file is read.
        loss : str, Loss or None, default=None
            None takes "cross_entropy" where the network ends in a softmax, "log_loss" where it ends in a sigmoid, otherwise
            "squared_error". The function at the end is then the loss's: `forward` gives the scores before it, `predict` its
            values (of a LogSoftmax the probabilities).
        optimizer, dtype, random_state
            As in `Model`.
        input_shape : int, tuple of int or None, default=None
            Shape of a sample in the file, in its order of axes, where the file leaves sizes open.
        output : str or None, default=None
            Name of the value that the network is to give, where the file has several outputs of floats. Outputs of labels
            are left out by themselves.
        finite : bool, default=True
            Whether NaN or infinity in the weights is an error.
        max_bytes : int or None, default=None
            Largest file to accept.

        Returns
        -------
        Model
            Built, with an optimizer that has not begun.

        Raises
        ------
        ModelFormatError
            If the file is no sound model, or needs an operator, or a use of it, for which there is no layer. The message
            names the operator, its node, and what is supported.
        ImportError
            If the package onnx is missing (``pip install "fastdnn[onnx]"``).
        OSError
            If the file cannot be read.

        Notes
        -----
        Samples. They come with the **channels last**, as everywhere in fastdnn: where a file takes images (n, channels,
        height, width), the model takes ``X.transpose(0, 2, 3, 1)``; for series (n, channels, time) ``X.transpose(0, 2, 1)``;
        for sequences with time in front, (time, n, features), ``X.transpose(1, 0, 2)``. A file that flattens the samples
        before all else, or works on their last axis, takes them as they are; so does one that makes something else of
        vectors, but images of several channels, which the model takes as images. ``model.layout.shapes[0]`` says which it is.
        Outputs with several axes are turned the same way. Weights behind a flattened image are put in our order, so
        nothing else changes.

        Layers. An activation is known by its values, also where it is spelled out (x times its sigmoid is "silu"). Scaling
        of the samples before all weights (scikit-learn's scalers) is not trained. A sum is a `Residual`: what came in, or
        what one way makes of it (its `shortcut`), plus what another way makes of it; of a difference one way ends with a
        `Rescaling` by -1. Of a PReLU with one slope each feature gets its own. The two biases of an LSTM or RNN add up to
        one. PyTorch's newer exporter writes an RNN (not an LSTM or GRU) step by step, which is not supported;
        ``dynamo=False`` does not. Keras' exporter on PyTorch writes all recurrent layers so. An input of lengths of
        sequences becomes the argument `lengths` of `predict` and `fit`. A probability and its complement (scikit-learn's
        classifiers of two classes) are those of two scores; of several labels the complements are left out.

        Examples
        --------
        >>> model = Model.from_onnx("digits.onnx", optimizer="adamw")  # doctest: +SKIP
        >>> model.fit(X.transpose(0, 2, 3, 1), y, epochs=5)  # doctest: +SKIP
        """
        from ..onnx.importing import load_onnx

        return load_onnx(cls, model, loss, optimizer, dtype, random_state, input_shape, output, finite, max_bytes)

    def load_weights(self, path: str | os.PathLike, layout: str = "fastdnn", names: dict | None = None) -> Self:
        """Take the weights and running statistics from a file, into a model that is built; whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file.
        layout : {"fastdnn", "torch"}, default="fastdnn"
            "fastdnn": a file that `save` wrote, of a model of layers with the same weights. "torch": a PyTorch `state_dict`
            as a safetensors file; PyTorch is not needed to read it.
        names : dict of str -> str, default=None
            For "torch", modules of layers that cannot be told apart, or have another order: the first part of the layer's
            keys and the name of the module, ``{"0.dense": "encoder.fc"}``. A `SeparableConv2D` has two modules, a list; the
            layers of an LSTM "rnn" in PyTorch are "rnn.l0", "rnn.l1", ...

        Returns
        -------
        Model
            Itself.

        Raises
        ------
        ModelFormatError
            If the file is not a whole and valid one, or does not fit the model: a tensor has another shape, is missing, or
            is left over. The message names the file and the tensor; the model is as before.
        ValueError
            If an argument is none of those above, or the model is not built.
        OSError
            If the file cannot be read.

        Notes
        -----
        In PyTorch, write the file with ``from safetensors.torch import save_file; save_file(net.state_dict(), path)``. It
        has weights alone: activations, strides, paddings and epsilons are those that the model was made with.

        Order. The file has its tensors sorted by name, so the order of the modules is not in it. Each layer takes the first
        module left of its kind and shape, modules being in the order of the numbers in their names ("features.2" before
        "features.10", "fc1" before "fc2"). It is an error if these numbers contradict the order of the layers, or if two
        modules are alike and no numbers say which comes first: then give `names`. Where a `Residual` has a shortcut and names
        say "downsample" or "shortcut", these modules are of shortcuts, the others are not. Each tensor must be used, but for
        integers such as num_batches_tracked, which are left out.

        Flattening. PyTorch has the channels of an image in front. Where a `Flatten` or `Reshape` makes a vector of an image
        (height, width, channels), the weights behind it, up to the rows of the next `Dense`, are put in our order; likewise
        the columns of a `Dense` before a `Reshape` to an image. So it is for series (time, channels) on which a convolution,
        a pool or `BatchNorm` works; others, and images on which `Dense` or `LayerNorm` works, have their features last in
        PyTorch too.

        Recurrent layers. An LSTM and an RNN of PyTorch have two biases, which add up to ours; a GRU's stay two.

        The moving average of the weights starts anew from them; the optimizer's moments stay, as when `params` is assigned.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastdnn import Model, layers
        >>> trained = Model([layers.Dense(2)], random_state=0).build(3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained.save(os.path.join(folder, "m.fdnn"))
        ...     model = Model([layers.Dense(2)]).build(3).load_weights(os.path.join(folder, "m.fdnn"))
        >>> bool((model.params == trained.params).all())
        True
        """
        path, own = check_path("path", path), self._built().layout
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {LAYOUTS}, got {layout!r}")
        if names is not None and layout != "torch":
            raise ValueError("names is for layout='torch'; a file of fastdnn has the names of the layers")
        check_file(path)
        with open(path, "rb") as file:
            try:
                if layout == "torch":
                    params, state = read_state_dict(own, self.dtype, file, names)
                else:
                    params, state = read_weights(own, self.dtype, file)
            except ModelFormatError as error:
                raise ModelFormatError(f"{path!r}: {error}") from None
        with guard(self):
            self.params = params
            self.state[...] = state
        return self
