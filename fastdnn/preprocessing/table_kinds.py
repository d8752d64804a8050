"""Kinds of columns: the numbers or the codes of categories that a column of a table becomes, by its values in fit."""

import numpy as np

from .table_columns import DAY, Column, key

TEXT_LEVELS, TEXT_SHARE, TEXT_LENGTH, TEXT_WORDS = 20, 0.95, 30, 4  # what a text is; see `check_text`
CLOCK = ("hour", "minute")
CALENDAR = ("year", "month", "day", "weekday", "dayofyear", *CLOCK, "days")
WORDS = {"level": "strings or categories", "number": "numbers", "date": "dates", "duration": "durations", "time": "times"}


class Kind:
    """What a column becomes; this one becomes nothing, for all its values were missing in fit.

    Attributes
    ----------
    kind : str
        As in `TableReader.kinds_`.
    names : list of str
        Columns of numbers that it becomes.
    levels : list or None
        Its categories, in the order of their codes from 1, if it becomes a column of codes.
    by_level : bool
        Whether it reads columns in the form of levels, whatever they hold.
    zone : str or None
        Time zone of its dates.
    """

    kind, names, levels, by_level, zone = "empty", (), None, False, None

    def __init__(self, name):
        self.name = name

    def refuse(self, column, hint):
        """ValueError unless the column, which is of another form than in fit, is missing altogether."""
        if not column.is_empty():
            found = WORDS[column.form]
            if column.form == "level":
                used = int(column.values[column.values >= 0][0])
                found = f"{'the string' if isinstance(column.levels[used], str) else 'the category'} {column.levels[used]!r}"
            raise ValueError(f"column {self.name!r} must hold {self.words}, as it did in fit, got {found}; {hint}")


class NumberKind(Kind):
    """Numbers as they are; durations in days, times of a day in hours."""

    def __init__(self, name, form):
        super().__init__(name)
        self.kind, self.names, self.words = form, [name], WORDS[form]

    def numbers(self, column):
        """(n,) float64: the column's numbers, NaN where missing."""
        if column.form == self.kind:
            values = column.values.astype(np.float64)
            if column.missing is not None:
                values[column.missing] = np.nan
            return values
        if column.form == "level" and self.kind == "number":  # of booleans, of numbers in a categorical type, of nothing
            levels = [key(level) for level in column.levels]
            wrong = [place for place, level in enumerate(levels) if isinstance(level, str)]
            if not wrong or not np.isin(column.values, wrong).any():
                table = np.array(
                    [*(np.nan if level is None or isinstance(level, str) else level for level in levels), np.nan]
                )
                return table.astype(np.float64)[column.values]
            column = column._replace(values=np.where(np.isin(column.values, wrong), column.values, -1))
        hint = "convert it, with pandas.to_numeric(errors='coerce'), say" if self.kind == "number" else "convert it"
        self.refuse(column, hint)
        return np.full(len(column.values), np.nan)


