"""Datasets that distilabel filled: said before writing, and taken over on request with what people have answered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import apache_beam as beam
import argilla as rg
import httpx
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

import beam_argilla as ba
from beam_argilla.errors import JobError
from beam_argilla.records import external_id, generation_suffix, is_external_id
from beam_argilla.server.settings import text_field, text_question
from tests.samples import counters, unique

TASK = ba.Preference(2)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def distilabel(connection, name: str, task: Any, records: Sequence[dict[str, str]]) -> None:
    """A dataset as distilabel leaves it: its settings are ours, and its records have no ids of their own."""
    client = connection.client()
    dataset = rg.Dataset(name, workspace='default', settings=task.settings().to_argilla(), client=client).create()
    log(dataset, records)


def log(dataset: rg.Dataset, records: Sequence[dict[str, str]]) -> None:
    dataset.records.log([rg.Record(fields={'id': sha256(r['instruction']), **r}) for r in records])


def preferences(*instructions: str) -> list[dict[str, str]]:
    return [{'instruction': i, 'generations-0': 'due', 'generations-1': 'uno'} for i in instructions]


def texts(record: dict[str, Any]) -> list[str]:
    """The generations of a record, in their places."""
    return [record['fields'][f'generations-{i}'] for i in range(3) if f'generations-{i}' in record['fields']]


def rows(*instructions: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {'instruction': i, 'generation': text, 'model_name': model, 'rating': rating, **more}
        for i in instructions
        for text, model, rating in (('uno', 'a', 1), ('due', 'b', 5))
    ]


def write(
    connection,
    name,
    elements,
    task: Any = TASK,
    columns: ba.Columns | None = None,
    refused: Sequence[tuple[str, str]] = (),
    **options,
) -> dict[str, int]:
    p = beam.Pipeline(runner=FnApiRunner())
    options = {'adopt': True, 'columns': columns or ba.Columns(), **options}
    result = p | beam.Create(elements) | ba.WriteToArgilla(name, task=task, connection=connection, **options)
    why = result.failed | 'Why' >> beam.Map(lambda f: (f.external_id, f.error))
    assert_that(why, equal_to(list(refused)), 'refused')
    result = p.run()
    counts = counters(result)
    return {k: counts[k] for k in ('records_created', 'records_updated', 'records_unchanged', 'records_adopted')}


def counts(created: int = 0, updated: int = 0, unchanged: int = 0, adopted: int = 0) -> dict[str, int]:
    return dict(
        zip(('records_created', 'records_updated', 'records_unchanged', 'records_adopted'),
            (created, updated, unchanged, adopted), strict=True)
    )  # fmt: skip


def stored(api: httpx.Client, name: str) -> list[dict[str, Any]]:
    """The records, the oldest first."""
    (dataset,) = api.get('/me/datasets', params={'name': name}).json()['items']
    params = {'limit': 1000, 'include': 'suggestions,responses'}
    return api.get(f'/datasets/{dataset["id"]}/records', params=params).json()['items']


def answer(api: httpx.Client, record: dict[str, Any], status: str = 'submitted') -> None:
    values = {name: {'value': 2} for name in ('generations-0-rating', 'generations-1-rating')}
    body = {'status': status, 'values': values}
    assert api.post(f'/records/{record["id"]}/responses', json=body).status_code == 201


def suggested(connection, name: str, record: dict[str, Any]) -> dict[str, Any]:
    """Question → what is suggested."""
    questions = {q.id: q.name for q in connection.client().datasets(name).settings.questions}
    return {questions[UUID(s['question_id'])]: s['value'] for s in record['suggestions']}


def kept(records: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What belongs to the record that is there, or to people."""
    return [(r['id'], r['external_id'], r['responses'], r['status'], r['inserted_at']) for r in records]


def test_what_distilabel_wrote_is_taken_over_with_what_people_answered_and_so_it_is_again(connection, api):
    distilabel(connection, name := unique('adopt'), TASK, preferences('q0', 'q1', 'only there'))
    answer(api, stored(api, name)[1])
    before = stored(api, name)
    assert write(connection, name, rows('q0', 'q1', 'new')) == counts(created=1, updated=2, adopted=2)
    after = stored(api, name)
    assert kept(after[:3]) == kept(before)
    assert after[2] == before[2]
    assert [texts(r) for r in after] == [['due', 'uno']] * 3 + [['uno', 'due']]
    assert [{s['value'] for s in r['suggestions']} for r in after] == [{1, 5}, {1, 5}, set(), {1, 5}]
    assert after[3]['external_id'] == sha256('new')
    again = write(connection, name, rows('q0', 'q1', 'new'), skip_unchanged=True)
    assert again == counts(unchanged=3, adopted=2)
    assert write(connection, name, rows('q0', 'q1', 'new')) == counts(updated=3, adopted=2)
    assert kept(stored(api, name)) == kept(after)


