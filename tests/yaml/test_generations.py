"""Generations through steps of Beam YAML, as rows that any step takes and gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from tests.samples import pipeline, rows, unique, write
from tests.writing.test_write import settings_of, stored
from tests.yaml.steps import chain, composite, step

IDS = {'instruction_id': 'instruction_id'}


@pytest.fixture(autouse=True)
def environment(argilla_server, monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', argilla_server.api_url)
    monkeypatch.setenv('ARGILLA_API_KEY', argilla_server.api_key)


def write_rows(folder: Path, elements: list[dict[str, Any]], name: str = 'in.parquet') -> str:
    pq.write_table(pa.Table.from_pylist(elements), folder / name)
    return str(folder / name)


def as_dicts(pcollection: beam.PCollection) -> beam.PCollection:
    return pcollection | beam.Map(plain)


def plain(value: Any) -> Any:
    """Rows as dicts."""
    if hasattr(value, '_asdict'):
        return {name: plain(item) for name, item in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


# -- what rows look like


def test_a_row_is_a_generation_and_its_metadata_are_texts_or_lists(tmp_path):
    path = write_rows(tmp_path, [{**row, 'tags': ['a', row['topic']]} for row in rows(2)])
    read = step('ReadGenerations', path=path, columns={**IDS, 'metadata': ['length', 'tags']})
    names = ('instruction_id', 'instruction', 'generation', 'model_name', 'rationale')
    expected = [
        {
            **{name: row[name] for name in names},
            'rating': str(row['rating']),
            'agent': None,
            'position': None,
            'length': str(row['length']),
            'tags': ['a', row['topic']],
        }
        for row in rows(2)
    ]
    with pipeline() as p:
        assert_that(as_dicts(p | chain(read)), equal_to(expected))


def test_of_each_column_it_is_known_what_it_holds(tmp_path):
    elements, given, _ = INPUTS['scores']
    chats, of_chats, _ = INPUTS['chat']
    path = write_rows(tmp_path, [{**row, 'tags': ['a'], 'n': 1} for row in elements])
    of_chat = write_rows(tmp_path, chats, 'chat.parquet')
    read = step('ReadGenerations', path=path, columns={**given, 'metadata': ['tags', 'n']})
    written = {
        name: step('WriteTrainingData', path=f'{tmp_path}/{name}.parquet') for name in ('rows', 'groups', 'chats')
    }
    with pipeline() as p:
        _ = p | 'Rows' >> chain(read, written['rows'])
        _ = p | 'Groups' >> chain(read, step('GroupGenerations'), written['groups'])
        _ = p | 'Chats' >> chain(step('ReadGenerations', path=of_chat, columns=of_chats), written['chats'])
    texts = ('instruction_id', 'instruction', 'generation', 'model_name', 'rating', 'rationale', 'agent', 'n')
    lists = ('generations', 'generation_models', 'ratings', 'rationales', 'agents', 'tags', 'n')
    of_rows = {**dict.fromkeys(texts, 'string'), 'position': 'int64', 'rating_score': 'double', 'tags': ['string']}
    of_groups = {'instruction_id': 'string', 'instruction': 'string', **{name: ['string'] for name in lists}}
    assert types(tmp_path, 'rows') == of_rows
    assert types(tmp_path, 'groups') == {**of_groups, 'rating_scores': ['double']}
    assert types(tmp_path, 'chats')['instruction'] == [{'role': 'string', 'content': 'string'}]


def test_a_column_of_no_known_type_is_told(tmp_path):
    read = step('ReadGenerations', path=write_rows(tmp_path, rows(1)))
    untyped = step('MapToFields', language='python', fields={'why': 'position - 1'})
    with pytest.raises(ValueError, match="type of values the column 'why' has: say so with MapTo"), pipeline() as p:
        _ = p | chain(read, untyped, step('WriteTrainingData', path=f'{tmp_path}/x'))


def types(folder: Path, name: str) -> dict[str, Any]:
    """Column → its type; [type] of lists, and a dict of structs."""
    return {field.name: shown(field.type) for field in pq.read_schema(folder / f'{name}-00000-of-00001.parquet')}


def shown(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [shown(kind.value_type)]
    return {field.name: shown(field.type) for field in kind} if pa.types.is_struct(kind) else str(kind)


def test_other_steps_take_and_give_them(tmp_path):
    read = step('ReadGenerations', path=write(tmp_path, rows(3), 2), columns={**IDS, 'metadata': ['topic']})
    keep = step('Filter', language='python', keep="topic == 'sums' and model_name in ('alpha', 'beta')")
    shout = step(
        'MapToFields',
        language='python',
        append=True,
        drop=['generation'],
        fields={'generation': {'callable': 'lambda row: row.generation.upper()', 'output_type': 'string'}},
    )
    group = step('GroupGenerations', order='given')
    written = step('WriteToJson', path=str(tmp_path / 'out'))
    with pipeline() as p:
        _ = p | chain(read, keep, shout, group, written)
    lines = [json.loads(line) for file in tmp_path.glob('out*') for line in file.read_text().splitlines()]
    assert [line['generations'] for line in sorted(lines, key=lambda line: line['instruction_id'])] == [
        ['ALPHA SAYS 1.', 'BETA SAYS 1.'],
        ['ALPHA SAYS 3.', 'BETA SAYS 3.'],
    ]


def test_a_group_is_a_row_with_lists(tmp_path):
    read = step('ReadGenerations', path=write(tmp_path, rows(1, 2), 2), columns={**IDS, 'metadata': ['topic', 'share']})
    with pipeline() as p:
        groups = as_dicts(p | chain(read, step('GroupGenerations', max_generations=2)))
        expected = {
            'instruction_id': 'i0000',
            'instruction': 'What is 0 plus one?',
            'generations': ['alpha says 1.', 'beta says 1.'],
            'generation_models': ['alpha', 'beta'],
            'ratings': ['1', '2'],
            'rationales': ['Because of 0 and 0.', 'Because of 0 and 1.'],
            'agents': [None, None],
            'topic': ['sums'],
            'share': ['0'],
        }
        assert_that(groups, equal_to([expected]))


def test_rows_of_anybodys_own_are_grouped_by_the_names_that_are_given():
    elements = [{'q': 'one?', 'a': 'b', 'by': 'm'}, {'q': 'one?', 'a': 'a', 'by': 'n'}]
    group = step('GroupGenerations', columns={'instruction': 'q', 'generation': 'a', 'model_name': 'by'})
    with pipeline() as p:
        groups = p | chain(step('Create', elements=elements), group) | beam.Map(lambda g: list(g.generation_models))
        assert_that(groups, equal_to([['m', 'n']]))


# -- into a dataset

TASK = {'num_generations': 2, 'model_names': True, 'metadata': ['topic']}
CHAT = [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello?'}]
INPUTS = {
    'long': (rows(5, 2), IDS, TASK),
    'wide': (
        [
            {'prompt': f'q{i}', 'answers': ['z', 'a'], 'by': ['m', 'n'], 'ratings': [1, 5], 'topic': ['x', 'y']}
            for i in range(4)
        ],
        {'instruction': 'prompt', 'generation': 'answers', 'model_name': 'by'},
        TASK,
    ),
    'scores': (
        [{'prompt': 'q', 'a': 'yes', 'b': 'no', 'of_a': 7.5, 'of_b': 2.0}],
        {
            'instruction': 'prompt',
            'generation': ['a', 'b'],
            'rating': ['of_a', 'of_b'],
            'model_name': [{'value': 'gpt-4'}, {'value': 'llama'}],
            'scale': {'from': [0, 10], 'to': [1, 2, 3, 4, 5]},
        },
        {'num_generations': 2},
    ),
    'chat': (
        [{'messages': CHAT, 'generation': text} for text in ('Hi.', 'Hello.')],
        {'instruction': 'messages', 'chat': True},
        {'num_generations': 2, 'chat': True},
    ),
}


def columns_of(given: dict[str, Any]) -> ba.Columns:
    """What a file says, in Python."""
    named = dict(given)
    if 'scale' in named:
        named['scale'] = ba.Scale(named['scale']['from'], named['scale']['to'])
        named['model_name'] = [ba.Literal(literal['value']) for literal in named['model_name']]
    return ba.Columns(**named)


@pytest.mark.parametrize('kind', INPUTS)
def test_a_dataset_is_the_same_as_by_python(tmp_path, api, connection, kind):
    elements, given, task = INPUTS[kind]
    path, name, grouped, expected = write_rows(tmp_path, elements), *(unique(kind) for _ in range(3))
    given = {**given, 'metadata': task.get('metadata', [])}
    read = step('ReadGenerations', path=path, columns=given)
    to_argilla = step('WriteToArgilla', dataset=name, task={'type': 'preference', **task})
    to_another = step('WriteToArgilla', dataset=grouped, task={'type': 'preference', **task})
    with pipeline() as p:
        tables = p | 'Python' >> ba.ReadGenerations(path, columns_of(given))
        _ = tables | ba.WriteToArgilla(expected, task=ba.Preference(**task), connection=connection)
        _ = p | 'YAML' >> chain(read, to_argilla)
        _ = p | 'Grouped before' >> chain(read, step('GroupGenerations'), to_another)
    wanted = content(stored(api, expected))
    assert wanted
    for dataset in (name, grouped):
        assert settings_of(api, dataset) == settings_of(api, expected)
        assert content(stored(api, dataset)) == wanted


def content(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is said in records, whenever and under whatever ids of the server's own."""
    suggestions = ('type', 'score', 'value', 'agent')
    return {
        external_id: (
            record['fields'],
            record['metadata'],
            [{name: suggestion[name] for name in suggestions} for suggestion in record['suggestions']],
        )
        for external_id, record in records.items()
    }


