"""The one exception of the loader."""


class ModelFormatError(ValueError):
    """A file is not a whole and valid model; the message says what is wrong with it."""
