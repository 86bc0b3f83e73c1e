"""Settings, and which differences would lose or reject data."""

from __future__ import annotations

import argilla as rg
import pytest

import beam_argilla as ba
from beam_argilla.server.differences import differences
from beam_argilla.server.settings import metadata_property, rating_question, text_field, text_question

WANTED = ba.DatasetSettings(
    fields=[text_field('a'), text_field('b', required=False)],
    questions=[rating_question('q', 'Q', [1, 2, 3]), text_question('r', 'R', required=False)],
    metadata=[metadata_property('m', 'terms')],
)


def existing(**changes) -> ba.DatasetSettings:
    return ba.DatasetSettings(**{**vars(WANTED), **changes})


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'guidelines': 'New', 'min_submitted': 3},
        {'fields': [text_field('a', use_markdown=True), text_field('b', False), text_field('c', False)]},
        {'fields': [text_field('a', required=False), text_field('b', False)]},
        {'questions': [*WANTED.questions, text_question('s', 'S')]},
        {'questions': [rating_question('q', 'Asked otherwise', range(6)), WANTED.questions[1]]},
        {'metadata': [], 'allow_extra_metadata': True},
    ],
)
def test_what_people_may_change(changes):
    assert differences(WANTED, existing(**changes)) == []


@pytest.mark.parametrize(
    ('changes', 'difference'),
    [
        ({'fields': [text_field('a')]}, "field 'b' is missing"),
        ({'fields': [text_field('a'), text_field('b')]}, "field 'b' is required, but here it may be empty"),
        ({'fields': [*WANTED.fields, text_field('c')]}, "field 'c' is required, but not written here"),
        (
            {'fields': [{**text_field('a'), 'settings': {'type': 'chat'}}, WANTED.fields[1]]},
            "field 'a' is chat, not text",
        ),
        ({'questions': [WANTED.questions[0]]}, "question 'r' is missing"),
        ({'questions': [text_question('q', 'Q'), WANTED.questions[1]]}, "question 'q' is text, not rating"),
        (
            {'questions': [rating_question('q', 'Q', [1, 2]), WANTED.questions[1]]},
            "question 'q' has the values [1, 2]: [3] would be refused",
        ),
        (
            {'questions': [WANTED.questions[0], text_question('r', 'R', required=True)]},
            "question 'r' is required: records without that generation could never be completed",
        ),
        ({'metadata': []}, "metadata property 'm' is missing, and extra metadata is not allowed"),
        ({'metadata': [metadata_property('m', 'integer')]}, "metadata property 'm' is integer, not terms"),
    ],
)
def test_what_would_lose_or_reject_data_is_named(changes, difference):
    assert differences(WANTED, existing(**changes)) == [difference]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'fields': [text_field('a'), text_field('a')]}, "A second field is called 'a'"),
        ({'fields': []}, 'at least one field'),
        ({'questions': [text_question('r', 'R', required=False)]}, 'one required question'),
        ({'fields': [text_field('')]}, '1 to 200 characters'),
        ({'guidelines': 'x' * 10_001}, '10,001 characters'),
    ],
)
def test_settings_that_the_server_would_refuse(changes, message):
    with pytest.raises(ValueError, match=message):
        existing(**changes)


def test_settings_of_the_argilla_sdk_are_taken(argilla_server):
    rg.Argilla(api_url=argilla_server.api_url, api_key=argilla_server.api_key)
    theirs = rg.Settings(
        fields=[rg.TextField(name='a', use_markdown=True)],
        questions=[rg.RatingQuestion(name='q', values=[1, 2], title='Q', description='D')],
        metadata=[rg.TermsMetadataProperty(name='m', options=['x'])],
        guidelines='G',
        distribution=rg.TaskDistribution(min_submitted=2),
    )
    ours = ba.DatasetSettings.of(theirs)
    assert ours.guidelines == 'G'
    assert ours.min_submitted == 2
    assert (
        differences(
            ours,
            ba.DatasetSettings(
                [text_field('a')], [rating_question('q', 'Q', [1, 2])], [metadata_property('m', 'terms')]
            ),
        )
        == []
    )
