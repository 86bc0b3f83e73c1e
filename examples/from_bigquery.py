"""Rows of BigQuery, with records in them, become records that people annotate.

    export ARGILLA_API_URL=http://localhost:6900 ARGILLA_API_KEY=argilla.apikey
    python examples/from_bigquery.py

`ReadFromBigQuery` gives a dict for each row: repeated records are lists of dicts, NUMERIC is a `Decimal`, and TIMESTAMP
a `datetime`. All of that goes in as it is: a path says where in a row the generations are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import beam_argilla as ba

# Stands for beam.io.ReadFromBigQuery(query='SELECT prompt_id, prompt, answers, cost, asked_at FROM ...').
ROWS: list[dict[str, Any]] = [
    {
        'prompt_id': 17,
        'prompt': 'Name a colour.',
        'answers': [{'model': 'a', 'text': 'Blue.', 'score': Decimal('4')}, {'model': 'b', 'text': 'No.', 'score': 1}],
        'cost': Decimal('0.25'),
        'asked_at': datetime(2026, 1, 31, 12, tzinfo=timezone.utc),
    },
    {
        'prompt_id': 18,
        'prompt': 'Say hello.',
        'answers': [{'model': 'a', 'text': 'Hello!', 'score': None}],
        'cost': None,
        'asked_at': datetime(2026, 2, 1, 12, tzinfo=timezone.utc),
    },
]


def main(argv: Sequence[str] | None = None) -> None:
    with beam.Pipeline(options=PipelineOptions(argv)) as p:
        _ = (
            p
            | beam.Create(ROWS)
            | ba.WriteToArgilla(
                'from-bigquery',
                task=ba.Preference(
                    num_generations=2,
                    agent='judge',
                    metadata=[ba.Metadata('cost', 'float'), ba.Metadata('asked_at', name='asked')],
                ),
                columns=ba.Columns(
                    instruction='prompt',
                    generation='answers[].text',
                    model_name='answers[].model',
                    rating='answers[].score',
                    instruction_id='prompt_id',
                ),
                connection=ba.ArgillaConnection(os.environ['ARGILLA_API_URL']),
            )
        )


if __name__ == '__main__':
    main(sys.argv[1:])
