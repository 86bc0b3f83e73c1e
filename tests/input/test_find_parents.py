"""Messages that name the one that they answer, in any order over any files."""

from __future__ import annotations

import gzip
import json
import random

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from pipelines import parquet_to_argilla
from tests.samples import pipeline


def message(id: str, parent: str | None, role: str, text: str, rank: int | None = None, **more: object) -> dict:
    tree = id.split('.')[0]
    return {
        'message_id': id,
        'parent_id': parent,
        'message_tree_id': tree,
        'text': text,
        'role': role,
        'rank': rank,
    } | more


MESSAGES = [
    message('a', None, 'prompter', 'Hi?', lang='en'),
    message('a.1', 'a', 'assistant', 'Hello!', 0, lang='en'),
    message('a.2', 'a', 'assistant', 'Hey.', 1, lang='en'),
    message('a.3', 'a', 'assistant', 'No.', 2, lang='en'),
    message('a.1.1', 'a.1', 'prompter', 'And?', lang='en'),
    message('a.1.1.1', 'a.1.1', 'assistant', 'Bye.', lang='en'),
    message('b', None, 'prompter', 'Und?', lang='de'),
    message('b.1', 'b', 'assistant', 'Ja.', None, lang='de'),
]
TALK = [{'role': 'user', 'content': 'Hi?'}, {'role': 'assistant', 'content': 'Hello!'}]
TALK += [{'role': 'user', 'content': 'And?'}]
FOUND = [
    ('a', 'Hi?', 'Hello!', '5'),
    ('a', 'Hi?', 'Hey.', '3'),
    ('a', 'Hi?', 'No.', '1'),
    ('a.1.1', '**User:** Hi?\n\n**Assistant:** Hello!\n\n**User:** And?', 'Bye.', None),
    ('b', 'Und?', 'Ja.', None),
]


def write(folder, messages):
    folder.mkdir(exist_ok=True)
    shuffled = random.Random(1).sample(messages, len(messages))
    schema = pa.Table.from_pylist(messages).schema
    for i in range(3):
        pq.write_table(pa.Table.from_pylist(shuffled[i::3], schema), folder / f'{i}.parquet')
    return folder


def said(row: dict) -> tuple:
    return row['instruction_id'], row['instruction'], row['generation'], row['rating']


@pytest.mark.parametrize('layout', ['auto', 'oasst'])
def test_an_answer_finds_what_was_said_before_it(layout, tmp_path):
    reader = ba.ReadGenerations(write(tmp_path, MESSAGES), layout=layout)
    assert reader.layout is ba.LAYOUTS['oasst']
    with pipeline() as p:
        tables = p | reader
        names = tables | 'Names' >> beam.FlatMap(lambda table: table.column_names) | beam.Distinct()
        assert_that(names | beam.Filter(lambda name: name.startswith('metadata')), equal_to([]), 'metadata')
        assert_that(tables | beam.FlatMap(lambda table: table.to_pylist()) | beam.Map(said), equal_to(FOUND))


def tree(root: dict) -> dict:
    """With what answers it, and so on, as OpenAssistant's files of trees have it."""
    replies = [tree(row) for row in MESSAGES if row['parent_id'] == root['message_id']]
    row = {k: v for k, v in root.items() if k != 'message_tree_id' and v is not None}
    return {**row, 'replies': replies} if replies else row


def test_whole_trees_in_a_row_each_are_the_same(tmp_path):
    roots = [row for row in MESSAGES if row['parent_id'] is None]
    trees = [{'message_tree_id': r['message_id'], 'tree_state': 'ready', 'prompt': tree(r)} for r in roots]
    (tmp_path / 'trees.jsonl.gz').write_bytes(gzip.compress('\n'.join(map(json.dumps, trees)).encode()))
    reader = ba.ReadGenerations(tmp_path)
    assert reader.layout is ba.LAYOUTS['oasst_trees']
    with pipeline() as p:
        tables = p | reader
        assert_that(tables | beam.FlatMap(lambda table: table.to_pylist()) | beam.Map(said), equal_to(FOUND))


