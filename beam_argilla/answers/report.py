"""`WriteReport`: answered records → one page with pictures of what people answered."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.answers import pictures
from beam_argilla.answers.agreement import (
    Agreement,
    QuestionAgreement,
    SuggestionAgreement,
    by_name,
    check_bounded,
    rounded,
)
from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.judged import Fields
from beam_argilla.answers.models import Models, ModelsFn, Strength, strengths
from beam_argilla.answers.people import PersonAnswers
from beam_argilla.errors import JobError
from beam_argilla.files import check_writable, is_folder, written_to
from beam_argilla.runners import workers_run_here

_EXTRA = ('choix', 'jinja2', 'matplotlib')
_MOST_ROWS = 40  # bars in a picture and rows of progress in a table; of more, the first
_MOST_PANELS = 12
_MOST_SIDE_BY_SIDE = 9  # values of a confusion that shares its row with another
_PLACE = re.compile(r'\bgenerations-\d+\b')


class Numbers(NamedTuple):
    """All that a page is made of.

    Attributes:
        states: (record's status, whether somebody has submitted an answer) → records.
    """

    questions: Sequence[QuestionAgreement]
    suggestions: Sequence[SuggestionAgreement]
    people: Sequence[PersonAnswers]
    models: Models
    states: Mapping[tuple[str, bool], int]


class WriteReport(beam.PTransform):
    """Writes one page (HTML) with pictures of what people answered, and the numbers beside them.

    Progress and pace, responses of each person, agreement in each question, people against suggestions, models by
    strength (Bradley and Terry, with intervals), and what people gave to each model. What there is nothing to draw of
    says why. The page loads nothing: it can be sent by mail.

    Everything is counted by the pipeline (`Agreement`), so that the page is made of small numbers,
    whatever the size of the dataset. A worker draws it.

    Input: PCollection of `AnsweredRecord`, bounded; all windows go into one page. Output: PCollection of one str, the
    path.

    Args:
        path: of the page, on any Beam file system; what is there is replaced.
        title: what stands above it, such as the dataset's name.
        levels: see `Agreement`.
        fields: which of the dataset's fields and questions tell how good the generations of models are.

    Raises:
        JobError: what draws is not installed (``pip install 'beam-argilla[report]'``; workers need it as well). It
            cannot be written there: told while the pipeline is built, if its workers run on this machine.
        InputError: the file system is not installed, or answers never end. (While running) `fields` name a question
            that judges no generations.
        ValueError: a wrong level; the path is empty, or that of a folder.

    Example:
        >>> records = p | ba.ReadFromArgilla('ultrafeedback', connection=connection)
        >>> records | ba.WriteReport('gs://bucket/answers.html', title='ultrafeedback')
    """

    def __init__(
        self,
        path: str,
        title: str = 'What people answered',
        levels: Mapping[str, str] | None = None,
        fields: Fields | None = None,
    ):
        super().__init__()
        if missing := [name for name in _EXTRA if importlib.util.find_spec(name) is None]:
            raise JobError(
                f'A report needs {", ".join(missing)}, which is not installed: '
                "pip install 'beam-argilla[report]' brings it."
            )
        self.path = os.fspath(path)
        if not self.path.strip():
            raise ValueError('path is empty: name the file of the page')
        if is_folder(self.path):
            raise ValueError(f'path={self.path!r} is a folder: name the file of the page, such as answers.html in it')
        self.title = title
        self.agreement = Agreement(levels)
        self.fields = fields or Fields()

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        check_bounded(records, 'WriteReport')
        if workers_run_here(records.pipeline):
            check_writable(self.path, self.path, *_SAID)
        records = records | 'All windows' >> beam.WindowInto(GlobalWindows())
        agreement = records | 'Agreement' >> self.agreement
        models = records | 'Models' >> beam.CombineGlobally(ModelsFn(self.fields))
        states = records | 'State' >> beam.Map(_state) | 'States' >> beam.combiners.Count.PerElement()
        return (
            records.pipeline
            | 'Path' >> beam.Create([self.path])
            | 'Write'
            >> beam.Map(
                _write,
                self.title,
                beam.pvalue.AsList(agreement['questions']),
                beam.pvalue.AsList(agreement['suggestions']),
                beam.pvalue.AsList(agreement['people']),
                beam.pvalue.AsSingleton(models),
                beam.pvalue.AsDict(states),
            ).with_output_types(str)
        )

    def display_data(self) -> dict[str, str]:
        return {'path': self.path}


_SAID = ('The report', '--report')


def _state(record: AnsweredRecord) -> tuple[str, bool]:
    return record.status, any(response.status == 'submitted' for response in record.responses)


def _write(
    path: str,
    title: str,
    questions: list[QuestionAgreement],
    suggestions: list[SuggestionAgreement],
    people: list[PersonAnswers],
    models: Models,
    states: dict[tuple[str, bool], int],
) -> str:
    html = page(title, datetime.now(timezone.utc), Numbers(questions, suggestions, people, models, states))
    with (
        written_to(path, *_SAID),
        FileSystems.create(path, 'text/html', CompressionTypes.UNCOMPRESSED) as file,
    ):
        file.write(html.encode('utf-8', 'backslashreplace'))
    return path


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        text: what it shows, for people.
        pictures: SVGs.
        why: why there is no picture, or not of all.
        columns, rows: of the table; what is in a column whose place is in `texts` starts at the left.
    """

    title: str
    text: str
    pictures: Sequence[str] = ()
    why: str | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    texts: frozenset[int] = frozenset({0})


def page(title: str, when: datetime, numbers: Numbers) -> str:
    """The page as HTML, in which no text of anybody is markup."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters['data_uri'] = _data_uri
    template = environment.from_string(files(__package__).joinpath('report.html').read_text('utf-8'))
    found = strengths(numbers.models)
    sections = [
        _progress(numbers.people),
        _people(numbers.people),
        _agreement(numbers.questions),
        _suggestions(numbers.suggestions),
        _strengths(found),
        *_given(numbers.models, [s.model for s in found]),
    ]
    return template.render(title=title, when=when, facts=_facts(numbers), sections=sections)


def _data_uri(svg: str) -> str:
    """As an image of its own, so that what is in one picture cannot meet what is in another."""
    return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode('utf-8')).decode()


def _facts(numbers: Numbers) -> list[tuple[str, str]]:
    records = sum(numbers.states.values())
    completed = sum(n for (status, _), n in numbers.states.items() if status == 'completed')
    answered = sum(n for (_, some), n in numbers.states.items() if some)
    return [
        ('records', f'{records:,}'),
        ('completed', f'{completed:,}'),
        ('with an answer', f'{answered:,}'),
        ('submitted', f'{sum(person.submitted for person in numbers.people):,}'),
        ('discarded', f'{sum(person.discarded for person in numbers.people):,}'),
        ('people', f'{len(numbers.people):,}'),
    ]


def _progress(people: Sequence[PersonAnswers]) -> Section:
    title, text = 'Progress', 'What people have submitted, over time.'
    hours = {person.user: person.hours for person in people if person.hours}
    if not hours:
        return Section(title, text, why='Nothing has been submitted so far.')
    times = [hour for of_person in hours.values() for hour in of_person]
    of = pictures.step(min(times), max(times))
    counts = sum((pictures.by_step(of_person, of) for of_person in hours.values()), Counter[datetime]())
    rows, so_far = [], 0
    for start, count in sorted(counts.items()):
        so_far += count
        rows.append([_time(start), f'{count:,}', f'{so_far:,}'])
    return Section(
        title,
        text,
        [pictures.progress(hours)],
        None if len(rows) <= _MOST_ROWS else f'The table shows the last {_MOST_ROWS} of {len(rows)} rows.',
        ['from', 'submitted', 'submitted so far'],
        rows[-_MOST_ROWS:],
    )


def _people(people: Sequence[PersonAnswers]) -> Section:
    title = 'People'
    text = (
        'Responses of each person. The pace is the median time from one submitted response to the next; pauses of more '
        'than half an hour are left out of it.'
    )
    ordered = sorted(people, key=lambda person: (-person.submitted, person.user))
    if not ordered:
        return Section(title, text, why='Nobody has answered so far.')
    rows = [
        [
            person.user,
            *(f'{count:,}' for count in (person.submitted, person.draft, person.discarded)),
            _time(person.first),
            _time(person.last),
            '–' if person.pace is None else f'{person.pace:,.0f} s',
        ]
        for person in ordered
    ]
    return Section(
        title,
        text,
        [pictures.people(ordered[:_MOST_ROWS])],
        _cut(len(ordered), 'people'),
        ['person', 'submitted', 'draft', 'discarded', 'first', 'last', 'pace'],
        rows,
    )


def _agreement(questions: Sequence[QuestionAgreement]) -> Section:
    title = 'Agreement'
    text = (
        "Krippendorff's alpha is 1 where people always agree, and 0 where they agree as often as by chance. From 0.8 "
        'on (green), answers are called reliable; from 0.667 on (orange), they allow tentative conclusions. The same: '
        'of all pairs of answers to one thing, the share that is equal.'
    )
    ordered = sorted(questions, key=lambda q: by_name(q.question))
    found = {q.question: q.alpha for q in ordered if q.alpha is not None}
    rows = [
        [
            q.question,
            '–' if q.alpha is None else rounded(q.alpha, 3),
            q.level or '–',
            _share(q.agreement),
            f'{q.units:,}',
            f'{q.answers:,}',
            f'{q.people:,}',
            q.why or '',
        ]
        for q in ordered
    ]
    columns = ['question', 'alpha', 'level', 'the same', 'by two or more', 'answers', 'people', 'why no alpha']
    if not found:
        why = 'There is nothing to draw: no question has an alpha.'
        return Section(title, text, (), why, columns, rows, frozenset({0, 2, 7}))
    shown = [pictures.alphas(dict(list(found.items())[:_MOST_ROWS]))]
    return Section(title, text, shown, _cut(len(found), 'questions'), columns, rows, frozenset({0, 2, 7}))


def _suggestions(suggestions: Sequence[SuggestionAgreement]) -> Section:
    title = 'People against suggestions'
    text = (
        'What people answered where something was suggested: rows are suggestions, columns answers, and dark is a '
        'large share of a row. Questions about the generations of a record are taken together.'
    )
    confusions: dict[tuple[str, str], Counter[tuple[Any, Any]]] = {}
    same: dict[tuple[str, str], tuple[float, int]] = {}
    for s in sorted(suggestions, key=lambda s: (by_name(s.question), s.agent)):
        key = _PLACE.sub('generations-*', s.question), s.agent or '–'
        confusions.setdefault(key, Counter()).update(s.counts)
        equal, answers = same.get(key, (0.0, 0))
        same[key] = equal + s.agreement * s.answers, answers + s.answers
    if not same:
        return Section(title, text, why='Nothing was suggested that people have answered.')
    panels = [
        (f'{pictures.label(question, 30)} · {pictures.label(agent, 20)}', counts)
        for (question, agent), counts in confusions.items()
        if counts
    ]
    why = None if panels else 'Suggestions are texts or spans, which are the same or not: there is nothing to draw.'
    if len(panels) > _MOST_PANELS:
        why = f'The picture shows the first {_MOST_PANELS} of {len(panels)}.'
    shown = panels[:_MOST_PANELS]
    small = [panel for panel in shown if pictures.shown_values(panel[1]) <= _MOST_SIDE_BY_SIDE]
    large = [panel for panel in shown if panel not in small]
    return Section(
        title,
        text,
        [pictures.confusions(some, columns) for some, columns in [(small, 2), (large, 1)] if some],
        why,
        ['question', 'agent', 'answers', 'as suggested'],
        [[*key, f'{answers:,}', _share(equal / answers)] for key, (equal, answers) in same.items()],
        frozenset({0, 1}),
    )


def _strengths(found: Sequence[Strength]) -> Section:
    title = 'Models by strength'
    text = (
        'From which generation each person prefers in a record, by ratings or a ranking: the model of Bradley and '
        'Terry. The strength is the logarithm of the odds against an average model; a difference of 0.7 means twice '
        'the odds. Lines are 95% intervals (bootstrap over records); a tie is half a win for both.'
    )
    if not found:
        why = 'No record has ratings or a ranking, by one person, of the generations of two models that are known.'
        return Section(title, text, why=why)
    return Section(
        title,
        text,
        [pictures.strengths(found[:_MOST_ROWS])],
        _cut(len(found), 'models'),
        ['model', 'strength', '95% interval', 'wins', 'losses', 'ties'],
        [
            [
                s.model,
                f'{s.strength:+.2f}',
                f'{s.low:+.2f} to {s.high:+.2f}',
                *(f'{count:,}' for count in (s.wins, s.losses, s.ties)),
            ]
            for s in found
        ],
    )


def _given(models: Models, order: Sequence[str]) -> list[Section]:
    """What was given to each model, a section for each kind of judgement."""
    titles = {
        'rating': 'Ratings of each model',
        'ranking': 'Ranks of each model',
        'label': 'Labels of each model',
        'choice': 'Choices of each model',
    }
    by_kind: dict[str, dict[str, Counter[int]]] = {}
    for (kind, model, value), count in models.values.items():
        by_kind.setdefault(kind, {}).setdefault(model, Counter())[value] += count
    text = 'How often people gave each value to the generations of a model.'
    if not by_kind:
        why = 'Nobody has judged a generation of a model that is known.'
        return [Section(titles['rating'], text, why=why)]
    sections = []
    for kind, of_models in sorted(by_kind.items()):
        values = sorted({value for counts in of_models.values() for value in counts}, reverse=kind == 'ranking')
        names = [_NAMES.get(kind, {}).get(value, str(value)) for value in values]
        ordered = sorted(of_models, key=lambda model: (order.index(model) if model in order else len(order), model))
        counts = {model: [of_models[model][value] for value in values] for model in ordered}
        rows = [
            [model, f'{sum(row):,}', f'{_mean(of_models[model]):.2f}', *(f'{count:,}' for count in row)]
            for model, row in counts.items()
        ]
        drawn = pictures.distributions(names, dict(list(counts.items())[:_MOST_ROWS]))
        columns = ['model', 'answers', 'mean', *names]
        sections.append(Section(titles[kind], text, [drawn], _cut(len(counts), 'models'), columns, rows))
    return sections


_NAMES = {'label': {0: 'bad', 1: 'good'}, 'choice': {0: 'another', 1: 'chosen'}}


def _mean(counts: Counter[int]) -> float:
    return sum(value * count for value, count in counts.items()) / counts.total()


def _cut(of: int, what: str) -> str | None:
    return None if of <= _MOST_ROWS else f'The picture shows the first {_MOST_ROWS} of {of:,} {what}.'


def _share(share: float | None) -> str:
    return '–' if share is None else f'{share:.1%}'


def _time(time: datetime) -> str:
    return f'{time:%Y-%m-%d %H:%M}'
