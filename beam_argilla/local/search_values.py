"""Values in filters: what a user sends, read as Elasticsearch would read it for a property of some type."""

import enum
import math
import re
from datetime import datetime, timedelta, timezone


class Kind(enum.Enum):
    """How values of a property compare: the types of argilla-server's Elasticsearch mapping."""

    KEYWORD = 'keyword'
    NUMBER = 'number'
    DATE = 'date'
    NOT_INDEXED = 'not indexed'
    """Texts, rankings and spans: Elasticsearch knows nothing of them, so no filter finds them."""


class ValueFormatError(ValueError):
    """A value that means nothing for the property. The message is fit for the user."""


_NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?', re.ASCII)
_DATE = re.compile(
    r'(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d))?)?'
    r'([T ](?P<hour>\d\d)(:(?P<minute>\d\d)(:(?P<second>\d\d)([.,](?P<fraction>\d+))?)?)?)?'
    r'\s*(?P<zone>Z|[+-]\d\d(:?\d\d)?)?',
    re.ASCII,
)
_SQLITE_INTEGERS = range(-(2**63), 2**63)
_EPOCH = datetime(1970, 1, 1)


def to_number(value: float | str) -> float:
    """The number that a value is: an int, exactly, if it is written as one and SQLite can hold it.

    Raises:
      ValueFormatError: It is not a number.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise ValueFormatError(f'{value!r} is not a number')
        try:
            number: float = int(text)
        except ValueError:
            number = float(text)
    else:
        number = value
    return number if isinstance(number, float) or number in _SQLITE_INTEGERS else math.copysign(math.inf, number)


def to_date(value: float | str, end: bool) -> datetime:
    """The moment that a value is, without a time zone, in UTC.

    Args:
      value: An ISO 8601 text, which may be cut short, or milliseconds since 1970.
      end: For a text that is cut short: whether to take the last moment that it may mean, or the first.

    Raises:
      ValueFormatError: It is not a date.
    """
    try:
        if not isinstance(value, str):
            return _EPOCH + timedelta(milliseconds=value)
        found = _DATE.fullmatch(value.strip())
        if found:
            return _date_of(found, end)
        return _EPOCH + timedelta(milliseconds=int(value))
    except (ValueError, OverflowError):
        raise ValueFormatError(f'{value!r} is not a date such as 2024-12-31T23:59:59') from None


def _date_of(found: 're.Match[str]', end: bool) -> datetime:
    part = found.groupdict()
    fraction = part['fraction']
    microsecond = int(fraction[:6].ljust(6, '0')) if fraction else 999_999 * end
    date = datetime(
        int(part['year']),
        int(part['month'] or 1),
        int(part['day'] or 1),
        int(part['hour'] or 23 * end),
        int(part['minute'] or 59 * end),
        int(part['second'] or 59 * end),
        microsecond,
    )
    if part['zone'] in (None, 'Z'):
        return date
    hours, minutes = int(part['zone'][:3]), int(part['zone'][3:].lstrip(':') or 0)
    zone = timezone(timedelta(hours=hours, minutes=math.copysign(minutes, hours)))
    return date.replace(tzinfo=zone).astimezone(timezone.utc).replace(tzinfo=None)
