"""Answered records → the rows that trainers read."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.transforms.error_handling import CollectingErrorHandler
from hypothesis import given
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.answers.answered import Generation
from beam_argilla.answers.forms import said
from beam_argilla.answers.judged import Scored
from beam_argilla.answers.pairs import pairs_of
from beam_argilla.errors import FormError, RefusedError
from tests.answers.samples import answered
from tests.samples import counters, pipeline

NAMES = [f'generations-{i}' for i in range(3)]
QUESTIONS = {f'{name}-rating': 'rating' for name in NAMES} | {'better': 'text'}
TEXTS = ['Ä\n"a"', 'b', 'c']


def record(*ratings: int | None, user: str = 'ada', prompt: Any = 'q', **more: Any) -> ba.AnsweredRecord:
    fields = {'id': 'i', 'instruction': prompt, **dict(zip(NAMES, TEXTS, strict=True))}
    metadata = {'generations-0-model': 'm0', 'generations-1-model': 'm1'}
    values = {f'{name}-rating': r for name, r in zip(NAMES, ratings, strict=False) if r is not None}
    return answered(fields, {user: values} if values else {}, QUESTIONS, metadata=metadata, **more)


def single(text: str, label: str | None, id: str = 'i', user: str = 'ada') -> ba.AnsweredRecord:
    fields = {'id': id, 'instruction': 'q', 'generation': text}
    people = {user: {'quality': label}} if label else {}
    return answered(fields, people, {'quality': 'label_selection'}, metadata={'model_name': f'of {text}'})


def rows(records: list[ba.AnsweredRecord], form: beam.PTransform) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """What comes out, which has the schema that is told of it; and what was counted."""
    FOUND.clear()
    p = beam.Pipeline(runner='FnApiRunner')
    made = p | beam.Create(records) | form
    _ = made | beam.Map(keep)
    result = p.run()
    result.wait_until_finish()
    assert pa.Table.from_pylist(FOUND, made.training_schema).to_pylist() == FOUND
    assert all(set(row) == set(made.training_schema.names) for row in FOUND)
    return list(FOUND), {k: v for k, v in counters(result).items() if v}


FOUND: list[dict[str, Any]] = []


def keep(row: dict[str, Any]) -> None:
    FOUND.append(row)


def test_pairs_of_ratings():
    (row,), counted = rows([record(5, 2, 3)], ba.ToPreferencePairs())
    assert row == {
        'id': 'i',
        'prompt': 'q',
        'chosen': TEXTS[0],
        'rejected': 'b',
        'chosen_score': 5.0,
        'rejected_score': 2.0,
        'chosen_model': 'm0',
        'rejected_model': 'm1',
        'suggested': False,
    }
    assert counted == {'training_rows': 1}


@pytest.mark.parametrize(
    ('options', 'found', 'counted'),
    [
        ({}, [(0, 1)], {}),
        ({'pairs': 'best_each'}, [(0, 1), (0, 2)], {}),
        ({'pairs': 'all'}, [(0, 1), (0, 2)], {'left_out_tie': 1}),
        ({'pairs': 'all', 'margin': 4}, [], {'left_out_margin': 2, 'left_out_tie': 1}),
    ],
)
def test_which_pairs(options, found, counted):
    made, counts = rows([record(5, 2, 2)], ba.ToPreferencePairs(**options))
    assert sorted((TEXTS.index(r['chosen']), TEXTS.index(r['rejected'])) for r in made) == found
    assert counts.items() >= counted.items()
    assert counts.get('training_rows', 0) == len(found)


def test_messages_and_prompts_that_are_conversations():
    chat = [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': 'q'}]
    (row,), _ = rows([record(5, 2, None, prompt=chat)], ba.ToPreferencePairs(text='messages'))
    assert row['prompt'] == chat
    assert row['chosen'] == [{'role': 'assistant', 'content': TEXTS[0]}]
    (row,), _ = rows([record(5, 2, None, prompt=chat)], ba.ToPreferencePairs())
    assert row['prompt'] == '**System:** s\n\n**User:** q'
    (row,), _ = rows([record(5, 2, None)], ba.ToPreferencePairs(text='messages'))
    assert row['prompt'] == [{'role': 'user', 'content': 'q'}]


def test_pairs_of_single_generations_of_an_instruction():
    records = [single('a', 'good'), single('b', 'bad'), single('c', 'bad'), single('d', None), single('e', 'good', 'j')]
    made, counted = rows(records, ba.ToPreferencePairs(pairs='best_each', across_records=True))
    assert [(r['id'], r['chosen'], r['rejected'], r['chosen_model']) for r in made] == [
        ('i', 'a', 'b', 'of a'),
        ('i', 'a', 'c', 'of a'),
    ]
    assert counted == {'records_judged': 5, 'training_rows': 2, 'left_out_single': 1, 'left_out_unanswered': 1}


def test_records_of_one_instruction_are_those_of_one_id_and_one_prompt():
    one, two = single('a', 'good'), single('b', 'bad')
    other = two._replace(fields={**two.fields, 'instruction': 'another'})
    across = ba.ToPreferencePairs(across_records=True)
    assert rows([one, other], across) == ([], {'records_judged': 2, 'left_out_single': 2})
    bare = [record._replace(fields={n: v for n, v in record.fields.items() if n != 'id'}) for record in (one, two)]
    (row,), _ = rows(bare, across)
    assert row['id'] == hashlib.sha256(b'q').hexdigest()  # distilabel's id of an instruction


def test_each_person_by_itself_and_suggestions_where_nobody_answered():
    both = record(5, 2, None)
    bob = record(1, 4, None, user='bob')
    both = both._replace(responses=[*both.responses, *bob.responses])
    made, _ = rows([both], ba.ToPreferencePairs(ba.Aggregate('all')))
    assert [(r['chosen'], r['rejected']) for r in made] == [(TEXTS[0], 'b'), ('b', TEXTS[0])]
    hints = record(None, suggestions={'generations-0-rating': 1, 'generations-1-rating': 5})
    assert rows([hints], ba.ToPreferencePairs())[0] == []
    (row,), _ = rows([hints], ba.ToPreferencePairs(ba.Aggregate(suggestions=True)))
    assert (row['chosen'], row['suggested']) == ('b', True)


def test_ratings_kto_and_sft():
    made, _ = rows([record(5, 2, None)], ba.ToRatings())
    assert [(r['completion'], r['score'], r['model'], r['user']) for r in made] == [
        (TEXTS[0], 5, 'm0', None),
        ('b', 2, 'm1', None),
    ]
    made, _ = rows([single('a', 'good'), single('b', 'bad')], ba.ToKTO())
    assert [(r['completion'], r['label']) for r in made] == [('a', True), ('b', False)]
    made, _ = rows([record(5, 3, None)], ba.ToKTO(threshold=4))
    assert [r['label'] for r in made] == [True, False]
    (row,), _ = rows([record(2, 5, 5)], ba.ToSFT())
    assert (row['completion'], row['model'], row['score'], row['corrected_by']) == ('b', 'm1', 5, None)
    assert rows([record(2, 3, 1)], ba.ToSFT(min_score=4)) == ([], {'left_out_below_min_score': 1})
    written = record(2, 5, None)
    written = written._replace(responses=[written.responses[0]._replace(values={'better': 'So!'})])
    (row,), _ = rows([written], ba.ToSFT(corrected='better'))
    assert (row['completion'], row['model'], row['score'], row['corrected_by']) == ('So!', None, None, 'ada')


@pytest.mark.parametrize(
    ('form', 'records', 'message'),
    [
        (
            ba.ToPreferencePairs(),
            [answered({'instruction': 'q', 'generations-0': 'a'}, {}, {'note': 'text'})],
            r'Pairs need .* asks note \(text\)',
        ),
        (ba.ToPreferencePairs(), [single('a', 'good')], 'each record of this dataset shows one: across_records=True'),
        (ba.ToKTO(), [record(1, 2)], 'this dataset has a rating: say from which score'),
        (ba.ToSFT(corrected='x'), [record(1, 2)], "There is no text question 'x': this dataset asks generations-0"),
        (ba.ToSFT(corrected='generations-0-rating'), [record(1, 2)], "no text question 'generations-0-rating'"),
    ],
)
def test_what_a_form_cannot_use_is_told(form, records, message):
    with pytest.raises(FormError, match=message), pipeline() as p:
        _ = p | beam.Create(records) | form
    (record,) = records
    with pytest.raises(FormError, match=message):
        form.check(settings(record.fields, record.questions))


def settings(fields, questions, **options) -> ba.DatasetSettings:
    """Of a dataset with such fields, and questions (name → kind) with options."""
    choices = {name: {'options': [{'value': value} for value in values]} for name, values in options.items()}
    return ba.DatasetSettings(
        [{'name': name} for name in fields],
        [
            {'name': name, 'required': True, 'settings': {'type': kind, **choices.get(name, {})}}
            for name, kind in questions.items()
        ],
    )


OWN = ba.Fields(generations=['left', 'right'])


@pytest.mark.parametrize(
    ('form', 'fields', 'kind', 'options', 'message'),
    [
        (
            ba.ToPreferencePairs(fields=OWN),
            ['left', 'right'],
            'ranking',
            ['a', 'b'],
            'none is called like a generation: left',
        ),
        (
            ba.ToRatings(fields=ba.Fields(generations=['left', 'right'], question='q')),
            ['left', 'right'],
            'label_selection',
            ['a', 'b'],
            "The options of 'q' are a, b, and none is called like a generation: left, right.",
        ),
        (
            ba.ToKTO(),
            ['generation'],
            'label_selection',
            ['yes', 'no'],
            "The labels of 'q' are yes, no: say which of them are",
        ),
        (ba.ToKTO(fields=ba.Fields(good=['yes'])), ['generation'], 'label_selection', ['yes', 'no'], None),
        (ba.ToPreferencePairs(fields=OWN), ['left', 'right'], 'ranking', ['x', 'right'], None),
    ],
)
def test_a_question_whose_answers_mean_no_generation_is_told_before_anything_is_read(
    form, fields, kind, options, message
):
    asks = settings(['instruction', *fields], {'q': kind}, q=options)
    if message is None:
        form.check(asks)
        return
    with pytest.raises(FormError, match=message):
        form.check(asks)


@pytest.mark.parametrize(
    ('form', 'error', 'message'),
    [
        (
            ba.ToRatings(fields=ba.Fields(prompt='question')),
            'NoPrompt',
            "no prompt in field 'question': the record has",
        ),
        (
            ba.ToPreferencePairs(
                fields=ba.Fields(
                    generations=['left', 'right'],
                    question={'left': 'generations-0-rating', 'right': 'generations-1-rating'},
                )
            ),
            'NoGenerations',
            'None of the fields',
        ),
    ],
)
def test_a_record_that_no_row_can_be_made_of_costs_itself(form, error, message):
    FOUND.clear()
    fitting = {**record(5, 2).fields, 'question': 'well?', 'left': 'L', 'right': 'R'}
    with pipeline() as p:
        records = p | beam.Create([record(5, 2), record(5, 2)._replace(fields=fitting)])
        with CollectingErrorHandler() as handler:
            _ = records | form.with_error_handler(handler)
        _ = handler.output() | beam.Map(keep)
    (failed,) = FOUND
    assert (failed.external_id, failed.stage, failed.error) == ('the-id', 'form', error)
    assert message in failed.message
    assert json.loads(failed.data)['answered']['fields']['generations-0'] == TEXTS[0]
    with pytest.raises(RefusedError, match=message), pipeline() as p:
        _ = p | beam.Create([record(5, 2)]) | form.with_error_handler(None)


NO_NUMBERS = [float('nan'), float('inf'), float('-inf')]


@pytest.mark.parametrize(
    ('form', 'arguments'),
    [
        *((ba.ToPreferencePairs, arguments) for arguments in ({'pairs': 'some'}, {'margin': -1}, {'text': 'html'})),
        *((ba.ToPreferencePairs, {'margin': number}) for number in NO_NUMBERS),
        *((ba.ToKTO, {'threshold': number}) for number in NO_NUMBERS),
        *((ba.ToSFT, {'min_score': number}) for number in NO_NUMBERS),
    ],
)
def test_what_cannot_be(form, arguments):
    with pytest.raises(ValueError, match=f'^{next(iter(arguments))}='):
        form(**arguments)


@pytest.mark.parametrize(
    ('value', 'plain', 'messages'),
    [
        ('a', 'a', [('assistant', 'a')]),
        ([{'role': 'user', 'content': 'a'}], 'a', [('user', 'a')]),
        ([{'role': 'assistant', 'content': 'a'}], 'a', [('assistant', 'a')]),
        ({'b': 'ä', 'a': [1, None]}, '{"b":"ä","a":[1,null]}', [('assistant', '{"b":"ä","a":[1,null]}')]),
        (
            [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}],
            '**User:** a\n\n**Assistant:** b',
            [('user', 'a'), ('assistant', 'b')],
        ),
    ],
)
def test_what_a_field_says(value, plain, messages):
    assert said(value, 'assistant', 'plain') == plain
    assert said(value, 'assistant', 'messages') == [{'role': r, 'content': c} for r, c in messages]


def test_the_same_text_on_both_sides_is_no_pair():
    same = record(5, 1, 3)
    same = same._replace(fields={**same.fields, 'generations-1': TEXTS[0]})
    made, counted = rows([same], ba.ToPreferencePairs(pairs='all'))
    assert [(r['chosen'], r['rejected']) for r in made] == [(TEXTS[0], 'c'), ('c', TEXTS[0])]
    assert counted == {'training_rows': 2, 'left_out_same_text': 1}
    assert rows([same], ba.ToPreferencePairs()) == ([], {'left_out_same_text': 1})


def test_a_corrected_answer_counts_if_as_many_have_written_one_as_a_value_needs():
    rated = record(2, 5, None)
    (ada,) = rated.responses
    written = rated._replace(
        responses=[
            ada._replace(values={**ada.values, 'better': 'So!'}),
            ada._replace(user='bob', values={'better': 'So, too!'}, updated_at=ada.updated_at + timedelta(minutes=1)),
        ]
    )
    (row,), _ = rows([written], ba.ToSFT(ba.Aggregate(min_answers=2), corrected='better'))
    assert (row['completion'], row['corrected_by']) == ('So, too!', 'bob')
    alone = ba.ToSFT(ba.Aggregate(min_answers=2), corrected='better')
    one = written._replace(responses=written.responses[1:])
    assert rows([one], alone) == ([], {'left_out_unanswered': 3})
    judges_none = one._replace(questions={'better': 'text'})
    assert rows([judges_none], alone) == ([], {'left_out_too_few_answers': 1})
    (row,), _ = rows([one], ba.ToSFT(corrected='better'))
    assert row['corrected_by'] == 'bob'


PAIRS = st.sampled_from(['best_worst', 'best_each', 'all'])


@given(st.lists(st.integers(1, 5), max_size=6), PAIRS, st.sampled_from([0, 1, 2]))
def test_pairs_are_better_by_the_margin_and_all_that_is_left_out_is_told(values, pairs, margin):
    scored = [Scored(Generation(f'g{i}', i, str(i), None), value, None, False) for i, value in enumerate(values)]
    found, reasons = pairs_of(scored, pairs, margin)
    assert all(chosen.score - rejected.score >= max(margin, 1) for chosen, rejected in found)
    n = len(values)
    possible = {'best_worst': min(n // 2, 1), 'best_each': n - 1, 'all': n * (n - 1) // 2}[pairs] if n > 1 else n
    assert len(found) + len(reasons) == possible
    assert pairs_of(scored[::-1], pairs, margin) == (found, reasons)
