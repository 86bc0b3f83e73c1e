"""Conversations and scores on a real Argilla."""

from __future__ import annotations

import apache_beam as beam

import beam_argilla as ba
from tests.samples import pipeline

ASKED = [
    {'role': 'system', 'content': 'Be brief.'},
    {'role': 'user', 'content': 'Hi'},
    {'role': 'assistant', 'content': 'Hello!'},
    {'role': 'user', 'content': 'Who are you?'},
]


def test_conversations_and_exact_scores_are_there_for_the_sdk(connection, sdk):
    rows = [
        {'c': ASKED, 'a': 'A model.', 'b': 'Nobody.', 'sa': 7.5, 'sb': 0},
        {'c': 'A text alone', 'a': 'x', 'b': 'y', 'sa': None, 'sb': 10},
    ]
    columns = ba.Columns('c', ['a', 'b'], rating=['sa', 'sb'], scale=ba.Scale((0, 10)))
    for _ in range(2):  # again, for the dataset that is there must fit
        with pipeline() as p:
            write = ba.WriteToArgilla('talks', task=ba.Preference(2, chat=True), connection=connection, columns=columns)
            _ = p | beam.Create(rows) | write
    records = {r.fields['generations-0']: r for r in sdk.datasets('talks').records(with_suggestions=True)}
    talk, text = records['A model.'], records['x']
    assert [message.model_dump() for message in talk.fields['instruction']] == ASKED
    assert [message.model_dump() for message in text.fields['instruction']] == [
        {'role': 'user', 'content': 'A text alone'}
    ]
    assert dict(talk.metadata) == {'generations-0-score': 7.5, 'generations-1-score': 0.0}
    assert dict(text.metadata) == {'generations-1-score': 10.0}
    assert talk.suggestions['generations-0-rating'].value == 4
    assert text.suggestions['generations-1-rating'].value == 5