def test_rows_of_anybodys_own_are_written_and_told_of(api):
    name = unique('own')
    elements = [{'prompt': f'q{i}', 'answer': 'yes', 'day': 3} for i in range(3)]
    to_argilla = step(
        'WriteToArgilla',
        dataset=name,
        columns={'instruction': 'prompt', 'generation': 'answer'},
        task={'type': 'text_generation', 'metadata': [{'column': 'day', 'type': 'integer', 'name': 'on'}]},
    )
    with pipeline() as p:
        written = p | chain(step('Create', elements=elements), to_argilla) | beam.Map(lambda row: row.outcome)
        assert_that(written, equal_to(['created'] * 3))
    assert [record['metadata'] for record in stored(api, name).values()] == [{'on': 3}] * 3


# -- what is refused


def test_what_each_step_refuses_goes_to_its_error_output(tmp_path, api):
    name, handling = unique('refused'), {'output': 'refused'}
    elements = rows(4, 2)
    elements[0]['instruction'] = None  # told by the one that reads
    elements += [{**row, 'generation': f'{row["generation"]} Or so.'} for row in rows(4, 2)[2:4]]  # one too many
    path = write_rows(tmp_path, elements)
    read = {**step('ReadGenerations', path=path, columns=IDS, error_handling=handling), 'name': 'Read'}
    to_argilla = step(
        'WriteToArgilla', dataset=name, task={'type': 'preference', 'num_generations': 2}, error_handling=handling
    )
    flatten = {'type': 'Flatten', 'input': ['Read.refused', 'WriteToArgilla.refused']}
    failed = {**step('WriteFailed', path=str(tmp_path / 'failed')), 'input': 'Flatten'}
    with pipeline() as p:
        _ = p | composite(read, {**to_argilla, 'input': 'Read'}, flatten, failed)
    assert sorted(stored(api, name)) == ['i0000', 'i0002', 'i0003']
    lines = [json.loads(line) for file in tmp_path.glob('failed-*') for line in file.read_text().splitlines()]
    assert sorted((line['error'], line['stage']) for line in lines) == [
        ('EmptyInstruction', 'format'),
        ('TooManyGenerations', 'group'),
    ]