def test_as_messages_of_a_chat(tmp_path):
    (tmp_path / 'm.jsonl').write_text('\n'.join(map(json.dumps, MESSAGES)))
    with pipeline() as p:
        tables = p | ba.ReadGenerations(tmp_path, ba.Columns(chat=True))
        found = tables | beam.FlatMap(lambda table: table.to_pylist())
        of_one = found | beam.Filter(lambda row: row['generation'] == 'Bye.')
        assert_that(of_one | beam.Map(lambda row: json.loads(row['messages'])), equal_to([TALK]))


def test_what_has_no_prompt_or_was_deleted_is_refused(tmp_path):
    bad = [
        message('c.1', 'c', 'assistant', 'To nothing', lang='en', deleted=False),
        message('a.4', 'a', 'assistant', 'Taken back', 3, lang='en', deleted=True),
        message('d', None, 'assistant', 'First', lang='en', deleted=False),
    ]
    with pipeline() as p:
        handler = CollectingErrorHandler()
        reader = ba.ReadGenerations(write(tmp_path, [*({**m, 'deleted': None} for m in MESSAGES), *bad]))
        tables = p | reader.with_error_handler(handler)
        assert_that(tables | beam.FlatMap(lambda table: table.to_pylist()) | beam.Map(said), equal_to(FOUND))
        handler.close()
        refused = handler.output() | 'Why' >> beam.Map(lambda f: (f.external_id, f.error))
        expected = [('c', 'NoPrompt'), ('a', 'DeletedMessage'), ('d', 'NoPrompt')]
        assert_that(refused, equal_to(expected), 'refused')


def test_by_the_program_with_ratings_of_its_own_and_metadata(tmp_path, capsys):
    options = ['--num_generations', '4', '--ratings', '1,2,3', '--metadata_column', 'lang', '--preview', '3']
    assert parquet_to_argilla.main(['--input', str(write(tmp_path, MESSAGES)), '--dataset', 'd', *options]) == 0
    out = capsys.readouterr().out
    assert 'Read as oasst' in out
    assert '8 rows read, 3 groups' in out
    assert 'en' in out


def test_a_rank_that_is_no_number_costs_its_rating_alone(tmp_path):
    ranks = ['0', 'best', '1']
    answers = [message(f'a.{i}', 'a', 'assistant', rank, lang='en') | {'rank': rank} for i, rank in enumerate(ranks)]
    write(tmp_path, [message('a', None, 'prompter', 'Hi?', lang='en') | {'rank': None}, *answers])
    with pipeline() as p:
        rows = p | ba.ReadGenerations(tmp_path) | beam.FlatMap(lambda table: table.to_pylist())
        found = rows | beam.Map(lambda row: (row['generation'], row['rating']))
        assert_that(found, equal_to([('0', '5'), ('best', 'best (not on the scale)'), ('1', '1')]))


def test_no_id_of_a_message_becomes_an_instruction_by_a_retry(tmp_path, capsys):
    """Neither of a row that was refused as it was read, nor of one whose prompt is not there."""
    bad = [message('c.1', 'c', 'assistant', 'To nothing'), {**message('a.9', 'a', 'assistant', 'x'), 'text': None}]
    write(tmp_path / 'in', [*({k: v for k, v in m.items() if k != 'lang'} for m in MESSAGES), *bad])
    argv = ['--task', 'text_generation', '--dataset', 'd', '--input', str(tmp_path / 'in')]
    with pipeline() as p:
        handler = CollectingErrorHandler()
        _ = p | ba.ReadGenerations(tmp_path / 'in').with_error_handler(handler)
        handler.close()
        _ = handler.output() | ba.WriteFailed(str(tmp_path / 'failed'))
    assert parquet_to_argilla.main([*argv, '--retry_failed', str(tmp_path / 'failed'), '--dry_run']) == 1
    out = capsys.readouterr().out
    assert '5 records would be written' in out
    # What came of the files has no instruction; the input itself tells of the same row once more.
    assert '3 refused: EmptyInstruction 1, NoPrompt 1, NullGeneration 1' in out
