"""Columns that say more than a name, in tables and in rows: paths, several side by side, conversations, scales."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input.canonical import canonical_tables, instruction_ids
from beam_argilla.input.rows import from_rows

ROLES = ('instruction', 'generation', 'model_name', 'rating', 'rationale', 'agent', 'score')


def made(row: dict, columns: ba.Columns) -> tuple[list[tuple], list[tuple[str, str]]]:
    """What comes of a row, which is the same for a row in a table, and among others."""
    outcomes = []
    other = json.loads(json.dumps(row))
    for given_rows in (pa.Table.from_pylist([row]), [row], pa.Table.from_pylist([other, row]).slice(1)):
        tables, failed = canonical_tables(given_rows, columns)
        rows = [r for table in tables for r in table.to_pylist()]
        outcomes.append(([tuple(r.get(role) for role in ROLES) for r in rows], [(f.error, f.message) for f in failed]))
    assert outcomes[0] == outcomes[2]
    assert outcomes[0][0] == outcomes[1][0]
    assert [error for error, _ in outcomes[0][1]] == [error for error, _ in outcomes[1][1]]
    return outcomes[0]


def texts(row: dict, columns: ba.Columns) -> list[tuple[str, str]]:
    found, failed = made(row, columns)
    assert failed == []
    return [r[:2] for r in found]


def said(*turns: str, keys=('role', 'content'), roles=('user', 'assistant')) -> list[dict]:
    return [{keys[0]: roles[i % 2], keys[1]: turn} for i, turn in enumerate(turns)]


@pytest.mark.parametrize(
    ('path', 'value', 'wanted'),
    [
        ('c[].text', [{'text': 'a'}, {'text': 'b'}], ['a', 'b']),
        ('c[].m.text', [{'m': {'text': 'a'}}, {'m': {'text': 'b'}}], ['a', 'b']),
        ('c[].turns[]', [{'turns': ['a', 'b']}, {'turns': ['c']}], ['a', 'b', 'c']),
        ('c[0].text', [{'text': 'a'}, {'text': 'b'}], ['a']),
        ('c[-1].text', [{'text': 'a'}, {'text': 'b'}], ['b']),
        ('c.d.e', {'d': {'e': 'a'}}, ['a']),
        ('c.d[].e', {'d': [{'e': 'a'}]}, ['a']),
        ('c.d.e', {'d.e': 'literally', 'd': {'e': 'a'}}, ['literally']),
        ('c[]', ['a', 'b'], ['a', 'b']),
        ('c[]', '["a", "b"]', ['a', 'b']),
        ('c[].text', '[{"text": "a"}, {"text": "b", "more": 1}]', ['a', 'b']),
        ('c.d[].e', {'d': '[{"e": "a"}]'}, ['a']),
        ('c', '["a", "b"]', ['["a", "b"]']),  # a text, as long as no list is asked of it
    ],
)
def test_a_path_leads_into_what_a_column_holds(path, value, wanted):
    assert [text for _, text in texts({'instruction': 'q', 'c': value}, ba.Columns(generation=path))] == wanted


def test_a_column_that_is_literally_called_like_a_path_goes_first():
    row = {'instruction': 'q', 'c.d': 'literally', 'c': {'d': 'a'}}
    assert texts(row, ba.Columns(generation='c.d')) == [('q', 'literally')]


@pytest.mark.parametrize(
    ('value', 'path', 'told'),
    [
        ({'d': 'a'}, 'c.e', "There is no 'c.e' in column 'c': what is there is a struct of 'd'"),
        ([1, 2], 'c.e', "There is no 'c.e' in column 'c': what is there is large_list"),
        (5, 'c[]', "There is no 'c[]' in column 'c': what is there is int64"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(value, path, told):
    table = pa.Table.from_pylist([{'instruction': 'q', 'c': value}])
    with pytest.raises(InputError) as e:
        canonical_tables(table, ba.Columns(generation=path))
    assert str(e.value).startswith(told)


def test_a_text_that_is_no_json_costs_its_row_alone():
    table = pa.Table.from_pylist([{'instruction': 'q', 'c': text} for text in ('["a"]', '["a"', '[]', '["b"]')])
    tables, failed = canonical_tables(table, ba.Columns(generation='c[]'))
    assert [r['generation'] for t in tables for r in t.to_pylist()] == ['a', 'b']
    assert [f.error for f in failed] == ['NoSuchPath', 'NoGenerations']


def test_columns_side_by_side_are_the_generations_of_a_row_with_what_stands_beside_them():
    row = {'prompt': 'q', 'a': 'x', 'b': ['y', 'z'], 'sa': 4, 'sb': ['5', None], 'ma': 'm', 'who': 'judge'}
    models = ['ma', ba.Literal('n')]
    columns = ba.Columns(
        'prompt', ['a', 'b'], rating=['sa', 'sb'], model_name=models, agent='who', rationale=[None] * 2
    )
    found, failed = made(row, columns)
    assert failed == []
    assert found == [
        ('q', 'x', 'm', '4', None, 'judge', None),
        ('q', 'y', 'n', '5', None, 'judge', None),
        ('q', 'z', 'n', None, None, 'judge', None),
    ]


def test_a_null_beside_others_is_refused_and_in_numbered_columns_is_none():
    row = {'instruction': 'q', 'answer_1': 'a', 'answer_2': None, 'answer_10': 'c', 'score_1': 1, 'score_10': 3}
    found, failed = made(row, ba.Columns(generation='answer_{i}', rating='score_{i}'))
    assert ([r[1:4:2] for r in found], failed) == ([('a', '1'), ('c', '3')], [])
    found, failed = made(row, ba.Columns(generation=['answer_1', 'answer_2']))
    assert ([r[1] for r in found], [error for error, _ in failed]) == (['a'], ['NullGeneration'])


def test_lists_beside_generations_must_match_each_its_own():
    row = {'instruction': 'q', 'a': ['x', 'y'], 'b': ['z'], 'sa': [1], 'sb': [2, 3]}
    found, failed = made(row, ba.Columns(generation=['a', 'b'], rating=['sa', 'sb']))
    assert (found, [error for error, _ in failed]) == ([], ['UnequalLists'])


def test_several_columns_of_an_instruction_are_joined_without_those_that_are_empty():
    columns = ba.Columns(['instruction', 'input'], 'output')
    assert texts({'instruction': 'Translate.', 'input': 'Hund', 'output': 'dog'}, columns) == [
        ('Translate.\n\nHund', 'dog')
    ]
    for nothing in ('', ' ', None):
        assert texts({'instruction': 'q', 'input': nothing, 'output': 'a'}, columns) == [('q', 'a')]


@pytest.mark.parametrize(
    ('keys', 'roles'),
    [
        (('role', 'content'), ('user', 'assistant')),
        (('from', 'value'), ('human', 'gpt')),
        (('role', 'text'), ('prompter', 'assistant')),
    ],
)
def test_of_a_conversation_the_last_turn_is_the_generation_and_what_was_before_it_the_instruction(keys, roles):
    columns = ba.Columns('c', 'c')
    assert texts({'c': said('q', 'a', keys=keys, roles=roles)}, columns) == [('q', 'a')]
    long = said('q', 'a', 'r', 'b', keys=keys, roles=roles)
    assert texts({'c': long}, columns) == [('**User:** q\n\n**Assistant:** a\n\n**User:** r', 'b')]
    assert texts({'c': [*long, {keys[0]: roles[0], keys[1]: 'never answered'}]}, columns)[0][1] == 'b'


def test_an_instruction_of_its_own_is_all_of_its_conversation():
    row = {'prompt': said('q', 'a', 'r'), 'chosen': said('q', 'a', 'r', 'x')[3:], 'rejected': said('', 'y')[1]}
    prompt = '**User:** q\n\n**Assistant:** a\n\n**User:** r'
    assert texts(row, ba.Columns('prompt', ['chosen', 'rejected'])) == [(prompt, 'x'), (prompt, 'y')]


def test_parts_of_a_message_and_systems_and_images_are_shown():
    parts = [{'type': 'text', 'text': 'What is it?'}, {'type': 'image_url', 'image_url': {'url': 'http://x/y.png'}}]
    row = {'c': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}], 'g': 'a'}
    assert texts(row, ba.Columns('c', 'g')) == [('**System:** Be brief.\n\n**User:** Hi', 'a')]
    row = {'c': json.dumps([{'role': 'user', 'content': parts}]), 'g': 'a'}
    assert texts(row, ba.Columns('c[]', 'g')) == [('What is it?\n\n![](http://x/y.png)', 'a')]


def test_conversations_that_part_earlier_are_compared_from_there_on():
    row = {'a': said('q', 'x', 'r', 'y'), 'b': said('q', 'z', 's', 'w')}
    assert texts(row, ba.Columns('a', ['a', 'b'])) == [
        ('q', '**Assistant:** x\n\n**User:** r\n\n**Assistant:** y'),
        ('q', '**Assistant:** z\n\n**User:** s\n\n**Assistant:** w'),
    ]


@pytest.mark.parametrize(
    ('a', 'b', 'error'),
    [
        (said('q', 'x'), said('r', 'y'), 'DifferentPrompts'),
        (said('q', 'x'), said('q'), 'NoAnswer'),
        ([{'role': 'user', 'content': 'q'}], [{'role': 'user', 'content': 'q'}], 'NoAnswer'),
        ('no', 'yes', 'EmptyInstruction'),  # nothing in common
    ],
)
def test_what_is_no_pair_of_conversations_is_refused(a, b, error):
    found, failed = made({'a': a, 'b': b}, ba.Columns('a', ['a', 'b']))
    assert (found, [name for name, _ in failed]) == ([], [error])


def test_texts_that_are_dialogues_or_begin_alike_are_taken_apart():
    columns = ba.Columns('a', ['a', 'b'])
    dialogue = '\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: '
    prompt = '**User:** q\n\n**Assistant:** a\n\n**User:** r'
    assert texts({'a': f'{dialogue}x', 'b': f'{dialogue}y'}, columns) == [(prompt, 'x'), (prompt, 'y')]
    assert texts({'a': 'The sky is blue.', 'b': 'The sky is blank.'}, columns) == [
        ('The sky is', 'blue.'),
        ('The sky is', 'blank.'),
    ]
    found, failed = made({'a': 'just a text'}, ba.Columns('a', 'a'))
    assert (found, [error for error, _ in failed]) == ([], ['NotAConversation'])


def test_the_messages_are_carried_for_a_task_that_shows_them():
    columns = ba.Columns('c', 'g', chat=True)
    rows = [{'c': said('q', 'a', 'r'), 'g': 'x'}]
    for given_rows in (pa.Table.from_pylist(rows), rows):
        (table,), _ = canonical_tables(given_rows, columns)
        assert json.loads(table.column('messages')[0].as_py()) == said('q', 'a', 'r')
        (record,) = ba.Preference(1, chat=True).records(table)
        assert record.fields['instruction'] == said('q', 'a', 'r')
    (table,), _ = canonical_tables([{'c': 'plain', 'g': 'x'}], columns)
    (record,) = ba.TextGeneration(chat=True).records(table)
    assert record.fields['instruction'] == [{'role': 'user', 'content': 'plain'}]


def test_a_scale_makes_ratings_of_scores_and_keeps_them():
    row = {'instruction': 'q', 'a': 'x', 'b': 'y', 'sa': 7.5, 'sb': 11}
    columns = ba.Columns(generation=['a', 'b'], rating=['sa', 'sb'], scale=ba.Scale((0, 10)))
    found, _ = made(row, columns)
    assert [r[3::3] for r in found] == [('4', 7.5), ('11 (not on the scale)', None)]
    (table,), _ = canonical_tables([row], columns)
    (record,) = ba.Preference(2, scores=True).records(table)
    assert [s.value for s in record.suggestions] == [4]
    assert record.metadata == {'generations-0-score': 7.5}
    told = "rating '11 (not on the scale)' of generations-1 is not one of 1, 2, 3, 4, 5: not suggested"
    assert record.warnings == (told,)


def test_of_a_winner_each_side_has_its_own_scale():
    first, second = ba.Scale({'a': 1, 'tie': 0.5, 'b': 0}), ba.Scale({'a': 0, 'tie': 0.5, 'b': 1})
    columns = ba.Columns(generation=['a', 'b'], rating=['winner', 'winner'], scale=[first, second])
    for winner, wanted in (('a', ['5', '1']), ('tie', ['3', '3']), ('b', ['1', '5']), (None, [None, None])):
        found, _ = made({'instruction': 'q', 'a': 'x', 'b': 'y', 'winner': winner}, columns)
        assert [r[3] for r in found] == wanted
    found, _ = made({'instruction': 'q', 'a': 'x', 'b': 'y', 'winner': '0'}, columns)
    assert [r[3] for r in found] == ['0 (not on the scale)'] * 2


def test_ids_are_those_of_the_instructions_however_they_are_written():
    rows = [{'chosen': said('q', 'a'), 'rejected': said('q', 'b'), 'prompt': said('q')}] * 2
    table = pa.Table.from_pylist(rows)
    for columns in (ba.Columns('chosen', ['chosen', 'rejected']), ba.Columns('prompt', ['chosen', 'rejected'])):
        (canonical,), _ = canonical_tables(table, columns)
        ids = instruction_ids(table, columns).to_pylist()
        assert set(ids) == set(canonical.column('instruction_id').to_pylist())
        assert len(ids) == 2  # one for each row: they are repeated


_TEXTS = st.text('aé \n', max_size=4)
_NUMBERS = st.none() | st.integers(0, 5) | st.floats(0, 5).map(lambda x: round(x, 1))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(_TEXTS.filter(str.strip), st.lists(st.tuples(_TEXTS, _NUMBERS), min_size=2, max_size=2)),
        min_size=1,
        max_size=5,
    )
)
def test_the_same_rows_in_ten_forms_are_the_same_records(rows):
    """Long, wide, side by side, structs, JSON text, conversations; as tables, and as dicts."""
    wide = [{'instruction': q, 'generations': [a for a, _ in g], 'ratings': [r for _, r in g]} for q, g in rows]
    beside = [{'q': q, 'a': g[0][0], 'b': g[1][0], 'ra': g[0][1], 'rb': g[1][1]} for q, g in rows]
    nested = [{'instruction': q, 'c': [{'text': a, 'n': {'rating': r}} for a, r in g]} for q, g in rows]
    text = [{**row, 'c': json.dumps(row['c'])} for row in nested]
    chats = [{'a': said(q, g[0][0]), 'b': said(q, g[1][0]), 'ra': g[0][1], 'rb': g[1][1]} for q, g in rows]
    forms = [
        (wide, ba.Columns()),
        (beside, ba.Columns('q', ['a', 'b'], rating=['ra', 'rb'])),
        (nested, ba.Columns(generation='c[].text', rating='c[].n.rating')),
        (text, ba.Columns(generation='c[].text', rating='c[].n.rating')),
        (chats, ba.Columns('a', ['a', 'b'], rating=['ra', 'rb'])),
    ]
    outcomes = []
    for elements, columns in forms:
        for given_rows in (elements, pa.Table.from_pylist(elements)):
            tables, failed = canonical_tables(given_rows, columns)
            assert failed == []
            assert len(tables) == 1
            outcomes.append([str(record) for record in ba.Preference(2).records(tables[0])])
    assert outcomes == [outcomes[0]] * 10


def test_rows_that_were_refused_mean_the_same_when_they_are_read_again():
    columns = ba.Columns('p', ['a', 'b'], instruction_id='id', rating=['sa', 'sb'])
    row = {'p': said('q', 'x', 'r'), 'a': said('', 'y')[1:], 'b': None, 'id': None, 'sa': 4.0, 'sb': [1, 2]}
    for given_rows in (pa.Table.from_pylist([row]), [row]):
        _, (failed,) = canonical_tables(given_rows, columns)
        (again,) = json.loads(failed.data)['input']
        repaired = {**again, 'b': 'z', 'id': 'i', 'sb': 5}
        assert from_rows([repaired], columns)[0][0].drop_columns(['position']).to_pylist()[0]['generation'] == 'y'
        assert [r[3] for r in made({**row, 'b': 'z', 'id': 'i', 'sb': 5}, columns)[0]] == ['4', '5']


@pytest.mark.parametrize('name', ['f.csv', 'f.parquet'])
@pytest.mark.parametrize(
    ('values', 'column', 'said'),
    [
        (['["a", "b"]', '[]'], None, 'generations[]'),
        (['["a", "b"]', '[]'], 'generations[]', None),
        (['["a", "b"]', '[b]'], None, None),
    ],
)
def test_that_texts_are_lists_in_json_is_said(values, column, said, name, tmp_path, caplog):
    table = pa.table({'instruction': ['q', 'r'], 'generations': values})
    (pq.write_table if name.endswith('parquet') else pa.csv.write_csv)(table, tmp_path / name)
    ba.ReadGenerations(tmp_path, ba.Columns(generation=column))
    told = [message for message in caplog.messages if 'is a list in JSON' in message]
    assert [f"--generation_column '{said}'" in message for message in told] == ([True] if said else [])