def test_without_error_handling_the_first_refusal_ends_the_job(tmp_path):
    path = write_rows(tmp_path, [{'instruction': None, 'generation': 'a'}])
    with pytest.raises(Exception, match='EmptyInstruction'), pipeline() as p:
        _ = p | chain(step('ReadGenerations', path=path), step('GroupGenerations'))


# -- mistakes, which Beam tells with the step and its line

WRITE = {'dataset': 'd', 'task': {'type': 'preference', 'num_generations': 2}}
MISTAKES = [
    ('ReadGenerations', {'pth': 'x'}, "there is no key 'pth'; did you mean 'path'?"),
    ('ReadGenerations', {}, 'path is missing'),
    ('ReadGenerations', {'path': 3}, 'path must be text or a list, not a whole number'),
    (
        'ReadGenerations',
        {'path': 'x', 'columns': {'instructions': 'prompt'}},
        "columns: there is no key 'instructions'; did you mean 'instruction'?",
    ),
    ('ReadGenerations', {'path': 'x', 'columns': {'metadata': [1]}}, r'columns.metadata\[0\] must be text'),
    ('ReadGenerations', {'path': 'x', 'columns': {'scale': {'from': [1, 1]}}}, 'columns.scale'),
    ('GroupGenerations', {'max_generations': 'four'}, 'max_generations must be a whole number, not text'),
    ('GroupGenerations', {'order': 'blnd'}, "order='blnd'"),
    (
        'WriteToArgilla',
        {**WRITE, 'task': {'type': 'preferences'}},
        "task.type: there is no 'preferences'; did you mean",
    ),
    ('WriteToArgilla', {**WRITE, 'task': {'num_generations': 2}}, 'task.type is missing: use one of preference, text_'),
    ('WriteToArgilla', {**WRITE, 'task': {'type': 'preference'}}, 'task.num_generations is missing'),
    ('WriteToArgilla', {**WRITE, 'task': 'preference'}, 'task must be a mapping, not text'),
    (
        'WriteToArgilla',
        {**WRITE, 'task': {'type': 'preference', 'num_generations': 2, 'metadata': [{'colum': 'x'}]}},
        r"task.metadata\[0\]: there is no key 'colum'; did you mean 'column'?",
    ),
    ('WriteToArgilla', {**WRITE, 'connection': {'api_key': 'argilla.apikey'}}, 'connection: .*api_key_env'),
    ('WriteToArgilla', {**WRITE, 'connection': {'timeout': 'long'}}, 'connection.timeout must be a number, not text'),
]


