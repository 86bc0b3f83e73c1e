"""Input that never ends."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, window

import beam_argilla as ba
from tests.samples import COLUMNS, rows


def test_a_late_row_brings_its_whole_group_again():
    """An accumulating trigger: the record is made again with all rows, so its upsert updates it."""
    first, second, late, other = *rows(1)[:3], rows(2)[4]
    stream = (
        TestStream()
        .advance_watermark_to(0)
        .add_elements([window.TimestampedValue(r, 1) for r in (first, second, other)])
        .advance_watermark_to(20)
        .add_elements([window.TimestampedValue(late, 2)])
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as p:
        records = (
            p
            | stream
            | beam.WindowInto(
                window.FixedWindows(10),
                trigger=trigger.AfterWatermark(late=trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
                allowed_lateness=100,
            )
            | ba.FormatGenerations(COLUMNS)
            | ba.GroupGenerations(num_partitions=4)
            | ba.BuildRecords(ba.Preference(4))
        )
        seen = records | beam.Map(lambda r: (r.external_id, sum(f.startswith('generations-') for f in r.fields)))
        assert_that(seen, equal_to([('i0000', 2), ('i0001', 1), ('i0000', 3)]))
