"""The full-text index: an FTS5 table in argilla-server's own database, kept by triggers.

A trigger is part of the transaction that it reacts to. So a record is never in the database without being searchable,
or the other way round, whatever happens to the server, and nothing is ever re-indexed.

Each record is one row, and each field of its dataset one column, by the order of the fields. So a word may be searched
for in all fields or in one, and a phrase never reaches from one field into the next.
"""

import sqlite3
from collections.abc import Callable

from beam_argilla.local.text import indexed_text
from beam_argilla.local.words import TOKENIZER

# A dataset with more fields is fine; from this one on they share the last column, so they are found together.
COLUMNS = 32

TEXT_FUNCTION = 'beam_argilla_text'
# Another version is another way to cut words: an index of the older one is made anew.
TEXT_TABLE = 'beam_argilla_text_v2'
INDEX_TABLE = 'beam_argilla_index_v2'
WORDS_TABLE = 'beam_argilla_words_v2'
_PREFIX = 'beam_argilla_'

_COLUMN_NAMES = [f'f{i}' for i in range(COLUMNS)]
_LIST = ', '.join(_COLUMN_NAMES)
_NEW = ', '.join(f'new.{name}' for name in _COLUMN_NAMES)
_OLD = ', '.join(f'old.{name}' for name in _COLUMN_NAMES)
_PICKED = ',\n'.join(
    [f'max(CASE WHEN position = {i} THEN body END)' for i in range(COLUMNS - 1)]
    + [f"group_concat(CASE WHEN position >= {COLUMNS - 1} THEN body END, ' ')"]
)


_BODY = f"""CASE WHEN json_extract(fields.settings, '$.type') <> 'image' AND entry.value IS NOT NULL THEN
          {TEXT_FUNCTION}(CAST(entry.value AS BLOB), json_extract(fields.settings, '$.type'))
        END AS body"""


def _entries(fields: str) -> str:
    # Python writes NaN into JSON where SQLite takes it for an error, which would make the whole request fail.
    return f"""LEFT JOIN json_each(CASE WHEN json_valid({fields}) THEN {fields} END) AS entry
        ON entry.key = fields.name"""


def _insert_texts(record_id: str, fields: str, dataset_id: str) -> str:
    """The statement that takes the texts out of one record, whose columns are these SQL expressions."""
    return f"""
    INSERT INTO {TEXT_TABLE} (record_id, {_LIST})
    SELECT {record_id}, {_PICKED} FROM (
      SELECT row_number() OVER (ORDER BY fields.inserted_at, fields.id) - 1 AS position, {_BODY}
      FROM fields {_entries(fields)}
      WHERE fields.dataset_id = {dataset_id}
    )"""


_INSERT_NEW = _insert_texts('new.id', 'new.fields', 'new.dataset_id')

# Fields of a draft may be removed, also where it has records: those behind them move up a column. (Those of a dataset
# that is removed as a whole go after it.)
_FIELDS_DELETE = f"""CREATE TRIGGER IF NOT EXISTS {_PREFIX}fields_delete_v2 AFTER DELETE ON fields
    WHEN EXISTS (SELECT 1 FROM datasets WHERE id = old.dataset_id) BEGIN
      DELETE FROM {TEXT_TABLE} WHERE record_id IN (SELECT id FROM records WHERE dataset_id = old.dataset_id);
      INSERT INTO {TEXT_TABLE} (record_id, {_LIST})
      SELECT record_id, {_PICKED} FROM (
        SELECT
          records.id AS record_id,
          row_number() OVER (PARTITION BY records.id ORDER BY fields.inserted_at, fields.id) - 1 AS position,
          {_BODY}
        FROM records JOIN fields ON fields.dataset_id = records.dataset_id {_entries('records.fields')}
        WHERE records.dataset_id = old.dataset_id
      ) GROUP BY record_id;
    END"""