@pytest.mark.parametrize(('kind', 'config', 'message'), MISTAKES)
def test_a_mistake_is_told_with_the_step_its_line_and_the_key(kind, config, message):
    create = step('Create', elements=[{'instruction': 'q', 'generation': 'a'}])
    steps = [step(kind, **config)] if kind.startswith('Read') else [create, step(kind, **config)]
    with pytest.raises(ValueError, match=rf'"{kind}" at line \d+: {message}') as raised, pipeline() as p:
        _ = p | chain(*steps)
    assert 'argilla.apikey' not in str(raised.value)


def test_the_error_output_is_not_called_like_the_other_one():
    create = step('Create', elements=[{'instruction': 'q', 'generation': 'a'}])
    group = {**step('GroupGenerations', error_handling={'output': 'good'}), 'input': 'Create'}
    failed = {**step('WriteFailed', path='x'), 'input': 'GroupGenerations.good'}
    with pytest.raises(ValueError, match='error_handling: output: good is the name of what is not'), pipeline() as p:
        _ = p | composite(create, group, failed)


def test_metadata_that_no_row_can_call_so_is_told(tmp_path):
    path = write_rows(tmp_path, [{'instruction': 'q', 'generation': 'a', 'the-day': 1}])
    with pytest.raises(ValueError, match="Metadata 'the-day' cannot be a column of rows"), pipeline() as p:
        _ = p | chain(step('ReadGenerations', path=path, columns={'metadata': ['the-day']}))


def test_no_key_travels_in_the_pipeline(argilla_server):
    p = beam.Pipeline()
    create = step('Create', elements=[{'instruction': 'q', 'generation': 'a'}])
    _ = p | chain(create, step('WriteToArgilla', **WRITE))
    assert argilla_server.api_key not in str(p.to_runner_api())
