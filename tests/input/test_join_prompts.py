"""Generations whose prompts are in another file."""

from __future__ import annotations

import json

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from beam_argilla.errors import InputError
from tests.samples import pipeline

ASKED = [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]


def write(path, rows):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def output(key: str, *answers: str) -> dict:
    choices = [{'message': {'role': 'assistant', 'content': answer}} for answer in answers]
    return {'custom_id': key, 'response': {'status_code': 200, 'body': {'model': 'm', 'choices': choices}}}


def asked(key: str, messages: list) -> dict:
    return {'custom_id': key, 'method': 'POST', 'body': {'model': 'm', 'messages': messages}}


def test_a_batchs_output_finds_its_prompts_in_its_input(tmp_path):
    out = write(
        tmp_path / 'out.jsonl', [output('a', 'Hello!', 'Hi!'), output('b', 'x'), output('c', 'y'), output('d', 'z')]
    )
    also = [asked('d', [{'role': 'user', 'content': text}]) for text in 'qr']
    asked_b = asked('b', [{'role': 'user', 'content': 'q'}])
    prompts = write(tmp_path / 'in.jsonl', [asked('a', ASKED), asked_b, asked_b, *also])
    with pipeline() as p:
        handler = CollectingErrorHandler()
        reader = ba.ReadGenerations(out, ba.Columns(chat=True), prompts=prompts)
        rows = p | reader.with_error_handler(handler) | beam.FlatMap(lambda table: table.to_pylist())
        found = rows | 'Of each' >> beam.Map(
            lambda row: (
                row['instruction_id'],
                row['instruction'],
                row['generation'],
                row['model_name'],
                row['messages'],
            )
        )
        talk = '**System:** Be brief.\n\n**User:** Hi'
        dumped, alone = (json.dumps(m, separators=(',', ':')) for m in (ASKED, [{'role': 'user', 'content': 'q'}]))
        wanted = [('a', talk, 'Hello!', 'm', dumped), ('a', talk, 'Hi!', 'm', dumped), ('b', 'q', 'x', 'm', alone)]
        assert_that(found, equal_to(wanted))
        handler.close()
        refused = handler.output() | 'Why' >> beam.Map(lambda f: (f.external_id, f.error))
        assert_that(refused, equal_to([('c', 'NoPrompt'), ('d', 'PromptConflict')]), label='refused')
    assert reader.layout is ba.LAYOUTS['openai_batch']


def test_any_files_may_be_joined_by_a_key(tmp_path):
    pq.write_table(pa.table({'k': [1, 2, 1], 'generation': ['a', 'b', 'c']}), tmp_path / 'g.parquet')
    pq.write_table(pa.table({'k': [1.0, 2.0], 'question': ['q', 'q']}), tmp_path / 'p.parquet')
    with pipeline() as p:
        read = ba.ReadGenerations(tmp_path / 'g.parquet', prompts=tmp_path / 'p.parquet', prompts_key='k')
        groups = p | read | ba.GroupGenerations(spill=False) | beam.Map(lambda t: t.column('generation').to_pylist())
        assert_that(groups, equal_to([['a', 'b', 'c']]))  # the same text is one group


def test_without_prompts_it_is_told_how_they_are_given(tmp_path):
    out = write(tmp_path / 'out.jsonl', [output('a', 'x')])
    with pytest.raises(InputError, match=r"prompts of layout 'openai_batch' are in another file: .*--prompts FILE"):
        ba.ReadGenerations(out)
    with pytest.raises(InputError, match='prompts_key'):
        ba.ReadGenerations(write(tmp_path / 'g.jsonl', [{'instruction': 'q', 'generation': 'a'}]), prompts=out)