def test_what_people_answered_stays_beside_the_texts_that_they_answered(connection, api):
    """Same texts in another order keep their places; other texts are refused, and nothing is changed."""
    task = ba.Preference(3, model_names=True)
    there = {
        'draft': ['due', 'uno'],
        'discarded': ['due', 'uno'],
        'other': ['due', 'one'],
        'fewer': ['due', 'uno', 'x'],
    }
    there |= {'more': ['uno'], 'twice': ['uno', 'due', 'uno'], 'unanswered': ['uno', 'x', 'due'], 'free': ['x']}
    records = [{'instruction': q, **{f'generations-{i}': t for i, t in enumerate(ts)}} for q, ts in there.items()]
    distilabel(connection, name := unique('adopt'), task, records)
    for record in stored(api, name)[:-2]:
        answer(api, record, 'discarded' if record['fields']['instruction'] == 'discarded' else 'draft')
    before = stored(api, name)
    elements = [*rows(*there, 'new'), {**rows('twice')[0], 'model_name': 'c'}]
    elements[-1] |= {'rating': 9, 'rationale': 'why'}
    refused = [(sha256(q), 'AnsweredRecord') for q in ('other', 'fewer', 'more')]
    written = write(connection, name, elements, task, refused=refused)
    assert written['records_adopted'] == 5
    after = {r['fields']['instruction']: r for r in stored(api, name)}
    old = {r['fields']['instruction']: r for r in before}
    assert kept([after[q] for q in there]) == kept(before)
    for q in ('other', 'fewer', 'more'):
        assert after[q] == old[q]
    for q in ('draft', 'discarded', 'twice'):
        assert texts(after[q]) == there[q]
        assert after[q]['fields']['id'] == sha256(q)
    assert texts(after['unanswered']) == texts(after['free']) == ['uno', 'due']
    assert after['draft']['metadata'] == {'generations-0-model': 'b', 'generations-1-model': 'a'}
    assert suggested(connection, name, after['draft']) == {'generations-0-rating': 5, 'generations-1-rating': 1}
    assert after['twice']['metadata'] == {f'generations-{i}-model': m for i, m in enumerate('abc')}
    assert suggested(connection, name, after['twice']) == {
        'generations-0-rating': 1, 'generations-1-rating': 5, 'generations-2-rationale': 'why',
    }  # fmt: skip
    again = write(connection, name, elements, task, refused=refused, skip_unchanged=True)
    assert again == counts(unchanged=6, adopted=5)


def test_an_answered_record_goes_to_the_one_with_its_texts_whoever_comes_first(connection, api):
    distilabel(connection, name := unique('adopt'), TASK, preferences('q'))
    answer(api, stored(api, name)[0])
    columns = ba.Columns(instruction_id='key')
    elements = [*rows('q', key='k2'), *({**r, 'generation': 'x'} for r in rows('q', key='k1'))]
    assert write(connection, name, elements, columns=columns) == counts(created=1, updated=1, adopted=1)
    assert [(r['fields']['id'], texts(r)) for r in stored(api, name)] == [('k2', ['due', 'uno']), ('k1', ['x', 'x'])]
    changed = [{**r, 'generation': 'y'} for r in rows('q', key='k2')]
    refused = [('k2', 'AnsweredRecord')]  # it is taken over for good
    assert write(connection, name, changed, columns=columns, refused=refused) == counts()


def test_suggestions_can_be_replaced_in_what_is_taken_over(connection, api):
    distilabel(connection, name := unique('adopt'), TASK, preferences('q0'))
    write(connection, name, rows('q0'))
    fewer = [{k: v for k, v in row.items() if k != 'rating'} for row in rows('q0')]
    assert write(connection, name, fewer, suggestions='replace') == counts(updated=1, adopted=1)
    (record,) = stored(api, name)
    assert record['suggestions'] == []


def test_of_several_our_own_is_preferred_then_the_answered_then_the_oldest(connection, api):
    distilabel(connection, name := unique('adopt'), TASK, preferences('old', 'old', 'told', 'told'))
    answer(api, stored(api, name)[3])
    write(connection, name, rows('ours'), adopt=False)
    log(connection.client().datasets(name), preferences('ours'))
    before = stored(api, name)
    assert write(connection, name, rows('old', 'told', 'ours')) == counts(updated=3, adopted=2)
    after = stored(api, name)
    assert kept(after) == kept(before)
    assert [bool(r['suggestions']) for r in after] == [True, False, False, True, True, False]