_SCHEMA = [
    # The texts are kept next to the index: FTS5 must be told the old text to remove it, and the record may be gone.
    f'CREATE TABLE {TEXT_TABLE} (id INTEGER PRIMARY KEY, record_id CHAR(32) NOT NULL UNIQUE, {_LIST})',
    f"""CREATE VIRTUAL TABLE {INDEX_TABLE} USING fts5(
      {_LIST}, content={TEXT_TABLE}, content_rowid=id, tokenize="{TOKENIZER}"
    )""",
    f"CREATE VIRTUAL TABLE {WORDS_TABLE} USING fts5vocab({INDEX_TABLE}, 'row')",
    f"""CREATE TRIGGER {TEXT_TABLE}_insert AFTER INSERT ON {TEXT_TABLE} BEGIN
      INSERT INTO {INDEX_TABLE} (rowid, {_LIST}) VALUES (new.id, {_NEW});
    END""",
    f"""CREATE TRIGGER {TEXT_TABLE}_delete AFTER DELETE ON {TEXT_TABLE} BEGIN
      INSERT INTO {INDEX_TABLE} ({INDEX_TABLE}, rowid, {_LIST}) VALUES ('delete', old.id, {_OLD});
    END""",
    f"""CREATE TRIGGER {_PREFIX}records_insert_v2 AFTER INSERT ON records BEGIN
      {_INSERT_NEW};
    END""",
    f"""CREATE TRIGGER {_PREFIX}records_update_v2 AFTER UPDATE OF fields ON records
    WHEN new.fields IS NOT old.fields BEGIN
      DELETE FROM {TEXT_TABLE} WHERE record_id = old.id;
      {_INSERT_NEW};
    END""",
    f"""CREATE TRIGGER {_PREFIX}records_delete_v2 AFTER DELETE ON records BEGIN
      DELETE FROM {TEXT_TABLE} WHERE record_id = old.id;
    END""",
]


def add_functions(connection: sqlite3.Connection) -> None:
    """Gives a connection the function that the triggers call. Every connection that writes needs it."""
    # Some builds of SQLite refuse functions in triggers by default.
    connection.execute('PRAGMA trusted_schema = ON')
    connection.create_function(TEXT_FUNCTION, 2, indexed_text, deterministic=True)


def ensure_index(connection: sqlite3.Connection, tell: Callable[[str], None]) -> None:
    """Makes the index, with all records in it, if it is not there or not complete.

    It is not after the first migration of a new database, after one that made the table of the records anew, since that
    drops the triggers, and where an older version of this package made it.

    Args:
      connection: One with the functions of `add_functions`.
      tell: Is told, before it begins, of work that takes its time.
    """
    rows = connection.execute('SELECT name FROM sqlite_master WHERE name LIKE ? AND sql IS NOT NULL', (_PREFIX + '%',))
    present = {name for (name,) in rows}
    wanted = {statement.split()[3 if statement.startswith('CREATE VIRTUAL') else 2] for statement in _SCHEMA}
    if wanted <= present:
        connection.execute(_FIELDS_DELETE)  # Younger than the rest, for which nothing need be indexed again.
        return
    (count,) = connection.execute('SELECT count(*) FROM records').fetchone()
    if count:
        tell(f'its records ({count:,}) are indexed for the search again, once.')
    with connection:
        connection.execute('BEGIN IMMEDIATE')
        # FTS5 removes its own tables with the index, whose name is the shortest of theirs.
        for kind in ('trigger', 'table'):
            names = connection.execute(
                'SELECT name FROM sqlite_master WHERE type = ? AND name LIKE ? ORDER BY length(name)',
                (kind, _PREFIX + '%'),
            )
            for (name,) in names.fetchall():
                connection.execute(f'DROP {kind} IF EXISTS "{name}"')
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(
            _insert_texts('?1', '?2', '?3'), connection.execute('SELECT id, fields, dataset_id FROM records')
        )
        connection.execute(_FIELDS_DELETE)
