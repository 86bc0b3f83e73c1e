"""The dataset that is written to, where a side input cannot bring it: in streams."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms import window

import beam_argilla as ba
from tests.samples import COLUMNS, rows, unique
from tests.writing.test_write import stored

RECORD = ba.Record('r', {'text': 'A text'})
SETTINGS = ba.DatasetSettings([ba.text_field('text')], [ba.rating_question('good', 'Good?', [1, 2, 3], True)])


def steps_with_side_inputs(p: beam.Pipeline) -> Iterator[str]:
    """Which Beam's own Flink runner cannot take a checkpoint of."""
    for step in p.to_runner_api().components.transforms.values():
        if step.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload)
            if payload.side_inputs:
                yield step.unique_name


@pytest.mark.parametrize(
    ('source', 'options'),
    [(Stream().add_elements(rows(2)), []), (beam.Create(rows(2)), ['--streaming'])],
    ids=['unbounded', 'bounded'],
)
def test_a_stream_can_be_checkpointed_on_flink(connection, source, options):
    p = beam.Pipeline(runner='FnApiRunner', options=PipelineOptions(options))
    windows = p | source | beam.WindowInto(window.FixedWindows(60))
    _ = windows | ba.WriteToArgilla(
        'stream', task=ba.TextGeneration(), connection=connection, columns=COLUMNS, distinct=True
    )
    assert list(steps_with_side_inputs(p)) == []


def test_a_stream_makes_its_dataset(api, connection):
    name = unique('stream')
    with beam.Pipeline(runner='FnApiRunner', options=PipelineOptions(['--streaming'])) as p:
        _ = p | beam.Create([RECORD]) | ba.WriteRecords(name, settings=SETTINGS, connection=connection)
    assert {id: record['fields'] for id, record in stored(api, name).items()} == {'r': RECORD.fields}


@pytest.mark.parametrize(
    'options', [{'skip_unchanged': True}, {'adopt': True}], ids=lambda options: next(iter(options))
)
def test_a_bounded_stream_looks_at_what_its_dataset_holds(api, connection, options):
    name, record = unique('stream'), ba.Record('r', {'instruction': 'What?'})
    settings = ba.DatasetSettings([ba.text_field('instruction')], SETTINGS.questions)
    for _ in range(2):
        with beam.Pipeline(runner='FnApiRunner', options=PipelineOptions(['--streaming'])) as p:
            write = ba.WriteRecords(name, settings=settings, connection=connection, **options)
            _ = p | beam.Create([record]) | write
    assert {id: found['fields'] for id, found in stored(api, name).items()} == {'r': record.fields}
