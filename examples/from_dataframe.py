"""A data frame of Beam's is cleaned as in pandas, and what is left becomes records that people annotate.

    export ARGILLA_API_URL=http://localhost:6900 ARGILLA_API_KEY=argilla.apikey
    python examples/from_dataframe.py

`to_pcollection` gives a NamedTuple for each row, whose fields are the columns that are left: `WriteToArgilla` sees
while the pipeline is built whether those that it is told of are there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.dataframe.convert import to_dataframe, to_pcollection
from apache_beam.options.pipeline_options import PipelineOptions

import beam_argilla as ba

ROWS = [
    beam.Row(prompt='Name a colour.', answer='Blue.', language='en', seconds=0.5),
    beam.Row(prompt='Name a colour.', answer='  Green.  ', language='en', seconds=1.25),
    beam.Row(prompt='Name a colour.', answer='', language='en', seconds=0.0),
    beam.Row(prompt='Nenne eine Farbe.', answer='Blau.', language='de', seconds=2.0),
]


def main(argv: Sequence[str] | None = None) -> None:
    with beam.Pipeline(options=PipelineOptions(argv)) as p:
        frame = to_dataframe(p | beam.Create(ROWS))
        frame['answer'] = frame.answer.str.strip()
        frame = frame.loc[(frame.answer != '') & (frame.language == 'en')]
        _ = to_pcollection(frame) | ba.WriteToArgilla(
            'from-dataframe',
            task=ba.TextGeneration(metadata=['language', ba.Metadata('seconds', 'float')]),
            columns=ba.Columns(instruction='prompt', generation='answer'),
            connection=ba.ArgillaConnection(os.environ['ARGILLA_API_URL']),
        )


if __name__ == '__main__':
    main(sys.argv[1:])
