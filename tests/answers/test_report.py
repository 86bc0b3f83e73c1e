"""The page with pictures: whole, of its own, and honest where there is nothing to draw."""

from __future__ import annotations

import base64
import importlib.util
import re
from xml.etree import ElementTree

import apache_beam as beam
import pytest

import beam_argilla as ba
from beam_argilla.answers.judged import Fields
from beam_argilla.answers.models import Models, ModelsFn
from beam_argilla.answers.people import PersonAnswers
from beam_argilla.answers.pictures import label
from beam_argilla.answers.report import Numbers, page
from beam_argilla.errors import InputError, JobError
from tests.answers.samples import NOON, answered
from tests.samples import pipeline

FIELDS = {'generations-0': 'a', 'generations-1': 'b'}
QUESTIONS = {'generations-0-rating': 'rating', 'generations-1-rating': 'rating', 'topic': 'label_selection'}
EVIL = '<script>alert(1)</script> & "$x$"\x00'


def texts(svg: bytes) -> str:
    return ' '.join(ElementTree.fromstring(svg).itertext())


def pictures(html: str) -> list[str]:
    """The texts of each picture of the page, which are all well-formed."""
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert len(found) == html.count('<img') == html.count('src=')
    return [texts(base64.b64decode(svg)) for svg in found]


def test_a_page_shows_what_people_answered(tmp_path):
    file = tmp_path / 'new' / 'answers.html'
    records = [
        answered(
            FIELDS,
            {
                'ada': {'generations-0-rating': 5, 'generations-1-rating': 1 + i % 3, 'topic': 'art'},
                EVIL: {'generations-0-rating': 4, 'generations-1-rating': 1 + i % 2, 'topic': ('art', 'law')[i % 2]},
            },
            QUESTIONS,
            suggestions={'generations-0-rating': 5, 'generations-1-rating': 3},
            metadata={'generations-0-model': 'llama', 'generations-1-model': EVIL + '\ud800'},
        )._replace(record_id=f'r{i}')
        for i in range(6)
    ]
    with pipeline() as p:
        _ = p | beam.Create(records) | ba.WriteReport(str(file), title=f'Of {EVIL}')
    html = file.read_text(encoding='utf-8')
    assert '<script' not in html and 'http' not in re.sub('base64,[^"]+', '', html)
    assert html.count('&lt;script&gt;') >= 4  # title, person, model
    progress, people, agreement, suggestions, strengths, ratings = pictures(html)
    assert 'submitted in all' in progress and 'ada' in progress
    assert label(EVIL) in people and '$x$' in people
    assert 'topic' in agreement and '0.667' in agreement
    assert 'generations-*-rating' in suggestions and 'judge' in suggestions
    assert 'llama' in strengths and 'llama' in ratings
    assert re.search(r'records</dt><dd>6<.*submitted</dt><dd>12<.*people</dt><dd>2<', html, re.DOTALL)
    cells = re.findall(r'<td[^>]*>(.*?)</td>', html)
    assert cells[cells.index('judge') : cells.index('judge') + 3] == ['judge', '24', '33.3%']  # 6 + 0 + 2 + 0 of 24
    # The table of strengths: interval, wins, losses, ties.
    assert cells[cells.index('llama') + 3 : cells.index('llama') + 6] == ['12', '0', '0']


@pytest.mark.parametrize(
    ('records', 'people', 'pictured', 'said'),
    [
        (
            [],
            [],
            0,
            ['Nothing has been submitted', 'Nobody has answered', 'no question has an alpha', 'Nobody has jud'],
        ),
        (
            [
                answered(
                    {'generation': 'g'},
                    {'ada': {'quality': 'good'}},
                    {'quality': 'label_selection'},
                    metadata={'model_name': 'llama'},
                )
            ],
            [PersonAnswers('ada', 1, 0, 0, NOON, NOON, None, {NOON: 1})],
            3,  # progress, people, labels
            ['No record has ratings or a ranking', 'Nothing was suggested', 'Labels of each model'],
        ),
    ],
)
def test_where_there_is_nothing_to_draw_it_says_why(records, people, pictured, said):
    fn = ModelsFn(Fields())
    models = Models()
    for record in records:
        fn.add_input(models, record)
    html = page('t', NOON, Numbers([], [], people, models, {}))
    assert len(pictures(html)) == pictured
    assert [words for words in said if words not in html] == []
    assert 'Made on 2026-11-26 at 12:00 UTC' in html


def test_what_the_report_needs_is_told_while_the_pipeline_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'matplotlib' else object())
    with pytest.raises(JobError, match=r"matplotlib.*pip install 'beam-argilla\[report\]'"):
        ba.WriteReport('answers.html')
    monkeypatch.undo()
    (tmp_path / 'file').write_text('kept')
    for path, message in (('', 'path is empty'), (' ', 'path is empty'), (tmp_path, 'is a folder: name the file')):
        with pytest.raises(ValueError, match=message):
            ba.WriteReport(path)
    message = r'^The report cannot be written to .*/file/new\.html: .*\. Name another place \(--report\)'
    with pytest.raises(JobError, match=message):
        _ = beam.Pipeline() | beam.Create([]) | ba.WriteReport(f'{tmp_path}/file/new.html')
    _ = beam.Pipeline() | beam.Create([]) | ba.WriteReport(f'{tmp_path}/file')
    assert (tmp_path / 'file').read_text() == 'kept'


@pytest.mark.parametrize('tell', [ba.WriteReport('a.html'), ba.SummarizeAgreement(), ba.Agreement()], ids=str)
def test_what_compares_answers_takes_none_that_go_on_coming(tell):
    connection = ba.ArgillaConnection('http://localhost:1')
    records = beam.Pipeline() | ba.ReadFromArgilla('x', connection=connection, poll=1)
    with pytest.raises(InputError, match=f'^{type(tell).__name__} compares what people answered to the same'):
        _ = records | tell


def test_of_a_dataset_of_somebodys_own_the_models_are_those_of_the_fields_that_are_named(tmp_path):
    names = ('left', 'right')
    record = answered(
        dict.fromkeys(names, 'text'),
        {'ada': {'better': 'left'}},
        {'better': 'label_selection'},
        metadata={'left-model': 'llama', 'right-model': 'gpt'},
    )
    fields = ba.Fields(generations=names, question='better')
    with pipeline() as p:
        _ = p | beam.Create([record]) | ba.WriteReport(str(tmp_path / 'a.html'), fields=fields)
    html = (tmp_path / 'a.html').read_text(encoding='utf-8')
    choices = html[html.index('Choices of each model') :]
    assert re.findall(r'<t[dh][^>]*>([^<]*)</t[dh]>', choices) == [
        *('model', 'answers', 'mean', 'another', 'chosen'),
        *('llama', '1', '1.00', '0', '1'),
        *('gpt', '1', '0.00', '1', '0'),
    ]