def test_ids_of_a_column_find_what_they_took_over_and_leave_what_others_took(connection, api):
    distilabel(connection, name := unique('adopt'), TASK, preferences('q', 'q'))
    columns = ba.Columns(instruction_id='key')
    both = [*rows('q', key='k1'), *rows('q', key='k2')]
    assert write(connection, name, both, columns=columns) == counts(updated=2, adopted=2)
    answer(api, stored(api, name)[1])  # which makes it no better than the other, for it is another's
    assert [r['fields']['id'] for r in stored(api, name)] == ['k1', 'k2']
    third = rows('q', key='k3')
    assert write(connection, name, [*third, *rows('q', key='k1')], columns=columns) == counts(1, 1, adopted=1)
    assert [(r['fields']['id'], r['external_id'] == 'k3') for r in stored(api, name)] == [
        ('k1', False), ('k2', False), ('k3', True),
    ]  # fmt: skip


def test_a_record_of_each_generation(connection, api):
    task = ba.TextGeneration(model_names=False)
    texts = [{'instruction': 'q', 'generation': g} for g in ('uno', 'uno', 'tre')]
    distilabel(connection, name := unique('adopt'), task, texts)
    before = stored(api, name)
    elements = [*rows('q'), {**rows('q')[0], 'model_name': 'c'}]  # uno of a and of c, due of b
    for _ in range(2):
        write(connection, name, elements, task)
        after = stored(api, name)
        assert kept(after[:3]) == kept(before)
        assert [r['fields']['generation'] for r in after] == ['uno', 'uno', 'tre', 'due']


def test_a_record_without_an_external_id_is_taken_over_too(connection, api):
    write(connection, name := unique('adopt'), [], adopt=False)
    (dataset,) = api.get('/me/datasets', params={'name': name}).json()['items']
    item = {'fields': {'id': sha256('q'), **preferences('q')[0]}}
    assert api.put(f'/datasets/{dataset["id"]}/records/bulk', json={'items': [item]}).status_code == 200
    assert write(connection, name, rows('q')) == counts(updated=1, adopted=1)
    (record,) = stored(api, name)
    assert (record['external_id'], bool(record['suggestions'])) == (None, True)


# -- said


def test_records_of_others_are_said_once_with_the_way_out_and_ours_are_not(connection, caplog):
    distilabel(connection, name := unique('said'), TASK, preferences('q0', 'q1'))
    ours = unique('ours')
    write(connection, ours, rows('q0'), ba.Preference(2, namespace='a/b'), adopt=False)
    with caplog.at_level(logging.WARNING, 'beam_argilla'):
        write(connection, ours, rows('q0'), adopt=False)
        write(connection, name, rows('q0'))
        assert [r for r in caplog.records if r.name.startswith('beam_argilla')] == []
        assert write(connection, name, rows('q0'), adopt=False)['records_created'] == 1
    (message,) = [r.getMessage() for r in caplog.records if r.name.startswith('beam_argilla')]
    assert 'written beside them' in message
    assert '--adopt' in message


@pytest.mark.parametrize('namespace', [None, 'run', 'a/b', 'a\nb'])
def test_the_external_ids_of_this_package_are_known(namespace):
    for id in ('i', 'a/b', 'x-0123456789ab', 'é(.*'):
        assert is_external_id(external_id(id, namespace), id)
        assert is_external_id(external_id(id, namespace, generation_suffix('m', 'text')), id)
        assert not is_external_id('3b668ee4-522c-4bc2-b409-cdfcc7b16a01', id)
        assert not is_external_id(f'x{id}', id)


# -- mistakes


def test_what_cannot_be_adopted_is_told(connection):
    nowhere = ba.ArgillaConnection('http://127.0.0.1:9')
    p = beam.Pipeline(runner=FnApiRunner())
    records = p | beam.Create([ba.Record('r', {})]) | beam.WindowInto(window.FixedWindows(1))
    with pytest.raises(ValueError, match='adopt=True needs bounded input'):
        _ = records | ba.WriteRecords('x', connection=nowhere, adopt=True)
    settings = ba.DatasetSettings([text_field('t')], [text_question('q', 'q')])
    p = beam.Pipeline(runner=FnApiRunner())
    write_it = ba.WriteRecords(unique('x'), connection=connection, settings=settings, adopt=True)
    _ = p | beam.Create([ba.Record('r', {'t': 'x'})]) | write_it
    with pytest.raises(JobError, match='has no field of that name'):
        p.run()


@pytest.mark.parametrize('record_id', ['x', 5, ''])
def test_a_record_id_that_is_none_is_refused(record_id):
    settings = ba.DatasetSettings([text_field('t')], [text_question('q', 'q')])
    p = beam.Pipeline(runner=FnApiRunner())
    _ = p | beam.Create([ba.Record('r', {'t': 'x'}, record_id=record_id)]) | ba.CheckRecords(settings)
    with pytest.raises(Exception, match='it must be a UUID'):
        p.run()
