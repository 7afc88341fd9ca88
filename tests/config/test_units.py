from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.config.units import BYTES, LARGEST, LONGEST, SECONDS, duration, size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30.0),
        (30, 30.0),
        (0.25, 0.25),
        ("0", 0.0),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        (" 2H ", 7200.0),
        ("366d", LONGEST),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "-1",
        -1,
        "5 m",
        "5x",
        "m",
        "5m3",
        "1e999",
        "inf",
        "nan",
        math.inf,
        math.nan,
        True,
        None,
        [],
        "367d",
        "٣٠",
        "9" * 41,
    ],
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write seconds"):
        duration(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("33554432", 2**25),
        (1, 1),
        ("32MiB", 2**25),
        ("12GB", 12 * 10**9),
        ("5mb", 5_000_000),
        ("1.5 GiB", 3 * 2**29),
        ("1b", 1),
        ("2kib", 2048),
    ],
)
def test_sizes(written: object, count: int) -> None:
    assert size(written) == count


@pytest.mark.parametrize(
    "written", ["", "12G", "-1", "1.5", 1.5, "GiB", "1 XB", True, None, "1e9", 2**61, "9999999TiB", math.nan]
)
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="is not a size: write bytes"):
        size(written)


@given(st.integers(0, 10**6), st.sampled_from(sorted(SECONDS)))
def test_a_duration_with_unit_is_the_number_times_the_unit(number: int, unit: str) -> None:
    expected = number * SECONDS[unit]
    if expected <= LONGEST:
        assert duration(f"{number}{unit}") == pytest.approx(expected)


@given(st.integers(0, 10**6), st.sampled_from(sorted(BYTES)))
def test_a_size_with_unit_is_the_number_times_the_unit(number: int, unit: str) -> None:
    expected = number * BYTES[unit]
    if expected <= LARGEST:
        assert size(f"{number}{unit}") == expected
        assert size(expected) == expected


@given(st.text(max_size=60) | st.floats() | st.integers() | st.none())
def test_anything_is_a_bounded_value_or_a_value_error(written: object) -> None:
    for read, most in ((duration, LONGEST), (size, LARGEST)):
        try:
            value = read(written)
        except ValueError:
            continue
        assert 0 <= value <= most
