"""Many rows between us and the database's driver, without what SQLAlchemy does for each.

It makes the values of a row ready for the driver by way of two dictionaries, which took a fifth of the time of bulk
requests, and those of a row that it reads one by one, which took a sixth of the time of a page of 1,000 records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import JSON, DateTime, Dialect, Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine


async def execute(db: AsyncSession, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> None:
    """Executes a statement for each of some rows.

    Args:
      rows: Name of a column, or of a parameter of the statement → value; one at least, and all with the same names.
    """
    connection = await db.connection()
    compiled: Any = statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
    columns = []
    for name in compiled.positiontup:  # both drivers number their parameters
        type_ = compiled.binds[name].type
        columns.append(_ready(type_, connection.dialect, [row[name] for row in rows]))
    await connection.exec_driver_sql(compiled.string, list(zip(*columns, strict=True)))


async def read(db: AsyncSession, query: Select[Any]) -> Sequence[tuple[Any, ...]]:
    """The rows that a query finds, with each value as the driver has it: ids and times are texts in SQLite."""
    connection = await db.connection()
    with await connection.execute(query) as result:
        return cast(Any, result).cursor.fetchall()


def _ready(type_: TypeEngine[Any], dialect: Dialect, values: list[Any]) -> list[Any]:
    """Values of a type, as the driver takes them."""
    ready = type_.dialect_impl(dialect).bind_processor(dialect)
    if ready is None:
        return values
    if isinstance(type_, JSON):
        return [ready(value) for value in values]
    if isinstance(type_, DateTime):  # there is something to do in SQLite alone, where isoformat is five times as fast
        known = {value: value.isoformat(' ', 'microseconds') for value in set(values)}
    else:
        known = {value: ready(value) for value in set(values)}
    return [known[value] for value in values]
