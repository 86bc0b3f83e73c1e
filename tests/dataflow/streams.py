"""A streaming pipeline of somebody's own, from a queue into Argilla and back: `streams.py URL OPTION…`."""

from __future__ import annotations

import json
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.secret import Secret

import beam_argilla as ba

SECRET = 'type:GcpSecret;version_name:projects/p/secrets/s/versions/latest'

if __name__ == '__main__':
    connection = ba.ArgillaConnection(sys.argv[1], api_key=Secret.parse_secret_option(SECRET))
    with beam.Pipeline(options=PipelineOptions(sys.argv[2:])) as p:
        messages = p | beam.io.ReadFromPubSub(subscription='projects/the-project/subscriptions/generations')
        rows = messages | beam.Map(json.loads) | beam.WindowInto(FixedWindows(60))
        result = rows | ba.WriteToArgilla(
            'stream', task=ba.Preference(2), connection=connection, columns=ba.Columns(instruction='prompt')
        )
        _ = result.failed | beam.Map(ba.FailedRecord.shown) | 'Failed' >> beam.LogElements()
        answered = p | ba.ReadFromArgilla('stream', connection=connection, poll=60)
        _ = answered | 'Answered' >> beam.LogElements()
