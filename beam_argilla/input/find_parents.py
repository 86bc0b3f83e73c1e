"""`FindParents`: messages that name the one that they answer → generations with what was said before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_argilla.coding import GenerationTable, from_ipc
from beam_argilla.columns import Columns
from beam_argilla.conversations import Message, transcript
from beam_argilla.failures import failed_rows
from beam_argilla.generations import MESSAGES, METADATA_PREFIX, rows, together
from beam_argilla.input.chat import as_json, role_of
from beam_argilla.input.values import as_list, as_mapping
from beam_argilla.partitions import slices
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.scale import Scale, exact, off_scale

_PARTITIONS = 64


@dataclass(frozen=True)
class Parents:
    """What columns are called by which messages find those before them.

    Attributes:
        parent: the id of the message that is answered; null where a conversation begins.
        role: who speaks.
        deleted: whether a message was taken back.
        tree: where a row is a whole conversation, the column of its first message; None: a row is a message.
        replies: what in a message are those that answer it.
    """

    parent: str = 'parent_id'
    role: str = 'role'
    deleted: str = 'deleted'
    tree: str | None = None
    replies: str = 'replies'

    @property
    def columns(self) -> tuple[str, str, str]:
        return self.parent, self.role, self.deleted


def flattened(
    rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], columns: Columns, parents: Parents
) -> tuple[list[dict[str, Any]], list[int], Columns]:
    """The messages of rows that are whole conversations, each with the id of the one that it answers.

    Args:
        numbers: which rows of the file they are.
        columns: what the columns of the first message are called, in the rows.

    Returns:
        The messages; the number of the row that each is in; what the columns are called in each.
    """
    inside = f'{parents.tree}.'
    roles = ('instruction', 'generation', 'rating')
    columns = replace(columns, **{role: getattr(columns, role).removeprefix(inside) for role in roles})
    messages: list[dict[str, Any]] = []
    found: list[int] = []
    for row, number in zip(rows, numbers, strict=True):
        shared = {name: value for name, value in row.items() if name != parents.tree}
        todo: list[tuple[Any, Any]] = [(None, row.get(parents.tree or ''))]
        while todo:
            parent, value = todo.pop()
            message = as_mapping(value) or {}
            messages.append({**message, **shared, parents.parent: parent})
            found.append(number)
            todo += [(message.get(columns.instruction), reply) for reply in as_list(message.get(parents.replies)) or ()]
    return messages, found, columns


class FindParents(Fallible):
    """Puts what was said before it in the place of a message's own id.

    Input: PCollection of canonical tables, a row a message: the instruction is its own id, the instruction id that of
    the conversations that it is in, the generation its text, and the rating its rank among the answers to one message
    (0 is the best). Output: PCollection of canonical tables with the assistant's messages alone: the instruction is the
    conversation up to the message that they answer, and its id that message's.

    A message that was deleted, or whose conversation lacks a message, goes to the error handler of
    `with_error_handler`; without one the pipeline fails.

    Args:
        parents: the metadata columns that say how messages belong together.
        keep: metadata columns that stay.
        ratings: what ranks become: the best is the highest, the worst the lowest, others go to the nearest.
    """

    def __init__(self, parents: Parents, keep: Sequence[str] = (), ratings: Sequence[int] = (1, 2, 3, 4, 5)):
        super().__init__()
        self.parents = parents
        self.keep = tuple(keep)
        self.ratings = tuple(ratings)

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        find = beam.ParDo(_Find(self.parents, self.keep, self.ratings))
        found = (
            tables
            | 'Slices' >> beam.FlatMap(slices, 'instruction_id', _PARTITIONS)
            | 'Bring trees together' >> beam.GroupByKey()
            | 'Find' >> find.with_outputs(Refused.TAG, main='tables')
        )
        self.refuse(found[Refused.TAG], found.tables)
        found.tables.element_type = GenerationTable
        return found.tables


class _Find(beam.DoFn):
    """(partition, slices) → tables."""

    def __init__(self, parents: Parents, keep: Sequence[str], ratings: Sequence[int]):
        self._parents = parents
        self._keep = keep
        self._ratings = ratings

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        table = together([from_ipc(stream).replace_schema_metadata(None) for stream in element[1]])
        found: list[dict[str, Any]] = []
        trees: dict[str, list[dict[str, Any]]] = {}
        for row in rows(table, nulls=True):
            trees.setdefault(row['instruction_id'], []).append(row)
        for messages in trees.values():
            for output in self._of_tree(messages):
                if isinstance(output, beam.pvalue.TaggedOutput):
                    yield output
                else:
                    found.append(output)
        if found:
            columns = [
                field
                for field in table.schema
                if field.name.removeprefix(METADATA_PREFIX) in self._keep or not field.name.startswith(METADATA_PREFIX)
            ]
            yield pa.Table.from_pylist(found, pa.schema(columns))

    def _of_tree(self, messages: list[dict[str, Any]]) -> Iterator[Any]:
        by_id = {row['instruction']: row for row in messages}
        answers: dict[str, list[dict[str, Any]]] = {}
        for row in by_id.values():
            # Without the instruction, which is not known: whoever repairs it has to say what it is.
            said = {k: v for k, v in row.items() if v is not None and k != 'instruction'}
            if self._says(row, 'deleted') in ('true', 'True', '1'):
                yield _refused(said, 'DeletedMessage', 'The message was deleted by its authors: leave it out.')
            elif role_of(self._says(row, 'role')) == 'assistant':
                thread = self._thread(row, by_id)
                if thread is None:
                    yield _refused(said, 'NoPrompt', _NO_PROMPT.format(tree=row['instruction_id']))
                    continue
                answers.setdefault(self._says(row, 'parent') or '', []).append(
                    {
                        **row,
                        'instruction_id': self._says(row, 'parent'),
                        'instruction': transcript(thread),
                        **({MESSAGES: as_json(thread)} if MESSAGES in row else {}),
                    }
                )
        for siblings in answers.values():
            yield from self._rated(siblings)

    def _thread(self, row: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> list[Message] | None:
        """What was said before; None if some of it is not there."""
        thread: list[Message] = []
        seen = {row['instruction']}
        while (parent := self._says(row, 'parent')) is not None:
            if parent in seen or parent not in by_id:
                return None
            seen.add(parent)
            row = by_id[parent]
            thread.append(Message(role_of(self._says(row, 'role')), row['generation']))
        return thread[::-1] or None

    def _rated(self, siblings: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Ranks from 0 on among siblings as ratings; of one alone a rank says nothing."""
        ranks = [rank for row in siblings if (rank := exact(row['rating'] or '')) is not None]
        scale = Scale((float(max(ranks)), 0), self._ratings) if ranks and max(ranks) > 0 else None
        for row in siblings:
            yield {**row, 'rating': _rating(row['rating'], scale)}

    def _says(self, row: dict[str, Any], name: str) -> str | None:
        values = row.get(METADATA_PREFIX + getattr(self._parents, name))
        return values[0] if values else None


def _rating(rank: str | None, scale: Scale | None) -> str | None:
    if rank is None or (scale is None and exact(rank) is not None):
        return None
    rated = None if scale is None else scale.rate(rank)
    return off_scale(rank) if rated is None else str(rated[0])


_NO_PROMPT = 'What the message answers is not there, among the messages of tree {tree!r}: are all of the files read?'


def _refused(row: dict[str, Any], error: str, message: str) -> Any:
    return refuse(failed_rows([row], 'format', error, message, row['instruction_id']))
