"""Dates, durations and times of tables."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from table_makes import BERLIN, LIBRARIES, NAN, UTC, make, message, polars, pyarrow, read

# ---------------------------------------------------------------- dates, durations, times

DATES = [dt.datetime(2020, 2, 29), None, dt.datetime(1969, 12, 31, 6, 45), dt.datetime(2024, 12, 31, 23, 59, 59)]
CALENDAR = ["a:year", "a:month", "a:day", "a:weekday", "a:dayofyear", "a:hour", "a:minute", "a:days"]


def by_hand(date):
    """Numbers of a date, as Python's calendar has them."""
    if date is None:
        return [NAN] * 8
    days = (date - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)
    day_of_year = date.timetuple().tm_yday
    return [date.year, date.month, date.day, date.weekday(), day_of_year, date.hour, date.minute, days]


def date_columns():
    yield "objects", lambda: pd.DataFrame({"a": np.array(DATES, object)})
    yield "NaN", lambda: pd.DataFrame({"a": np.array([NAN if d is None else d for d in DATES], object)})
    yield (
        "NumPy",
        lambda: pd.DataFrame({"a": np.array([np.datetime64("NaT") if d is None else np.datetime64(d) for d in DATES])}),
    )
    for unit in ("s", "ms", "us", "ns"):
        yield f"pandas {unit}", lambda unit=unit: pd.DataFrame({"a": pd.Series(DATES).astype(f"datetime64[{unit}]")})
        if unit != "s":
            yield f"polars {unit}", lambda unit=unit: polars().DataFrame({"a": DATES}, schema={"a": polars().Datetime(unit)})
        yield f"arrow {unit}", lambda unit=unit: pyarrow().table({"a": pyarrow().array(DATES, pyarrow().timestamp(unit))})
        yield f"pandas of arrow {unit}", lambda unit=unit: arrow_frame(DATES, pyarrow().timestamp(unit))


def arrow_frame(values, dtype):
    return pd.DataFrame({"a": pd.array(pyarrow().array(values, dtype), pd.ArrowDtype(dtype))})


@pytest.mark.parametrize("frame", [f for _, f in date_columns()], ids=[name for name, _ in date_columns()])
def test_dates_with_a_time_of_day(frame):
    reader, numbers, codes = read(frame())
    assert reader.kinds_ == ["datetime"]
    assert reader.number_names_ == CALENDAR
    assert reader.number_sources_.tolist() == [0] * 8
    np.testing.assert_allclose(numbers, [by_hand(date) for date in DATES], rtol=1e-15)
    assert codes.shape == (4, 0)


def day_columns():
    days = [None if date is None else date.date() for date in DATES]
    whole = [None if day is None else dt.datetime(day.year, day.month, day.day) for day in days]
    yield "pandas", lambda: pd.DataFrame({"a": pd.Series(whole).astype("datetime64[us]")})
    yield "pandas objects", lambda: pd.DataFrame({"a": np.array(days, object)})
    yield "polars", lambda: polars().DataFrame({"a": days})
    yield "arrow", lambda: pyarrow().table({"a": days})
    yield "arrow 64", lambda: pyarrow().table({"a": pyarrow().array(days, pyarrow().date64())})
    yield "pandas of arrow", lambda: arrow_frame(days, pyarrow().date32())


@pytest.mark.parametrize("frame", [f for _, f in day_columns()], ids=[name for name, _ in day_columns()])
def test_dates_without_a_time_of_day(frame):
    reader, numbers, _ = read(frame())
    assert reader.kinds_ == ["datetime"]
    assert reader.number_names_ == [name for name in CALENDAR if name not in ("a:hour", "a:minute")]
    expected = np.array([by_hand(date) for date in DATES])[:, [0, 1, 2, 3, 4, 7]]
    np.testing.assert_array_equal(numbers, np.floor(expected))
    later = pd.DataFrame({"a": pd.to_datetime(["2020-02-29 12:00"])})
    assert reader.transform(later)[0].tolist() == [[2020, 2, 29, 5, 60, 18321.5]]


@pytest.mark.parametrize("libraries", [["pandas"], LIBRARIES], ids=["pandas", "all"])
def test_dates_by_the_clock_of_a_zone(libraries):
    utc = pd.Series(pd.to_datetime(["2024-06-30 22:30", None, "2024-01-01 11:00"])).dt.tz_localize("UTC")
    local = utc.dt.tz_convert(BERLIN)
    frames = [pd.DataFrame({"a": local}), pd.DataFrame({"a": local.astype(object)})]
    expected = [by_hand(date) for date in (dt.datetime(2024, 7, 1, 0, 30), None, dt.datetime(2024, 1, 1, 12))]
    others = [pd.DataFrame({"a": utc}), pd.DataFrame({"a": utc.astype(object)})]
    if libraries == LIBRARIES:
        frames += [polars().DataFrame(frames[0]), pyarrow().Table.from_pandas(frames[0])]
        others += [polars().DataFrame(others[0]), pyarrow().Table.from_pandas(others[0])]
    for frame in frames:
        reader, numbers, _ = read(frame)
        np.testing.assert_allclose(numbers, expected, rtol=1e-15)
        for other in frames + others:
            np.testing.assert_allclose(reader.transform(other)[0], expected, rtol=1e-15)
    with message("column 'a' must hold times of zone Europe/Berlin, as it did in fit, got times without a time zone"):
        reader.transform(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}))
    naive, _, _ = read(pd.to_datetime(["2020-01-01"]))
    with message("column 'a' must hold times without a time zone, as it did in fit, got times of zone UTC"):
        naive.transform(others[0])
    assert np.isnan(naive.transform(others[0][1:2])[0]).all()  # nothing is of no zone
    with message("column 'a' must hold dates with time zones or without, got both"):
        read(np.array([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)], object))


def test_dates_of_an_offset_are_read_by_utc():
    offset = dt.timezone(dt.timedelta(hours=2))
    values = pd.Series([dt.datetime(2020, 1, 1, 1, tzinfo=offset)])
    expected = [by_hand(dt.datetime(2019, 12, 31, 23))]
    for frame in (pd.DataFrame({"a": values}), pd.DataFrame({"a": values.astype(object)})):
        np.testing.assert_allclose(read(frame)[1], expected)
        np.testing.assert_allclose(read(pyarrow().table({"a": pyarrow().array(values)}))[1], expected)


def test_periods():
    reader, numbers, _ = read(pd.DataFrame({"a": pd.period_range("2020-01", periods=2, freq="M")}))
    assert reader.kinds_ == ["datetime"]
    assert numbers[1].tolist() == [2020, 2, 1, 5, 32, 18293]


@pytest.mark.parametrize("library", [*LIBRARIES, "objects"])
def test_durations_in_days(library):
    values = [dt.timedelta(days=1), None, dt.timedelta(hours=-12)]
    frame = pd.DataFrame({"a": np.array(values, object)}) if library == "objects" else make({"a": values}, library)
    reader, numbers, _ = read(frame)
    assert reader.kinds_ == ["duration"]
    assert reader.number_names_ == ["a"]
    np.testing.assert_array_equal(numbers, [[1], [NAN], [-0.5]])
    np.testing.assert_array_equal(reader.transform(np.array([["1", "NaT"]], "m8[D]").T)[0], [[1], [NAN]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_times_in_hours(library):
    reader, numbers, _ = read(make({"a": [dt.time(6, 30), None, dt.time(23, 59, 59, 500_000)]}, library))
    assert reader.kinds_ == ["time"]
    np.testing.assert_allclose(numbers, [[6.5], [NAN], [24 - 0.5 / 3600]])
