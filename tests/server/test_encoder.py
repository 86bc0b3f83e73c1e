"""What a record may be, and its JSON."""

from __future__ import annotations

import json
import math

import pytest

import beam_argilla as ba
from beam_argilla.errors import InvalidRecordError
from beam_argilla.records import agent_name
from beam_argilla.server.encoder import Encoder
from beam_argilla.server.settings import (
    DatasetSettings,
    label_question,
    metadata_property,
    rating_question,
    text_field,
    text_question,
)

SETTINGS = DatasetSettings(
    fields=[text_field('text'), text_field('note', required=False)],
    questions=[rating_question('stars', 'Stars', [1, 2]), label_question('kind', 'Kind', {'a': 'A', 'b': 'B'})],
    metadata=[metadata_property(n, n) for n in ('terms', 'integer', 'float')],
)
GOOD = ba.Record('id', {'text': 'x'})


def encode(record: ba.Record) -> dict:
    return json.loads(Encoder(SETTINGS, {'stars': 'uuid-1', 'kind': 'uuid-2'}).encode(record))


def test_the_json_of_a_record():
    suggestions = [ba.Suggestion('stars', 2, agent='m', score=0.5, type='model'), ba.Suggestion('kind', 'a')]
    metadata = {'terms': ['p', 'q'], 'integer': 3, 'float': 1.0}
    assert encode(ba.Record('id', {'text': 'é\0\n'}, suggestions, metadata, ['w'])) == {
        'external_id': 'id',
        'fields': {'text': 'é\0\n'},
        'metadata': metadata,
        'suggestions': [
            {'question_id': 'uuid-1', 'value': 2, 'agent': 'm', 'score': 0.5, 'type': 'model'},
            {'question_id': 'uuid-2', 'value': 'a'},
        ],
    }


def test_no_responses_are_ever_sent_and_metadata_is_always_complete():
    assert encode(GOOD).keys() == {'external_id', 'fields', 'metadata', 'suggestions'}


def suggestion(**changes):
    return GOOD._replace(suggestions=[ba.Suggestion(**{'question': 'stars', 'value': 1, **changes})])


@pytest.mark.parametrize(
    ('record', 'error'),
    [
        (GOOD._replace(external_id=''), 'ExternalId'),
        (GOOD._replace(external_id=None), 'ExternalId'),
        (GOOD._replace(external_id='a\0b'), 'ExternalId'),
        (GOOD._replace(external_id='x' * 32_767), 'ExternalId'),
        (GOOD._replace(external_id='é' * 16_384), 'ExternalId'),
        (GOOD._replace(external_id='\ud800'), 'NotJson'),
        (GOOD._replace(fields={}), 'MissingField'),
        (GOOD._replace(fields={'text': None}), 'MissingField'),
        (GOOD._replace(fields={'text': 1}), 'FieldType'),
        (GOOD._replace(fields={'text': '\udfff'}), 'NotJson'),
        (GOOD._replace(fields={'text': 'x', 'other': 'y'}), 'UnknownField'),
        (GOOD._replace(metadata={'float': math.inf}), 'MetadataValue'),
        (GOOD._replace(metadata={'float': math.nan}), 'MetadataValue'),
        (GOOD._replace(metadata={'float': 1e39}), 'MetadataValue'),
        (GOOD._replace(metadata={'float': 1}), 'MetadataValue'),
        (GOOD._replace(metadata={'integer': True}), 'MetadataValue'),
        (GOOD._replace(metadata={'integer': 1.0}), 'MetadataValue'),
        (GOOD._replace(metadata={'integer': 2**63}), 'MetadataValue'),
        (GOOD._replace(metadata={'terms': 1}), 'MetadataValue'),
        (GOOD._replace(metadata={'terms': 'x' * 32_767}), 'MetadataValue'),
        (GOOD._replace(metadata={'terms': '\ud800'}), 'NotJson'),
        (GOOD._replace(metadata={'other': 'x'}), 'UnknownMetadata'),
        (suggestion(value=1.0), 'SuggestionValue'),
        (suggestion(value=True), 'SuggestionValue'),
        (suggestion(value=3), 'SuggestionValue'),
        (suggestion(question='kind', value='c'), 'SuggestionValue'),
        (suggestion(question='other'), 'UnknownQuestion'),
        (suggestion(agent='(x)'), 'SuggestionValue'),
        (suggestion(agent='---'), 'SuggestionValue'),
        (suggestion(agent='x' * 201), 'SuggestionValue'),
        (suggestion(score=1.5), 'SuggestionValue'),
        (suggestion(score=math.nan), 'SuggestionValue'),
        (suggestion(type='robot'), 'SuggestionValue'),
        (GOOD._replace(suggestions=[ba.Suggestion('stars', 1)] * 2), 'SuggestionTwice'),
    ],
)
def test_what_the_server_would_refuse_or_lose_is_refused_with_a_reason(record, error):
    encode(GOOD)
    with pytest.raises(InvalidRecordError) as e:
        encode(record)
    assert e.value.error == error


def test_the_largest_that_is_taken():
    assert encode(GOOD._replace(external_id='x' * 32_766))
    assert encode(GOOD._replace(metadata={'integer': -(2**63), 'float': 3.4e38, 'terms': 'x' * 32_766}))
    assert encode(suggestion(agent='x' * 200, score=1))


@pytest.mark.parametrize(
    ('given', 'taken'),
    [
        ('meta/Llama-3:8b v1.0', 'meta/Llama-3:8b v1.0'),
        ('gpt(4)', 'gpt-4-'),
        ('模型', None),
        ('', None),
        (None, None),
        ('x' * 300, 'x' * 200),
    ],
)
def test_agent_name(given, taken):
    assert agent_name(given) == taken


@pytest.mark.parametrize('name', ['text', 'id', 'status', '_server_id', 'why.suggestion'])
def test_extra_metadata_that_would_break_the_export_of_the_sdk(name):
    settings = ba.DatasetSettings([text_field('text')], [text_question('why', 'why')], allow_extra_metadata=True)
    with pytest.raises(InvalidRecordError, match='give it another name') as told:
        Encoder(settings).encode(ba.Record('r', {'text': 'x'}, metadata={name: 'y'}))
    assert told.value.error == 'MetadataName'
    Encoder(settings).encode(ba.Record('r', {'text': 'x'}, metadata={f'my {name}': 'y'}))
    there = ba.DatasetSettings(settings.fields, settings.questions, [metadata_property(name, 'terms')])
    Encoder(there).encode(ba.Record('r', {'text': 'x'}, metadata={name: 'y'}))  # somebody made it so