class DateKind(Kind):
    """Numbers of the calendar and the clock, and days since 1970."""

    kind, words = "datetime", WORDS["date"]

    def __init__(self, name, column):
        super().__init__(name)
        dates = column.values[~np.isnat(column.values)]
        self._keep(column.zone, [f for f in CALENDAR if f not in CLOCK or (dates != dates.astype("datetime64[D]")).any()])

    @classmethod
    def of_features(cls, name, zone, features):
        """The kind of a column whose dates become these numbers."""
        kind = cls.__new__(cls)
        kind.name = name
        kind._keep(zone, features)
        return kind

    def _keep(self, zone, features):
        self.zone, self.features = zone, features
        self.names = [f"{self.name}:{feature}" for feature in features]

    def numbers(self, column):
        """(n, names) float64: the numbers of the dates, NaN where missing."""
        if column.form != "date":
            self.refuse(column, "convert it, with pandas.to_datetime, say")
            return np.full((len(column.values), 1), np.nan)
        if (column.zone is None) != (self.zone is None) and not column.is_empty():
            got, want = (
                f"times of zone {zone}" if zone else "times without a time zone" for zone in (column.zone, self.zone)
            )
            raise ValueError(
                f"column {self.name!r} must hold {want}, as it did in fit, got {got}; convert it, with dt.tz_convert or "
                "dt.tz_localize of pandas, say"
            )
        dates = column.values
        days = dates.astype("datetime64[D]")
        months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
        day = days.view(np.int64)
        found = {
            "year": years.view(np.int64) + 1970,
            "month": months.view(np.int64) % 12 + 1,
            "day": day - months.astype("datetime64[D]").view(np.int64) + 1,
            "weekday": (day + 3) % 7,  # 0 is Monday; 1970 began with a Thursday
            "dayofyear": day - years.astype("datetime64[D]").view(np.int64) + 1,
            "days": (dates - np.datetime64(0, "D")) / DAY,
        }
        if "hour" in self.features:
            minutes = (dates - days).astype("timedelta64[m]").view(np.int64)
            found |= {"hour": minutes // 60, "minute": minutes % 60}
        values = np.empty((len(dates), len(self.features)))
        for place, feature in enumerate(self.features):
            values[:, place] = found[feature]
        values[np.isnat(dates)] = np.nan
        return values


class LevelKind(Kind):
    """What has levels, which are told apart by `key`, by its text if both numbers and strings are among them."""

    by_level = True
    all_levels = False  # whether those count that do not occur in fit

    def __init__(self, name, column):
        there = range(len(column.levels)) if self.all_levels else occurring(column)
        keys = [k for k in (key(column.levels[place]) for place in there) if k is not None]
        kind = "boolean" if column.dtype == "boolean" else self.kind
        self._learn(name, kind, keys, column.dtype in ("category", "ordinal"))

    @classmethod
    def of_keys(cls, name, kind, keys, ordered):
        """The kind of a column that has the levels of these keys, whose order means something if it is `ordered`."""
        found = cls.__new__(cls)
        found._learn(name, kind, keys, ordered)
        return found

    def _learn(self, name, kind, keys, ordered):
        self.name, self.by_text = name, len({isinstance(k, str) for k in keys}) > 1
        self.found = list(dict.fromkeys(map(text, keys) if self.by_text else keys))
        if not ordered:
            self.found.sort()
        self._number(kind)

    @classmethod
    def of_levels(cls, name, kind, levels, by_text):
        """The kind of a column that has these levels, in the order of their numbers."""
        found = cls.__new__(cls)
        found.name, found.by_text, found.found = name, by_text, levels
        found._number(kind)
        return found

    def lookup(self, column, dtype, absent):
        """(n,): what the table `self.table` says of each row's level, `absent` where it says nothing."""
        get, levels, places = self.table.get, column.levels, column.values
        if places is not None and len(places) < len(levels):  # of many levels only those that are needed
            used = occurring(column)
            levels, renumbered = [levels[place] for place in used], np.full(len(levels) + 1, -1)
            renumbered[used] = np.arange(len(used))
            places = renumbered[places]
        keys = map(key, levels)
        if self.by_text:
            keys = (k if k is None else text(k) for k in keys)
        found = [get(k, absent) for k in keys]
        if places is None:
            return np.array(found, dtype)
        return np.array([*found, absent], dtype)[places]  # the last is at -1


class CategoryKind(LevelKind):
    """Codes of categories that have no order, or whose order does not matter."""

    kind = "category"

    def _number(self, kind):
        """Give the levels their numbers."""
        self.kind, self.levels = kind, self.found
        self.table = dict(zip(self.levels, range(1, len(self.levels) + 1), strict=True))

    def codes(self, column):
        """(n,) int32: the codes of the levels, 0 for those that are missing or were not there in fit."""
        return self.lookup(column, np.int32, 0)


class OrdinalKind(LevelKind):
    """Places of levels in the order that the column's type gives them, from 0."""

    kind, all_levels = "ordinal", True

    def _number(self, kind):
        """Give the levels their numbers."""
        self.names = [self.name]
        self.table = dict(zip(self.found, range(len(self.found)), strict=True))

    def numbers(self, column):
        """(n,) float64: the places of the levels, NaN for those that are missing or not of the type in fit."""
        return self.lookup(column, np.float64, np.nan)


def kind_of(name: str, column: Column, named: bool) -> Kind:
    """The kind of a column, by its values in fit; of levels if it is `named` in `categorical_features`."""
    if column.is_empty():
        return Kind(name)
    if named:
        return CategoryKind(name, column)
    if column.form == "date":
        return DateKind(name, column)
    if column.form != "level":
        return NumberKind(name, column.form)
    if column.dtype == "ordinal":
        return OrdinalKind(name, column)
    if column.dtype is None:
        check_text(name, np.count_nonzero(column.values >= 0), column.levels, occurring(column))
    return CategoryKind(name, column)


def occurring(column):
    """Levels that a column has, as their positions in increasing order."""
    return np.flatnonzero(np.bincount(column.values[column.values >= 0], minlength=len(column.levels)))


def text(value):
    """A level as a string, that of an integer for whole numbers and booleans."""
    return value if isinstance(value, str) else str(int(value)) if value == value // 1 else str(value)


def check_text(name, rows, levels, places):
    """ValueError if strings look like texts, or like identifiers as long: the levels at `places`, in so many rows.

    They do if there are at least 20, more than 95 % of those not missing differ, and they are more than 30 characters long on
    average or more than half of them have four words or more.
    """
    if len(places) < TEXT_LEVELS or len(places) <= TEXT_SHARE * rows:
        return
    texts = [levels[place] for place in places]
    long = sum(map(len, texts)) > TEXT_LENGTH * len(texts)
    if long or sum(len(t.split(None, TEXT_WORDS - 1)) == TEXT_WORDS for t in texts) * 2 > len(texts):
        raise ValueError(
            f"column {name!r} holds texts or identifiers, not categories: {len(texts)} of its {rows} values differ, "
            f"{texts[0][:60]!r}, say; make numbers of them before, as TfidfVectorizer and HashingVectorizer of scikit-learn "
            "do, drop the column, or name it in categorical_features if they are categories"
        )
