"""`WriteResult.summary`: one element at the end, or one of each window."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

import beam_argilla as ba
from beam_argilla.errors import RefusedError
from tests.samples import COLUMNS, pipeline, rows, unique

TASK = ba.Preference(4)
SPOILT = [*rows(5), {**rows(1)[0], 'generation': None}, {**rows(6)[-1], 'rating': 9}]


def without_dataset(summary: ba.WriteSummary) -> tuple:
    assert '/dataset/' in summary.dataset
    return tuple(summary)[1:]


def test_it_is_one_element_with_the_counts_and_the_address(connection):
    name = unique('summary')
    for expected in ((6, 0, 0, 1, {'NullGeneration': 1}), (0, 0, 6, 1, {'NullGeneration': 1})):
        with pipeline() as p:
            write = ba.WriteToArgilla(name, task=TASK, connection=connection, columns=COLUMNS, skip_unchanged=True)
            result = p | beam.Create(SPOILT) | write
            _ = result.failed | beam.Map(ba.FailedRecord.shown)
            assert result.summary is result.summary
            assert_that(result.summary | beam.Map(without_dataset), equal_to([expected]))


def test_of_two_writes_there_are_two_and_of_nothing_there_is_one(connection):
    record = ba.Record('r', {'instruction': 'q', 'generation': 'a', 'id': 'i'})
    settings = ba.TextGeneration().settings()
    with pipeline() as p:
        for i, records in enumerate(([record], [])):
            write = ba.WriteRecords(unique('two'), connection=connection, settings=settings)
            created = p | f'Records {i}' >> beam.Create(records, reshuffle=False).with_output_types(ba.Record)
            summary = (created | f'Write {i}' >> write).summary
            found = summary | f'Without {i}' >> beam.Map(without_dataset)
            assert_that(found, equal_to([(len(records), 0, 0, 0, {})]), label=f'Check {i}')


def test_of_windows_there_is_one_each(connection):
    with pipeline() as p:
        timed = (
            p
            | beam.Create(rows(6, 2))
            | beam.Map(lambda row: window.TimestampedValue(row, row['length']))
            | beam.WindowInto(window.FixedWindows(4))
        )
        write = ba.WriteToArgilla(unique('windows'), task=TASK, connection=connection, columns=COLUMNS)
        summary = (timed | write).summary
        assert_that(summary | beam.Map(without_dataset), equal_to([(number, 0, 0, 0, {}) for number in (4, 2)]))


def test_it_does_not_consume_what_was_refused(connection):
    with pytest.raises(RefusedError, match='NullGeneration'), pipeline() as p:
        write = ba.WriteToArgilla(unique('guarded'), task=TASK, connection=connection, columns=COLUMNS)
        _ = (p | beam.Create(SPOILT) | write).summary


def test_of_what_never_ends_there_is_none(connection):
    p = beam.Pipeline()
    write = ba.WriteRecords('endless', connection=connection)
    result = p | test_stream.TestStream().advance_watermark_to_infinity() | write
    with pytest.raises(ValueError, match='put it into windows'):
        _ = result.summary


def test_it_is_shown_in_a_line():
    line = ba.WriteSummary('http://a/dataset/d', 1200, 1, 2, 1, {'NullGeneration': 1, 'Refused': 2}).shown()
    assert line == (
        '1,201 records written (1,200 created, 1 updated), 2 unchanged, 1 warning, '
        '3 refused (NullGeneration 1, Refused 2): http://a/dataset/d'
    )
    assert ba.WriteSummary('d', 1, 0, 0, 0, {}).shown() == '1 record written (1 created, 0 updated), 0 refused: d'
