"""Values in filters, as text or number, read for a property of some type."""

import math
from datetime import datetime

import pytest

from beam_argilla.local.search_values import ValueFormatError, to_date, to_number


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('5', 5),
        (' -5 ', -5),
        ('5.0', 5.0),
        ('1e3', 1000.0),
        ('.5', 0.5),
        (2.5, 2.5),
        ('9007199254740993', 9007199254740993),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), math.inf),
        (str(-(2**63) - 1), -math.inf),
        ('1e999', math.inf),
    ],
)
def test_to_number(value, expected):
    number = to_number(value)
    assert number == expected
    assert type(number) is type(expected)


@pytest.mark.parametrize('value', ['', 'five', '0x10', '1_000', '٥', 'nan', 'inf', '1,5', '5; DROP TABLE records'])
def test_not_a_number(value):
    with pytest.raises(ValueFormatError, match='not a number'):
        to_number(value)


def test_a_number_with_very_many_digits():
    """Python itself refuses to convert more than 4,300 digits."""
    assert to_number('1' * 5000) == math.inf


@pytest.mark.parametrize(
    ('value', 'first', 'last'),
    [
        ('2024-02-29', datetime(2024, 2, 29), datetime(2024, 2, 29, 23, 59, 59, 999_999)),
        ('2024', datetime(2024, 1, 1), datetime(2024, 1, 1, 23, 59, 59, 999_999)),
        ('2024-02-29T10', datetime(2024, 2, 29, 10), datetime(2024, 2, 29, 10, 59, 59, 999_999)),
        ('2024-02-29T10:20', datetime(2024, 2, 29, 10, 20), datetime(2024, 2, 29, 10, 20, 59, 999_999)),
        ('2024-02-29 10:20:30', datetime(2024, 2, 29, 10, 20, 30), datetime(2024, 2, 29, 10, 20, 30, 999_999)),
        ('2024-02-29T10:20:30.5', *[datetime(2024, 2, 29, 10, 20, 30, 500_000)] * 2),
        ('2024-02-29T10:20:30.123456789Z', *[datetime(2024, 2, 29, 10, 20, 30, 123_456)] * 2),
        ('2024-02-29T10:20:30.0+02:00', *[datetime(2024, 2, 29, 8, 20, 30)] * 2),
        ('2024-02-29T10:20:30.0-0230', *[datetime(2024, 2, 29, 12, 50, 30)] * 2),
        ('2024-02-29T00:00:00.0', *[datetime(2024, 2, 29)] * 2),
        ('1700000000000', *[datetime(2023, 11, 14, 22, 13, 20)] * 2),
        (1700000000000.0, *[datetime(2023, 11, 14, 22, 13, 20)] * 2),
    ],
)
def test_to_date(value, first, last):
    assert to_date(value, end=False) == first
    assert to_date(value, end=True) == last


@pytest.mark.parametrize('value', ['', 'today', '2024-13-01', '2023-02-29', '2024-02-29T25', 1e300, math.nan, '9' * 30])
def test_not_a_date(value):
    with pytest.raises(ValueFormatError, match='not a date'):
        to_date(value, end=False)
