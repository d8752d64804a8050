"""From a file to a predictor, of one network or of those of a table."""

from ..saving.errors import ModelFormatError
from ..saving.state import UNFIT
from .estimators import of_plain
from .files import load_networks
from .predictor import Predictor
from .tables import FrozenTable


def read(make_model, path):
    """(settings, predictor) of a file that `save` of a `Predictor`, or of a frozen estimator, has written.

    What the settings say of an estimator fits the predictor, see `estimators.of_plain`.

    Parameters
    ----------
    make_model : type
        The class `Model`.
    path : str or path-like
        The file.

    Raises
    ------
    ModelFormatError
        If the file is not a whole and valid one.
    OSError
        If it cannot be read.
    """
    settings, networks, table = load_networks(make_model, path)
    predictors = [Predictor(model, own["dtype"]) for own, model in networks]
    try:
        predictor = predictors[0] if table is None else FrozenTable.of_plain(predictors, table)
        of_plain(predictor, settings.get("estimator"))
    except (*UNFIT, KeyError) as error:
        raise ModelFormatError(f"the parts of the predictor do not fit each other: {str(error)[:200]}") from None
    return settings, predictor
