"""The step of a series: which one is found, where it is broken, and which times come after the end.

Dates are compared with those of dateutil and zoneinfo, and with some written down by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas
import pyarrow as pa
import pytest
from dateutil.relativedelta import relativedelta
from dateutil.rrule import FR, MO, MONTHLY, TH, TU, WE, rrule

from gpujobs.trainer.data import notices
from gpujobs.trainer.data.prepare import Part, to_predict
from gpujobs.trainer.data.samples import calendar
from gpujobs.trainer.data.samples.calendar import Step
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.failures import DataError

from .making import alone, csv, prepared, spec_of

WINDOW = "window: {length: 4, horizon: 3}"
DATA = "{train: t.csv, time: when, target: v, %s%s}"
REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 3}]}\ntraining: {loss: mse}\n"


def written(times: Any) -> str:
    times = list(times)
    return csv({"when": times, "v": np.arange(float(len(times)))})


def forecast(root: Path, times: Any, more: str = "", content: Any = None, name: str = "t.csv") -> Part:
    """The windows of a file to predict for, which is the training file again."""
    data = (DATA % (WINDOW, more)).replace("t.csv", name)
    files = {name: written(times) if content is None else content}
    spec = spec_of(root, data, files, rest=REST)
    learned = prepared(root, data, files, rest=REST).preprocessing
    return to_predict(spec, {"path": name}, learned)


def beyond(part: Part) -> list[Any]:
    """The times of the last window's target: those of rows that nobody has seen."""
    assert isinstance(part.assembled, Windowed) and part.assembled.times is not None
    found: list[Any] = part.assembled.times.take(np.array([len(part.samples) - 1]))[0].tolist()
    return found


def lines_of(root: Path, content: str, more: str = "", capsys: Any = None) -> list[str]:
    prepared(root, DATA % (WINDOW, more), {"t.csv": content}, rest=REST)
    found: list[str] = capsys.readouterr().out.splitlines()
    return found


def months(first: datetime, count: int, apart: int) -> list[datetime]:
    return [first + relativedelta(months=apart * number) for number in range(count)]


def month_ends(count: int) -> list[datetime]:
    return [datetime(2019, 12, 1) + relativedelta(months=number, day=31) for number in range(count)]


def business_month_ends(count: int) -> list[datetime]:
    rule = rrule(
        MONTHLY, byweekday=(MO, TU, WE, TH, FR), bysetpos=-1, dtstart=datetime(2021, 1, 1), count=count
    )
    return list(rule)


