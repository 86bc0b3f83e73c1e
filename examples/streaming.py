"""Answers that come one after the other are shown to people minute by minute; a late one is shown beside the others.

    export ARGILLA_API_URL=http://localhost:6900 ARGILLA_API_KEY=argilla.apikey
    python examples/streaming.py

Answers are brought together within their window. A late one fires its window again, and since panes accumulate, it
brings the whole group with it: the record that is there is updated. (With panes that discard, `WriteToArgilla` refuses
to be built, for a late answer would take the place of the others.) What no record can be made of goes elsewhere while
the rest goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import trigger, window

import beam_argilla as ba


def at(seconds: float, prompt: str, answer: str | None) -> window.TimestampedValue:
    return window.TimestampedValue({'prompt': prompt, 'answer': answer}, seconds)


# Stands for beam.io.ReadFromPubSub(...) | beam.Map(json.loads).
ANSWERS = (
    TestStream()
    .add_elements([at(1, 'Name a colour.', 'Blue.'), at(2, 'Name a colour.', 'Green.'), at(3, 'Say hello.', None)])
    .advance_watermark_to(70)
    .add_elements([at(4, 'Name a colour.', 'Red, though late.'), at(75, 'Say hello.', 'Hello!')])
    .advance_watermark_to_infinity()
)


def main(argv: Sequence[str] | None = None) -> None:
    options = PipelineOptions(argv)
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as p:
        result = (
            p
            | ANSWERS
            | beam.WindowInto(
                window.FixedWindows(60),
                trigger=trigger.AfterWatermark(late=trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
                allowed_lateness=3600,
            )
            | ba.WriteToArgilla(
                'streaming',
                task=ba.Preference(num_generations=3),
                columns=ba.Columns(instruction='prompt', generation='answer'),
                connection=ba.ArgillaConnection(os.environ['ARGILLA_API_URL']),
            )
        )
        _ = result.failed | beam.Map(ba.FailedRecord.shown) | beam.LogElements(prefix='Refused: ')


if __name__ == '__main__':
    main(sys.argv[1:])
