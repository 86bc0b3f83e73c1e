"""The page with pictures: what it says, and what it leaves out."""

from __future__ import annotations

import random
import re
from datetime import timedelta

import apache_beam as beam
import pytest

import beam_argilla as ba
from beam_argilla.answers.pictures import strengths
from tests.answers.samples import NOON, answered
from tests.samples import pipeline

MODELS = {'<b>gamma</b> & co': 0.0, 'beta': 1.0, 'alpha': 2.0}
NAMES = [f'generations-{i}' for i in range(3)]


def records(count: int, people: tuple[str, ...] = ('ada', 'bob', 'eve')) -> list[ba.AnsweredRecord]:
    made = random.Random(1)
    found = []
    questions = {f'{name}-rating': 'rating' for name in NAMES} | {'note': 'text'}
    for i in range(count):
        models = made.sample(list(MODELS), 3)
        metadata = {f'{name}-model': model for name, model in zip(NAMES, models, strict=True)}

        def rated(models: list[str] = models) -> dict:
            quality = [min(max(round(MODELS[m] + made.gauss(2, 1)), 1), 5) for m in models]
            return {f'{name}-rating': value for name, value in zip(NAMES, quality, strict=True)} | {'note': 'x'}

        fields = {'id': f'i{i}', 'instruction': 'q', **dict(zip(NAMES, 'abc', strict=True))}
        given = {person: rated() for person in people if made.random() < 0.7}
        suggested = {question: value for question, value in rated().items() if question != 'note'}
        record = answered(fields, given, questions, suggested, metadata)
        later = timedelta(days=i // 40, minutes=i)
        moved = [r._replace(inserted_at=NOON + later, updated_at=NOON + later) for r in record.responses]
        found.append(record._replace(responses=moved))
    return found


def page(elements: list[ba.AnsweredRecord], path) -> str:
    with pipeline() as p:
        _ = p | beam.Create(elements) | ba.WriteReport(str(path), 'My <dataset>')
    return path.read_text(encoding='utf-8')


def test_a_page_with_all_pictures(tmp_path):
    html = page(records(200), tmp_path / 'report.html')
    assert '<title>My &lt;dataset&gt;</title>' in html
    assert len(re.findall('<svg', html)) == 4
    submitted = sum(len(r.responses) for r in records(200))
    assert f'<p>{submitted:,} submitted responses of 3 people.</p>' in html
    for text in (
        'ada',
        'generations-0-rating',
        'alpha',
        'judge',
        'note',
        'Bradley',
        '&lt;b&gt;gamma&lt;/b&gt; &amp; co',
    ):
        assert text in html
    assert 'class="why"' not in html
    assert '<b>gamma' not in html
    assert not re.search(r'(?:src|href)="?https?:', html)


@pytest.mark.parametrize(
    ('elements', 'said'),
    [
        ([], ['Nobody has submitted anything yet.', 'Nobody has answered yet.', 'There were no suggestions.']),
        (records(5, ('ada',)), ['No record was answered by two people yet.']),
        (
            [answered({'text': 't'}, {'ada': {'l': 'x'}}, {'l': 'label_selection'})],
            ['Nobody has preferred one named model'],
        ),
    ],
)
def test_what_there_are_no_answers_for_is_said(elements, said, tmp_path):
    html = page(elements, tmp_path / 'report.html')
    assert all(text in html for text in said)


def test_strengths_are_in_the_order_of_what_was_preferred():
    wins = {('a', 'b'): 30, ('b', 'a'): 10, ('b', 'c'): 30, ('c', 'b'): 10, ('a', 'c'): 35, ('c', 'a'): 5}
    found = strengths(wins, 50)
    assert sorted(found, key=lambda model: found[model][0]) == ['c', 'b', 'a']
    assert all(low <= strength <= high for strength, low, high in found.values())
    assert found['a'][1] > found['c'][2]
