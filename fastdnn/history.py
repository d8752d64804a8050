"""What happened in a fit, epoch by epoch."""


class History(dict):
    """dict of lists, one value an epoch, in the order in which they were first recorded.

    Examples
    --------
    >>> from fastdnn.history import History
    >>> h = History()
    >>> h.add(loss=0.5)
    >>> h.add(loss=0.25)
    >>> h["loss"]
    [0.5, 0.25]
    """

    def add(self, **values):
        """Append a value to each named list."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    @property
    def history(self):
        """Itself, as Keras names it."""
        return self
