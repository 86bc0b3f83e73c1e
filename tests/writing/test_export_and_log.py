"""What the README says of the argilla SDK's own way out of a dataset and in again."""

from __future__ import annotations

import apache_beam as beam
import argilla as rg
import pytest
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from tests.samples import COLUMNS, pipeline, rows, unique

TASKS = {
    'namespace': ba.Preference(num_generations=4, namespace='n', metadata=[ba.Metadata('topic')]),
    'text generation': ba.TextGeneration(metadata=[ba.Metadata('topic')]),
}


@pytest.fixture(params=TASKS)
def filled(request, argilla_server) -> rg.Dataset:
    """A dataset in which somebody has answered, and fields `id` are not the records' ids."""
    name, task = unique('loop'), TASKS[request.param]
    connection = ba.ArgillaConnection(argilla_server.api_url, RawSecret(argilla_server.api_key))
    with pipeline() as p:
        _ = p | beam.Create(rows(2)) | ba.WriteToArgilla(name, task=task, connection=connection, columns=COLUMNS)
    dataset = connection.client().datasets(name)
    question = dataset.settings.questions[0].name
    value = 'good' if question == 'quality' else 4
    for record in dataset.records:
        record.responses.add(rg.Response(question, value, dataset._client.me.id, status='submitted'))
        dataset.records.log([record])
    return dataset


def test_records_go_in_again_under_their_own_ids_and_leave_the_answers_alone(filled):
    """The example of the README."""
    before = {record.id: dict(record.fields) for record in filled.records}

    again = [
        rg.Record(id=record.id, fields=dict(record.fields), metadata={'topic': 'other'}) for record in filled.records
    ]
    filled.records.log(again)

    after = list(filled.records(with_responses=True, with_suggestions=True))
    assert {record.id: dict(record.fields) for record in after} == before
    assert {record.metadata['topic'] for record in after} == {'other'}
    assert all(len(list(record.responses)) == 1 for record in after)
    assert all(len(list(record.suggestions)) in (0, 8) for record in after)


def test_a_flat_export_has_lost_the_ids_of_the_records(filled):
    """Why: the field `id` has taken the place of the record's. Should the SDK change that, the README can."""
    exported = {row['id'] for row in filled.records.to_list(flatten=True)}
    assert exported == {record.fields['id'] for record in filled.records}
    assert exported.isdisjoint(record.id for record in filled.records)
