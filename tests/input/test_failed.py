"""What was refused and is read again: it means what it meant, and says where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import CollectingErrorHandler
from hypothesis import given
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input import failed as room
from beam_argilla.input.plain import is_list
from beam_argilla.input.roles import PER_GENERATION
from beam_argilla.input.rows import from_rows
from beam_argilla.input.tables import Origin, to_canonical
from tests.input.test_values import _VALUES, ARRAYS, LEAVES, ROLES, slowly
from tests.samples import pipeline


def again(lines: list[str], columns: ba.Columns, **options: Any) -> tuple[list[dict], list[ba.FailedRecord]]:
    """Canonical rows, and what is refused again, of lines as they stand in a file."""
    options = {'groups_are_whole': True, 'shuffle': False, **options}
    parse = room._Parse(columns, **options)
    parse.start_bundle()
    out = [o for i, line in enumerate(lines, 1) for o in parse.process(('f.jsonl', i, line.encode()), {})]
    held = [(o.tag, o.value.value) for o in parse.finish_bundle()]
    both = [*((getattr(o, 'tag', 'records'), getattr(o, 'value', o)) for o in out), *held]
    rows = [row for tag, value in both if tag == 'tables' for row in value.to_pylist()]
    return rows, [value for tag, value in both if tag == 'refused']


def repaired(failed: ba.FailedRecord, **values: Any) -> str:
    line = json.loads(failed.to_json())
    for row in line['data'].get('input', ()):
        row.update(values)
    return json.dumps(line)


def _texts(rows: list[dict]) -> list[str]:
    return sorted(str({k: v for k, v in row.items() if v is not None}) for row in rows)


PAIRS = st.sampled_from(LEAVES).flatmap(
    lambda leaf: st.lists(
        st.none() | st.lists(st.none() | leaf[1], min_size=2, max_size=2), min_size=3, max_size=3
    ).map(lambda cells: pa.array(cells, pa.list_(leaf[0])))
)  # fmt: skip


def _retried_is_as_if_never_refused(table: pa.Table, columns: ba.Columns, spoilt: str, wide: bool) -> None:
    """Where every row is refused for another reason, and only that is repaired."""
    try:
        expected, unusable = to_canonical(table, columns)
    except InputError:
        return  # of a type that is refused by name
    nulls = pa.nulls(table.num_rows, table.column(spoilt).type)
    bad = table.set_column(table.column_names.index(spoilt), spoilt, nulls)
    _, failed = to_canonical(bad, columns)
    assert len(failed) == table.num_rows
    values = table.column(spoilt).to_pylist()
    lines = [repaired(f, **{spoilt: values[json.loads(f.data)['input'][0]['n']]}) for f in failed]
    rows, refused = again(lines, columns)
    if unusable and wide:  # of JSON, an item that cannot be used costs its row
        assert set(_texts(rows)) <= set(_texts(expected.to_pylist()))
        assert refused
    else:
        assert _texts(rows) == _texts(expected.to_pylist())
        assert len(refused) == len(unusable)
    rows, refused = again([f.to_json() for f in failed], columns)  # without repair, nothing goes in
    assert (rows, len(refused)) == ([], len(failed))


@slowly
@given(ARRAYS, st.sampled_from(ROLES))
def test_every_type_in_every_role_means_the_same_once_it_was_refused(array, role):
    texts = {'instruction': ['p', 'q', 'r'], 'generation': ['a', 'b', 'c'], 'v': array, 'n': [0, 1, 2]}
    names: dict[str, Any] = {} if role == 'metadata' else {role: 'v'}
    columns = ba.Columns(**names, metadata=['n', *(['v'] if role == 'metadata' else [])])
    spoilt = 'generation' if role == 'instruction' else 'instruction'
    if role == 'generation' and is_list(array.type):
        return  # the wide ones below
    _retried_is_as_if_never_refused(pa.table(texts), columns, spoilt, wide=False)


@slowly
@given(PAIRS, st.sampled_from(['metadata', *PER_GENERATION]))
def test_so_do_the_lists_of_wide_rows(lists, role):
    pairs = [['a', 'b'], ['c', 'd'], ['e', 'f']]
    table = pa.table({'instruction': ['p', 'q', 'r'], 'generations': pairs, 'v': lists, 'n': [0, 1, 2]})
    names: dict[str, Any] = {} if role == 'metadata' else {role: 'v'}
    columns = ba.Columns(**names, metadata=['n', *(['v'] if role == 'metadata' else [])])
    _retried_is_as_if_never_refused(table, columns, 'instruction', wide=True)


@slowly
@given(_VALUES, st.sampled_from([role for role in ROLES if role != 'generation']))
def test_so_does_every_python_value(value, role):
    columns = ba.Columns(instruction_id='instruction_id', agent='agent', position='position', metadata=['metadata'])
    row = {'instruction': 'q', 'generation': 'a', 'instruction_id': 'i', role: value}
    tables, unusable = from_rows([row], columns)
    _, (failed, *_) = from_rows([{**row, 'generation': None}], columns)
    rows, refused = again([repaired(failed, generation='a')], columns)
    assert _texts(rows) == _texts([r for t in tables for r in t.to_pylist()])
    assert len(refused) == len(unusable)


# -- what is wrong with a line, and what was wrong with it at first


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('{"data": x}', 'unexpected character, expected a JSON value, at character 10'),
        ('[]', 'it has no "data" with one thing in it'),
        ('{"data": {"input": [1]}}', 'its "input" is not a list of rows'),
        ('{"data": {"group": []}}', 'its "group" is not a list of rows'),
        ('{"data": {"other": []}}', 'its data is a "other"'),
        ('{"data": {"record": {}}}', "it has no 'suggestions'"),
    ],
)
def test_a_broken_line_is_told_with_its_file_and_number_however_often_it_is_tried(line, why):
    _, (first,) = again([line], ba.Columns())
    assert first.message == f'Line 1 of f.jsonl (counted from 1) is not one that --failed writes: {why}.'
    _, refused = again([first.to_json()], ba.Columns())
    assert [f.data for f in refused] == [first.data] == [json.dumps({'line': line}, separators=(',', ':'))]


def test_a_file_that_could_not_be_read_is_still_that_file():
    bad = ba.FailedRecord(None, 'format', 'BadFile', 'a.parquet cannot be read', None, '{"file":"a.parquet"}')
    assert again([bad.to_json()], ba.Columns()) == ([], [bad])


TABLE = pa.table({'instruction': ['p', None], 'generation': [None, 'b'], 'rating': [1, 2]})


def test_what_was_not_repaired_is_refused_for_its_own_reason_and_a_part_of_a_group_tells_it_too():
    _, failed = to_canonical(TABLE, ba.Columns())
    assert [f.error for f in failed] == ['EmptyInstruction', 'NullGeneration']
    part = [f.to_json() for f in failed]
    _, refused = again(part, ba.Columns(), groups_are_whole=False)
    assert [(f.error, f.message) for f in refused] == [(f.error, f.message) for f in failed]
    null = next(f for f in failed if f.error == 'NullGeneration')
    _, refused = again([repaired(null, generation='a')], ba.Columns(), groups_are_whole=False)
    assert refused[0].error == 'PartOfGroup'
    assert refused[0].message.endswith(f'At first: NullGeneration: {null.message}')
    assert again([refused[0].to_json()], ba.Columns(), groups_are_whole=False)[1] == refused


def test_a_number_in_a_repaired_group_is_what_it_means_and_a_null_costs_the_group():
    row = {'instruction_id': 'i', 'instruction': 'q', 'generation': 'a', 'rating': 4, 'metadata.n': 3}
    columns = ba.Columns(metadata=['n'])
    (out,), refused = again([json.dumps({'data': {'group': [row]}})], columns)
    assert (out['rating'], out['metadata.n'], refused) == ('4', ['3'], [])
    data = {'data': {'group': [row, {**row, 'generation': None}]}, 'error': 'TooFewGenerations', 'external_id': 'i'}
    rows, (failed,) = again([json.dumps(data)], columns)
    assert (rows, failed.error, failed.external_id) == ([], 'NullGeneration', 'i')
    assert json.loads(failed.data) == data['data']


def test_what_was_refused_with_its_score_and_its_messages_keeps_them():
    row = {'instruction_id': 'i', 'instruction': 'q', 'generation': 'a', 'rating': '4', 'score': 7.5, 'messages': '[]'}
    (out,), refused = again([json.dumps({'data': {'group': [row]}})], ba.Columns(chat=True))
    assert (out['rating'], out['score'], out['messages'], refused) == ('4', 7.5, '[]', [])


@pytest.mark.parametrize('score', ['high', 'inf', [1]])
def test_a_score_that_is_no_number_costs_the_group(score):
    row = {'instruction_id': 'i', 'instruction': 'q', 'generation': 'a', 'rating': '4', 'score': score}
    rows, (failed,) = again([json.dumps({'data': {'group': [row]}})], ba.Columns())
    assert (rows, failed.error) == ([], 'NotAScore')


# -- beside the input


def retried(
    table: pa.Table, columns: ba.Columns, lines: list[str], tmp_path: Path
) -> tuple[list[dict], list[ba.FailedRecord], dict[str, int]]:
    """Records, refusals and counts of the table beside lines that were refused of it."""
    (tmp_path / 'f.jsonl').write_text('\n'.join(lines))
    task = ba.Preference(4, metadata=[ba.Metadata(name, 'float') for name in columns.metadata])
    with pipeline() as p:
        handler = CollectingErrorHandler()
        read = p | ba.ReadFailed(f'{tmp_path}/f.jsonl', columns, True).with_error_handler(handler)
        leave_out = read['origins']
        formatted = p | beam.Create([table]) | ba.FormatGenerations(columns)
        rest = formatted | 'Rows' >> ba.LeaveOutRetried(leave_out)
        groups = (
            (read['tables'], rest)
            | 'Tables' >> beam.Flatten()
            | ba.GroupGenerations(ba.Policies(max_generations=4)).with_error_handler(handler)
        )
        records = groups | ba.BuildRecords(task).with_error_handler(handler)
        left = records | 'Records' >> ba.LeaveOutRetried(leave_out)
        checked = (
            (left, read['records'])
            | 'All' >> beam.Flatten()
            | ba.CheckRecords(task.settings()).with_error_handler(handler)
        )
        handler.close()
        items = checked | beam.Map(lambda c: json.loads(c.item)) | beam.combiners.ToList()
        failed = handler.output() | 'Failed' >> beam.combiners.ToList()
        _ = items | 'A' >> beam.Map(lambda x: (tmp_path / 'records').write_text(json.dumps(x)))
        _ = failed | 'B' >> beam.Map(lambda x: (tmp_path / 'refused').write_text(json.dumps([f._asdict() for f in x])))
    refused = [ba.FailedRecord(**f) for f in json.loads((tmp_path / 'refused').read_text())]
    return json.loads((tmp_path / 'records').read_text()), refused, ba.counters(p.result)


IDS = ba.Columns(instruction_id='id')
CONFLICT = [('p', 'a', 1), ('q', 'b', 1)]
TWICE = [('p', 'a', 1), ('p', 'a', 2)]


def _table(rows: list[tuple]) -> pa.Table:
    return pa.Table.from_pylist(
        [{'id': 'i', 'instruction': q, 'generation': a, 'rating': r, 'share': 0.5} for q, a, r in rows]
        + [{'id': 'other', 'instruction': 'o', 'generation': 'o', 'rating': 1, 'share': 0.5}]
    )


@pytest.mark.parametrize(
    ('rows', 'error', 'repair', 'generations'),
    [
        (CONFLICT, 'InstructionConflict', {'instruction': 'p'}, ['a', 'b']),
        (TWICE, 'DuplicateGeneration', {'generation': 'c'}, ['a', 'c']),
        ([('p', n, 1) for n in 'abcde'], 'TooManyGenerations', None, ['a', 'b', 'c', 'd']),
    ],
)
def test_a_repaired_group_takes_the_place_of_the_one_in_the_input(tmp_path, rows, error, repair, generations):
    table = _table(rows)
    unrepaired, failed, _ = retried(table, IDS, [], tmp_path)
    assert [f.error for f in failed] == [error]
    line = json.loads(failed[0].to_json())
    same, still, counts = retried(table, IDS, [json.dumps(line)], tmp_path)
    assert [f.data for f in still] == [failed[0].data]  # refused once, not twice
    assert {r['external_id'] for r in same} == {r['external_id'] for r in unrepaired}
    for row in line['data'].get('rows', line['data'].get('group')):
        row.update(repair or {})
    if repair is None:  # too many: one is taken out, and does not come back from the input
        line['data']['group'] = [row for row in line['data']['group'] if row['generation'] != 'e']
    records, failed, counts = retried(table, IDS, [json.dumps(line)], tmp_path)
    (record,) = [r for r in records if r['external_id'] == 'i']
    assert sorted(v for k, v in record['fields'].items() if k.startswith('generations')) == generations
    assert (failed, len(records), counts.get('duplicate_generations')) == ([], 2, None)
    assert counts['replaced_rows'] > 0


def test_a_repaired_record_takes_the_place_of_the_one_that_the_input_makes(tmp_path):
    table = _table([('p', 'a', 1)]).set_column(4, 'share', pa.array([float('inf'), 0.5]))
    columns = ba.Columns(instruction_id='id', metadata=['share'])
    _, (failed,), _ = retried(table, columns, [], tmp_path)
    line = json.loads(failed.to_json())
    assert (failed.error, line['data']['record']['metadata']) == ('MetadataValue', {'share': 'inf'})
    _, again_failed, _ = retried(table, columns, [failed.to_json()], tmp_path)
    assert [f.error for f in again_failed] == ['MetadataValue']  # once, and no value was lost on the way
    line['data']['record']['metadata']['share'] = 0.25
    records, refused, counts = retried(table, columns, [json.dumps(line)], tmp_path)
    assert sorted((r['external_id'], r['metadata']['share']) for r in records) == [('i', 0.25), ('other', 0.5)]
    assert (refused, counts['replaced_records']) == ([], 1)


def test_of_two_refused_items_of_one_row_the_other_one_is_still_told(tmp_path):
    origin = Origin('in.parquet', range(100))
    wide = pa.table({'instruction': ['q'], 'generations': [['a', None, None]]})
    formatted = to_canonical(wide, ba.Columns(), origin)
    assert len(formatted.failed) == 2
    (tmp_path / 'f.jsonl').write_text(formatted.failed[0].to_json())
    with pipeline() as p:
        handler = CollectingErrorHandler()
        read = p | ba.ReadFailed(f'{tmp_path}/f.jsonl', ba.Columns(), True).with_error_handler(handler)
        of_input = p | 'Input' >> beam.Create(formatted.failed).with_output_types(ba.FailedRecord)
        _ = of_input | ba.LeaveOutRetried(read['origins']).with_error_handler(handler)
        handler.close()
        seen = handler.output() | beam.Map(lambda f: (f.error, f.data, f.source, f.row))
        expected = [(f.error, f.data, *origin.of(0)) for f in formatted.failed]
        assert_that(seen, equal_to(expected))
