"""Numbers of the calendar and the clock from nanoseconds since 1970, in whole numbers."""

import numpy as np

from .doubles import double, known_only

ABSENT = np.iinfo(np.int64).min  # that of a date which is missing, as in NumPy
MINUTE, HOUR, DAY = 60 * 10**9, 3600 * 10**9, 86400 * 10**9


class Whole:
    """Whole numbers of a graph, with Python's operators.

    ONNX's division cuts off towards 0: what is divided must be >= 0, or leave no rest.
    """

    def __init__(self, graph, name):
        self.graph, self.name = graph, name

    def _with(self, op, other):
        other = other.name if isinstance(other, Whole) else self.graph.constant(other)
        return Whole(self.graph, self.graph.node(op, self.name, other))

    def __add__(self, other):
        return self._with("Add", other)

    def __sub__(self, other):
        return self._with("Sub", other)

    def __mul__(self, other):
        return self._with("Mul", other)

    def __floordiv__(self, other):
        return self._with("Div", other)

    def __mod__(self, other):
        return self._with("Mod", other)  # of the sign of what is divided by, as in Python


def calendar_nodes(graph, x, features):
    """Name of the numbers of dates, float64 (n, features), NaN where one is missing.

    x : name of nanoseconds since 1970, int64 (n, 1)     features : some of `preprocessing.table_kinds.CALENDAR`
    """
    absent = graph.node("Equal", x, graph.constant(ABSENT))
    moment = Whole(graph, graph.node("Where", absent, graph.constant(0), x))
    time = moment % DAY
    day = (moment - time) // DAY
    year, month, day_of_month = civil(day)
    before = year - 1
    minutes = time // MINUTE
    found = {
        "year": year,
        "month": month,
        "day": day_of_month,
        "weekday": (day + 3) % 7,  # 0 is Monday; 1970 began with a Thursday
        "dayofyear": day - (before * 365 + before // 4 - before // 100 + before // 400) + 719163,
        "hour": minutes // 60,
        "minute": minutes % 60,
        "days": moment,  # in nanoseconds as yet
    }
    units = double(graph, [DAY if feature == "days" else 1 for feature in features])
    numbers = graph.cast(graph.node("Concat", *(found[feature].name for feature in features), axis=1), np.float64)
    return known_only(graph, absent, graph.node("Div", numbers, units))


def civil(day):
    """(year, month, day of the month) of days since 1970, from the year 1 on.

    Reference: Hinnant, H. (2013). chrono-compatible low-level date algorithms.
    """
    shifted = day + 719468  # days since March 1 of the year 0
    era = shifted // 146097  # of 400 years
    rest = shifted - era * 146097
    of_era = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    of_year = rest - (of_era * 365 + of_era // 4 - of_era // 100)  # days since March 1
    since_march = (of_year * 5 + 2) // 153  # months
    year = era * 400 + of_era + since_march // 10  # January and February belong to the year before
    return year, (since_march + 2) % 12 + 1, of_year - (since_march * 153 + 2) // 5 + 1


def span_nodes(graph, x, unit):
    """Name of nanoseconds, int64 (n, 1), in a unit of so many of them: float64, NaN where missing."""
    absent = graph.node("Equal", x, graph.constant(ABSENT))
    return known_only(graph, absent, graph.node("Div", graph.cast(x, np.float64), double(graph, unit)))
