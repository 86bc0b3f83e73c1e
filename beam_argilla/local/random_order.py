"""An order of records that looks random, is another one for each user, and stays the same for one user.

Annotators who work at the same time so meet different records first.
"""

import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Float, Integer, cast, literal, literal_column

# Products of two numbers below it fit into the 63 bits that SQLite has for one.
_PRIME = 2**31 - 1
_ROW: ColumnElement[int] = literal_column('records.rowid', Integer)


def random_number(user_id: UUID) -> ColumnElement[Any]:
    """The SQL of a number in [0, 1) for each record, which depends on the user and the record alone."""
    digest = hashlib.blake2b(user_id.bytes, digest_size=8).digest()
    factor, offset = (1 + int.from_bytes(part, 'big') % (_PRIME - 1) for part in (digest[:4], digest[4:]))
    row = _ROW % literal(_PRIME)
    # Arithmetic, for a function of Python's would be called for each record of a dataset.
    mixed = ((row * literal(factor)) % literal(_PRIME) * ((row + literal(offset)) % literal(_PRIME))) % literal(_PRIME)
    return cast(mixed, Float) / literal(float(_PRIME))