def weekdays(first: datetime, count: int) -> list[datetime]:
    days = (first + timedelta(days=number) for number in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


SERIES = {
    "months": months(datetime(2018, 1, 1), 23, 1),
    "the thirtieth of each month": months(datetime(2019, 9, 30), 23, 1),
    "month ends": month_ends(23),
    "month ends of a year": month_ends(12),
    "last business days": business_month_ends(26),
    "quarters": months(datetime(2010, 4, 1), 19, 3),
    "years": months(datetime(1990, 1, 1), 23, 12),
    "leap days": months(datetime(1992, 2, 29), 12, 48),
    "weeks": [datetime(2024, 1, 3) + timedelta(weeks=number) for number in range(20)],
    "business days": weekdays(datetime(2024, 1, 1), 33),
    "days": [datetime(2024, 2, 1) + timedelta(days=number) for number in range(26)],
    "half hours": [datetime(2024, 2, 28, 12) + timedelta(minutes=30 * number) for number in range(60)],
    "seconds": [datetime(2024, 2, 28, 23, 59) + timedelta(seconds=number) for number in range(50)],
}


@pytest.mark.parametrize("times", SERIES.values(), ids=SERIES)
def test_dates_beyond_the_end_follow_the_calendar(tmp_path: Path, times: list[datetime]) -> None:
    """The last three dates of each series are kept back, and must be what is forecast."""
    assert beyond(forecast(tmp_path, times[:-3])) == times[-3:]


NAMES = {
    "months": "1 month",
    "month ends": "1 month (last day)",
    "last business days": "1 month (last business day)",
    "quarters": "1 quarter",
    "years": "1 year",
    "weeks": "1 week",
    "business days": "1 business day",
    "half hours": "30 minutes",
}


@pytest.mark.parametrize(("series", "name"), NAMES.items(), ids=NAMES)
def test_the_step_is_said(tmp_path: Path, capsys: Any, series: str, name: str) -> None:
    (line,) = lines_of(tmp_path, written(SERIES[series]), capsys=capsys)
    rows = len(SERIES[series])
    assert line == f"t.csv: {rows} rows in 1 series, {name} apart, make {rows - 6} windows."


def test_numbers_as_time(tmp_path: Path) -> None:
    assert beyond(forecast(tmp_path, range(0, 40, 5))) == [40, 45, 50]
    np.testing.assert_allclose(beyond(forecast(tmp_path, np.arange(9) * 0.1)), [0.9, 1.0, 1.1], rtol=1e-6)


COMPACT = [("%Y%m", "MS"), ("%Y%m%d", "D"), ("%Y%m%d", "ME"), ("%Y%m%d%H", "h"), ("%Y%m%d%H%M", "15min"),
           ("%Y%m%d%H%M%S", "s")]  # fmt: skip


@pytest.mark.parametrize(("form", "every"), COMPACT)
def test_dates_written_as_one_number_are_dates(tmp_path: Path, form: str, every: str) -> None:
    """Of csv files, parquet and arrays: a month 13 follows no December."""
    times = pandas.date_range("2023-10-30 23:58", periods=68, freq=every)
    numbers = np.array([int(one.strftime(form)) for one in times[:-3]])
    expected = (
        pandas.to_datetime([one.strftime(form) for one in times[-3:]], format=form).to_pydatetime().tolist()
    )
    assert beyond(forecast(tmp_path, numbers.tolist())) == expected
    table = pa.table({"when": pa.array(numbers), "v": pa.array(np.arange(65.0))})
    assert beyond(forecast(tmp_path, (), content=table, name="t.parquet")) == expected


def test_numbers_stay_numbers_where_they_are_no_dates_or_their_step_is_one(tmp_path: Path) -> None:
    assert beyond(forecast(tmp_path, range(20230120, 20230160))) == [20230160, 20230161, 20230162]
    assert beyond(forecast(tmp_path, range(1995, 2011))) == [2011, 2012, 2013]
    assert beyond(forecast(tmp_path, range(20230101, 20230121), ", step: 1")) == [
        20230121,
        20230122,
        20230123,
    ]


def test_each_series_has_its_own_step(tmp_path: Path) -> None:
    sites = {"a": months(datetime(2020, 1, 1), 9, 1), "b": [datetime(2020, 1, 1, hour) for hour in range(20)],
             "c": weekdays(datetime(2024, 1, 5), 12)}  # fmt: skip
    rows = [(site, when) for site, times in sites.items() for when in times]
    table = {"site": [site for site, _ in rows], "when": [when for _, when in rows], "v": range(len(rows))}
    part = forecast(tmp_path, (), ", group: site, features: [v]", csv(table))
    labels = {key: part.samples.all_of(rows) for key, rows in part.samples.labels.items()}
    assert isinstance(part.assembled, Windowed) and part.assembled.times is not None
    times = part.samples.all_of(part.assembled.times)
    last = {site: times[np.flatnonzero(labels["group"] == site)[-1]].tolist() for site in sites}
    assert last["a"] == months(datetime(2020, 10, 1), 3, 1)
    assert last["b"] == [datetime(2020, 1, 1, hour) for hour in (20, 21, 22)]
    assert last["c"] == weekdays(datetime(2024, 1, 5), 15)[-3:]
    line = part.assembled.timeline
    assert line is not None
    after_the_first = line.beyond(line.series[:, 0], np.ones(3, np.int64)).tolist()
    assert after_the_first == [datetime(2020, 2, 1), datetime(2020, 1, 1, 1), datetime(2024, 1, 8)]


def test_a_short_file_takes_the_step_of_the_training(tmp_path: Path) -> None:
    """Monday to Friday alone may be days or business days."""
    week = weekdays(datetime(2024, 3, 4), 5)
    files = {"t.csv": written(weekdays(datetime(2024, 1, 1), 30)), "week.csv": written(week)}
    data = DATA % (WINDOW, "")
    learned = prepared(tmp_path, data, files, rest=REST).preprocessing
    spec = spec_of(tmp_path, data, files, rest=REST + "predict: [week.csv]\n")
    assert beyond(to_predict(spec, {"path": "week.csv"}, learned)) == weekdays(datetime(2024, 3, 11), 3)


# Given


def test_a_step_that_is_given(tmp_path: Path) -> None:
    """Hours that are recorded some seconds late."""
    late = [datetime(2024, 1, 1) + timedelta(hours=n, seconds=(7 * n) % 11) for n in range(20)]
    assert beyond(forecast(tmp_path, late, ", step: 1h")) == [
        late[-1] + timedelta(hours=n) for n in (1, 2, 3)
    ]


def test_no_step_no_dates(tmp_path: Path) -> None:
    assert beyond(forecast(tmp_path, SERIES["days"], ", step: none")) == [None] * 3
    assert np.isnan(beyond(forecast(tmp_path, range(20), ", step: none"))).all()


@pytest.mark.parametrize(
    ("times", "step", "expected"),
    [
        (range(10), "1h", "column when: holds numbers, and data.step is 1h; expected a step as a number"),
        (
            SERIES["days"],
            "1",
            "column when: holds times, and data.step is 1; expected a step such as 1h, 1d or 1mo",
        ),
    ],
)
def test_a_step_of_another_kind_is_refused(tmp_path: Path, times: Any, step: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        prepared(tmp_path, DATA % (WINDOW, f", step: {step}"), {"t.csv": written(times)}, rest=REST)
    assert str(error.value) == f"t.csv: {expected}"


# Gaps


def hours(count: int, first: datetime = datetime(2024, 1, 1)) -> list[datetime]:
    return [first + timedelta(hours=number) for number in range(count)]


def test_windows_end_where_rows_are_absent(tmp_path: Path, capsys: Any) -> None:
    times = hours(40)
    del times[20:25], times[10]
    content = written(times)
    first, second = lines_of(tmp_path, content, capsys=capsys)
    assert first == (
        "t.csv: 34 rows in 1 series, 1 hour apart, make 16 windows; left out: 12 windows "
        "that would cross a gap in time."
    )
    assert second == (
        "t.csv: column when: 6 rows are absent in 2 gaps (row 12: 2024-01-01 09:00 to 2024-01-01 11:00, row 21: "
        "2024-01-01 19:00 to 2024-01-02 01:00); no window crosses them (data.step: none lets windows do so)."
    )
    part = prepared(tmp_path, DATA % (WINDOW, ""), {"t.csv": content}, rest=REST).train
    x, y = map(alone, part.samples.batch(np.arange(len(part.samples)))[:2])
    rows = np.concatenate([x[:, :, 0], y[:, :, 0]], axis=1).astype(int)
    stamps = np.array(times, "M8[s]")[rows]
    assert (np.diff(stamps, axis=1) == np.timedelta64(1, "h")).all()
    without = prepared(tmp_path, DATA % (WINDOW, ", step: none"), {"t.csv": content}, rest=REST).train
    assert len(without.samples) == 34 - 6


def test_rows_of_the_file_are_named_where_series_stand_mixed(tmp_path: Path, capsys: Any) -> None:
    times = [one for one in hours(20) for _ in "ab"]
    table: dict[str, Sequence[Any]] = {"when": times, "site": list("ab") * 20, "v": range(40)}
    kept = [row for row in range(40) if row != 20]  # the eleventh hour of site a
    content = csv({key: [values[row] for row in kept] for key, values in table.items()})
    line = lines_of(tmp_path, content, ", group: site, features: [v]", capsys)[1]
    assert "1 row is absent in 1 gap (row 23: 2024-01-01 09:00 to 2024-01-01 11:00)" in line


def test_doubled_and_odd_times_are_said_and_end_windows(tmp_path: Path, capsys: Any) -> None:
    times = hours(40)
    times[12] = times[11]
    times[30] += timedelta(minutes=20)
    text = "\n".join(lines_of(tmp_path, written(times), capsys=capsys))
    assert "1 row has the time of the row before (row 14: 2024-01-01 11:00); no window crosses them" in text
    assert "2 rows do not come a whole number of steps after the row before (row 32" in text


def test_irregular_times_are_said_and_cut_nothing(tmp_path: Path, capsys: Any) -> None:
    apart = np.random.default_rng(0).integers(1, 10_000, 60)
    times = (np.datetime64("2024-01-01T00:00:00") + np.cumsum(apart).astype("m8[s]")).tolist()
    first, second = lines_of(tmp_path, written(times), capsys=capsys)
    assert first == "t.csv: 60 rows in 1 series, whose times have no step, make 54 windows."
    assert "have no step that most rows keep" in second
    assert beyond(forecast(tmp_path, times)) == [None] * 3
    capsys.readouterr()
    assert len(lines_of(tmp_path, written(times), ", step: none", capsys)) == 1


def test_times_that_are_roughly_regular(tmp_path: Path, capsys: Any) -> None:
    late = [datetime(2024, 1, 1) + timedelta(minutes=10 * n, seconds=(17 * n) % 31) for n in range(50)]
    del late[20:40]
    first, second = lines_of(tmp_path, written(late), capsys=capsys)
    assert "30 rows in 1 series, about 10 minutes apart, make 18 windows" in first
    assert "20 rows are absent in 1 gap" in second


def test_holidays_are_said_and_end_no_window_but_where_business_days_are_asked_for(
    tmp_path: Path, capsys: Any
) -> None:
    days = weekdays(datetime(2024, 3, 1), 60)
    days = [day for day in days if day not in (datetime(2024, 3, 29), datetime(2024, 4, 1))]
    first, second = lines_of(tmp_path, written(days), capsys=capsys)
    assert first == "t.csv: 58 rows in 1 series, 1 business day apart, make 52 windows."
    assert (
        "2 rows are absent in 1 gap (row 22: 2024-03-28 00:00 to 2024-04-02 00:00); windows go on" in second
    )
    (strict, _) = lines_of(tmp_path, written(days), ", step: business day", capsys)
    assert "make 46 windows; left out: 6 windows that would cross a gap in time" in strict


def test_rows_of_several_sites_without_a_group(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows have the time of the row before; .* in data.group"):
        prepared(tmp_path, DATA % (WINDOW, ""), {"t.csv": written(sorted(hours(10) * 3))}, rest=REST)


# Summer time


def berlin(first: datetime, count: int, minutes: int = 60) -> list[datetime]:
    """As a clock on a wall in Berlin shows them, without saying so."""
    instants = [first + timedelta(minutes=minutes * number) for number in range(count)]
    return [one.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None) for one in instants]


@pytest.mark.parametrize("more", ["", ", timezone: Europe/Berlin", ", step: 15min"])
@pytest.mark.parametrize("minutes", [60, 30, 15])
@pytest.mark.parametrize(
    "first", [datetime(2021, 3, 27, 12, tzinfo=UTC), datetime(2021, 10, 30, 12, tzinfo=UTC)]
)
def test_summer_time_ends_no_window_and_is_said(
    tmp_path: Path, capsys: Any, first: datetime, minutes: int, more: str
) -> None:
    times = berlin(first, 200, minutes)
    more = more.replace("15min", f"{minutes}min")
    head, *said = lines_of(tmp_path, written(times), more, capsys)
    assert head.endswith("make 194 windows.")
    assert len(said) == (0 if "timezone" in more else 1)
    assert not said or "on the clocks of Europe/Berlin: windows go on across it" in said[0]


def test_a_gap_beside_the_change_of_summer_time(tmp_path: Path, capsys: Any) -> None:
    times = berlin(datetime(2021, 3, 27, tzinfo=UTC), 120)
    absent = times[60:70]
    kept = [one for one in times if one not in absent]
    head, _, gap = lines_of(tmp_path, written(kept), capsys=capsys)
    assert "10 rows are absent in 1 gap" in gap and "make 98 windows" in head
    days = np.array(kept, "M8[s]")
    wrong = np.delete(days, np.flatnonzero(days == np.datetime64("2021-03-29T05:00:00")))
    text = "\n".join(lines_of(tmp_path, written(wrong.tolist()), capsys=capsys))
    assert "11 rows are absent in 2 gaps" in text  # an hour that no zone leaves out


def test_dates_of_forecasts_go_over_the_change_of_summer_time(tmp_path: Path) -> None:
    times = berlin(datetime(2021, 3, 27, 2, tzinfo=UTC), 24)
    assert times[-1] == datetime(2021, 3, 28, 3)
    part = forecast(tmp_path, times[:-2], ", timezone: Europe/Berlin")
    assert beyond(part) == [datetime(2021, 3, 28, hour) for hour in (1, 3, 4)]


@pytest.mark.parametrize("more", ["", ", timezone: Europe/Berlin"])
@pytest.mark.parametrize("hours_apart", [2, 3, 6, 12])
def test_rows_so_far_apart_that_they_meet_the_doubled_hour_once_go_on_across_it(
    tmp_path: Path, capsys: Any, hours_apart: int, more: str
) -> None:
    """01:00 UTC is the second 02:00 of that night in Berlin."""
    first = datetime(2021, 10, 31, 1, tzinfo=UTC) - timedelta(hours=20 * hours_apart)
    times = berlin(first, 60, 60 * hours_apart)
    head, *said = lines_of(tmp_path, written(times), more, capsys)
    assert head.endswith("make 54 windows.")
    assert len(said) == (0 if more else 1)
    assert not said or "on the clocks of Europe/Berlin: windows go on across it" in said[0]


@pytest.mark.parametrize("minutes", [15, 20, 30, 60])
@pytest.mark.parametrize("more", range(8))
def test_forecasts_begin_in_that_of_the_two_hours_in_which_the_series_ends(
    tmp_path: Path, minutes: int, more: int
) -> None:
    first = datetime(2021, 10, 31, tzinfo=UTC) - timedelta(minutes=40 * minutes)
    times = berlin(first, 44 + more, minutes)
    part = forecast(tmp_path, times[:-3], ", timezone: Europe/Berlin")
    assert beyond(part) == times[-3:]


def test_a_series_may_begin_in_the_second_of_the_two_hours(tmp_path: Path, capsys: Any) -> None:
    for minutes in (15, 60, 180):
        times = berlin(datetime(2021, 10, 31, 1, tzinfo=UTC), 30, minutes)
        assert lines_of(tmp_path, written(times), ", timezone: Europe/Berlin", capsys)[0].endswith(
            "make 24 windows."
        )


def test_days_of_a_zone_have_23_or_25_hours(tmp_path: Path) -> None:
    """Midnights in Berlin, which parquet keeps as instants with the zone."""
    zone = ZoneInfo("Europe/Berlin")
    days = [datetime(2021, 3, 8, tzinfo=zone) + timedelta(days=number) for number in range(23)]
    column = pa.array(days[:-3], pa.timestamp("us", "Europe/Berlin"))
    table = pa.table({"when": column, "v": pa.array(np.arange(20.0))})
    part = forecast(tmp_path, (), content=table, name="t.parquet")
    assert beyond(part) == [one.astimezone(UTC).replace(tzinfo=None) for one in days[-3:]]


def test_days_with_an_offset_are_told_of_the_zone_that_they_lack(tmp_path: Path, capsys: Any) -> None:
    zone = ZoneInfo("Europe/Berlin")
    days = [(datetime(2021, 3, 8, tzinfo=zone) + timedelta(days=number)).isoformat() for number in range(30)]
    head, odd = lines_of(tmp_path, written(days), capsys=capsys)
    assert "1 day apart" in head and "make 18 windows" in head and odd.endswith("data.timezone names it.")
    (head,) = lines_of(tmp_path, written(days), ", timezone: Europe/Berlin", capsys)
    assert "make 24 windows" in head


def test_an_unknown_zone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.timezone: Europe/Berlim is no zone"):
        prepared(
            tmp_path, DATA % (WINDOW, ", timezone: Europe/Berlim"), {"t.csv": written(hours(20))}, rest=REST
        )


# What is left out


def test_each_notice_is_said_once(tmp_path: Path, capsys: Any) -> None:
    times = hours(40)
    del times[10]
    with notices.once():
        forecast(tmp_path, times)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(set(said)) == 3


def test_all_that_is_left_out_is_counted(tmp_path: Path) -> None:
    times = hours(30)
    v = np.arange(30.0)
    v[[12, 20]] = np.nan
    groups = ["a"] * 25 + ["b"] * 5
    content = csv({"when": times, "g": groups, "v": ["" if one != one else one for one in v]})
    found = {}
    for handling in ("drop", "fill"):
        more = f", group: g, missing: {handling}, features: [v]"
        (account,) = prepared(tmp_path, DATA % (WINDOW, more), {"t.csv": content}, rest=REST).accounts
        found[handling] = account
    short = ("groups", 1, "shorter than a window of 7 rows", ("b: 5 rows",))
    drop = [(one.what, one.count, one.why, one.where) for one in found["drop"].left_out]
    assert drop[0] == (
        "rows",
        2,
        "with missing values",
        ("row 14: 2024-01-01 12:00", "row 22: 2024-01-01 20:00"),
    )
    assert drop[1] == short
    # rows 0 to 11, 13 to 19 and 21 to 24: 6, 1 and no windows of 7 rows; 19 if none were missing
    assert drop[2][:2] == ("rows", 4) and drop[3][:2] == ("windows", 12) and found["drop"].makes == 7
    fill = [(one.what, one.count, one.why) for one in found["fill"].left_out]
    targets = [set(range(start + 4, start + 7)) for start in range(19)]
    lost = sum(bool(rows & {12, 20}) for rows in targets)
    assert fill == [short[:3], ("windows", lost, "whose target is missing")]
    assert found["fill"].makes == 19 - lost


def test_groups_that_a_part_lacks_are_named(tmp_path: Path, capsys: Any) -> None:
    groups = ["long"] * 60 + ["short"] * 10
    content = csv({"when": [*hours(60), *hours(10)], "g": groups, "v": range(70)})
    more = ", group: g, features: [v], split: {method: chronological, test: 0.2}"
    text = "\n".join(lines_of(tmp_path, content, more, capsys))
    assert "1 group is too short to have a window in the test part (short)." in text


# Times of arrays


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M:%S+02:00"]
)
def test_times_of_arrays_that_are_text_are_read_as_those_of_tables(tmp_path: Path, form: str) -> None:
    times = pandas.date_range("2024-02-28", periods=43, freq="h")
    text = np.array([one.strftime(form) for one in times[:-3]])
    data = f"{{train: t.npz, x: v, time: when, {WINDOW}}}"
    files = {"t.npz": {"v": np.arange(40.0)[:, None], "when": text}}
    spec = spec_of(tmp_path, data, files, rest=REST)
    learned = prepared(tmp_path, data, files, rest=REST).preprocessing
    expected = times[-3:] - pandas.Timedelta(hours=2 * form.endswith("02:00"))
    assert beyond(to_predict(spec, {"path": "t.npz"}, learned)) == expected.to_pydatetime().tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [("noon", r"array when: holds 'noon' \(row 8\); expected times such as 2026-01-31 12:00"),
     ("01/02/2024", r"in which the day or the month may stand first; expected an array of datetime64")],
)  # fmt: skip
def test_text_that_is_no_time_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    days = [f"0{number}/02/2024" if text != "noon" else f"2024-02-0{number}" for number in range(1, 8)]
    files = {"t.npz": {"v": np.arange(8.0)[:, None], "when": np.array([*days, text])}}
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, f"{{train: t.npz, x: v, time: when, {WINDOW}}}", files, rest=REST)


@pytest.mark.parametrize(
    ("after", "expected"),
    [(2.0, (1, True)), (2.00005, (1, True)), (2.05, (1, False)), (3.0, (2, True)), (2.4, (1, False))],
)
def test_numbers_are_a_step_apart_but_for_what_floats_lose(after: float, expected: tuple[int, bool]) -> None:
    count, is_exact = calendar.moves(Step("number", 1.0), np.array([1.0]), np.array([after]))
    assert (int(count[0]), bool(is_exact[0])) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-01-05T09", (1, True)),  # Friday to Monday
        ("2026-01-05T10", (1, False)),  # at another hour
        ("2026-01-06T09", (2, True)),
        ("2026-01-03T09", (1, False)),  # a Saturday
    ],
)
def test_days_of_business_are_at_the_same_hour(after: str, expected: tuple[int, bool]) -> None:
    before, then = (np.array([text], "datetime64[s]") for text in ("2026-01-02T09", after))
    count, is_exact = calendar.moves(Step("business days", 1), before, then)
    assert (int(count[0]), bool(is_exact[0])) == expected
