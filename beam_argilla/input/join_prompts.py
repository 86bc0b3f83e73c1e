"""`JoinPrompts`: generations whose prompts are in another file → with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.coding import GenerationTable, from_ipc
from beam_argilla.failures import failed_rows
from beam_argilla.generations import MESSAGES, TEXT, rows, together
from beam_argilla.input.values import sha256
from beam_argilla.partitions import slices
from beam_argilla.refusing import Fallible, Refused, refuse

_PARTITIONS = 64


class JoinPrompts(Fallible):
    """Puts prompts in the place of their keys.

    Input: ``{'generations': ..., 'prompts': ...}``, PCollections of canonical tables: of generations with any
    instruction, and of prompts with any generation; the instruction id of both is the key. Output: PCollection of the
    former with the instructions of the latter.

    A generation without a prompt, or with two different ones, goes to the error handler of `with_error_handler`;
    without one the pipeline fails.

    Args:
        by_text: the key is no instruction id: generations with the same instruction belong together.
    """

    def __init__(self, by_text: bool = False):
        super().__init__()
        self.by_text = by_text

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        cut = {
            name: tables | f'Slices of {name}' >> beam.FlatMap(slices, 'instruction_id', _PARTITIONS)
            for name, tables in inputs.items()
        }
        joined = cut | beam.CoGroupByKey() | beam.ParDo(_Join(self.by_text)).with_outputs(Refused.TAG, main='tables')
        self.refuse(joined[Refused.TAG], joined.tables)
        joined.tables.element_type = GenerationTable
        return joined.tables


class _Join(beam.DoFn):
    """(partition, slices of both) → tables."""

    def __init__(self, by_text: bool):
        self._by_text = by_text

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[Any]:
        _, slices = element
        prompts = _distinct([from_ipc(stream) for stream in slices['prompts']])
        for stream in slices['generations']:
            table = from_ipc(stream).replace_schema_metadata(None)
            index = pc.index_in(table.column('instruction_id').combine_chunks(), prompts.column('instruction_id'))
            found = index.is_valid()
            known = table.filter(found)
            at = index.filter(found)
            twice = prompts.column('twice').take(at)
            yield from _refused(table.filter(pc.invert(found)), 'NoPrompt', _NO_PROMPT)
            yield from _refused(known.filter(twice), 'PromptConflict', _TWO_PROMPTS)
            one = pc.invert(twice)
            table = _with_prompts(known.filter(one), prompts.take(at.filter(one.combine_chunks())), self._by_text)
            if table.num_rows:
                yield table


_NO_PROMPT = 'There is no prompt with the key {key!r}: is its file among the prompts, and is it the key that is meant?'
_TWO_PROMPTS = 'There are different prompts with the key {key!r}: which is meant?'


def _refused(table: pa.Table, error: str, message: str) -> Iterator[Any]:
    for row in rows(table.drop_columns(['instruction'])):  # whoever repairs it has to say what it is
        text = message.format(key=row['instruction_id'])
        yield refuse(failed_rows([row], 'format', error, text, row['instruction_id']))


def _distinct(tables: list[pa.Table]) -> pa.Table:
    """Key, instruction and messages of each prompt, and whether there is another one with its key."""
    if not tables:
        nothing = pa.array([], TEXT)
        names = ['instruction_id', 'instruction', MESSAGES, 'twice']
        return pa.table([nothing, nothing, nothing, pa.array([], pa.bool_())], names)
    table = together(tables)
    if MESSAGES not in table.column_names:
        table = table.append_column(MESSAGES, pa.nulls(table.num_rows, TEXT))
    texts = table.group_by('instruction_id', use_threads=False).aggregate(
        [('instruction', 'first'), (MESSAGES, 'first'), ('instruction', 'count_distinct')]
    )
    twice = pc.greater(texts.column('instruction_count_distinct'), 1)
    columns = [texts.column(n) for n in ('instruction_id', 'instruction_first', f'{MESSAGES}_first')]
    return pa.table([*columns, twice], ['instruction_id', 'instruction', MESSAGES, 'twice']).combine_chunks()


def _with_prompts(table: pa.Table, prompts: pa.Table, by_text: bool) -> pa.Table:
    values = {'instruction': prompts.column('instruction')}
    if by_text:
        values['instruction_id'] = sha256(prompts.column('instruction').combine_chunks())
    if MESSAGES in table.column_names:
        values[MESSAGES] = prompts.column(MESSAGES)
    for name, column in values.items():
        index = table.column_names.index(name)
        table = table.set_column(index, table.schema.field(index), column)
    return table
