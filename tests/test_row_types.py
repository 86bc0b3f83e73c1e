"""What a pipeline gives out as rows: whoever reads rows, and not Python alone, knows their fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.schemas import named_fields_from_element_type

import beam_argilla as ba
from beam_argilla.refusing import Refused, refuse
from tests.samples import pipeline

MAYBE = Optional[str]  # noqa: UP045  # as Beam says it


@pytest.mark.parametrize(
    ('kind', 'first', 'second'),
    [
        (ba.FailedRecord, ('external_id', MAYBE), ('stage', str)),
        (ba.WrittenRecord, ('external_id', str), ('record_id', str)),
        (ba.CheckedRecord, ('external_id', str), ('item', str)),
        (ba.WriteSummary, ('dataset', str), ('created', np.int64)),
    ],
)
def test_a_row_says_what_its_fields_are(kind, first, second):
    assert named_fields_from_element_type(kind)[:2] == [first, second]


def refused(byte: int) -> Iterator[beam.pvalue.TaggedOutput]:
    """Refuses a file with such a byte in its name, as Python reads it."""
    path = f'caf{chr(0xDC00 + byte)}.parquet'
    yield refuse(ba.FailedRecord(None, 'format', 'BadFile', f'{path} is damaged', None, '{}', path))


def test_what_is_refused_travels_whatever_a_file_is_called():
    with pipeline() as p:
        failed = (p | beam.Create([0xE9]) | beam.FlatMap(refused).with_outputs())[Refused.TAG]
        failed.element_type = ba.FailedRecord
        told = failed | beam.Reshuffle() | beam.Map(lambda failed: (failed.source, failed.message))
        assert_that(told, equal_to([('caf\\udce9.parquet', 'caf\\udce9.parquet is damaged')]))
