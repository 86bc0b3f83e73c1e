"""`WriteReport`: answered records → one page that shows how the annotation goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_argilla.answers.aggregate import Aggregate, judgement, scores
from beam_argilla.answers.agreement import Agreement, Counts
from beam_argilla.answers.answered import AnsweredRecord


class WriteReport(beam.PTransform):
    """Writes one self-contained HTML page with pictures of what was answered.

    It shows progress and pace, answers of each person, agreement on each question (`Agreement`), people against
    suggestions of each agent, models by Bradley-Terry strength from what people preferred, and the distribution of
    ratings of each model. What there are no answers for is left out, with a line why. Numbers are summed up where the
    records are; only these travel to where the page is made. Needs ``pip install 'beam-argilla[report]'``.

    Input: PCollection of `AnsweredRecord`. Output: the path of the page.

    Args:
        path: of the page, on any Beam file system.
        title: of the page, such as the dataset's name.

    Raises:
        InputError: (while running) matplotlib or choix is not installed.

    Example:
        >>> answered = p | ba.ReadFromArgilla('ultrafeedback', connection=connection)
        >>> answered | ba.WriteReport('report.html', 'ultrafeedback')
    """

    def __init__(self, path: str, title: str = 'Answers'):
        super().__init__()
        self.path = path
        self.title = title

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        agreement = records | Agreement()
        parts = {
            **agreement,
            'days': records | 'Days' >> beam.FlatMap(days_of) | 'Count days' >> beam.CombineGlobally(Counts()),
            'wins': records | 'Wins' >> beam.FlatMap(wins_of) | 'Count wins' >> beam.CombineGlobally(Counts()),
            'ratings': records
            | 'Ratings' >> beam.FlatMap(ratings_of)
            | 'Count ratings' >> beam.CombineGlobally(Counts()),
        }
        named = [part | f'Name {name}' >> beam.Map(_named, name) for name, part in parts.items()]
        return (
            named
            | beam.Flatten()
            | 'All' >> beam.combiners.ToList()
            | 'Write page' >> beam.Map(_write, self.path, self.title)
        )


def days_of(record: AnsweredRecord) -> Iterator[str]:
    """The day of each submitted response, in UTC."""
    return (r.updated_at.date().isoformat() for r in record.responses if r.status == 'submitted')


def wins_of(record: AnsweredRecord) -> Iterator[tuple[str, str]]:
    """(better, worse) models, of each two generations to which a person gave different scores."""
    people, _ = scores(record, Aggregate('all'))
    for scored in people:
        for a, b in itertools.combinations(scored, 2):
            models = a.generation.model_name, b.generation.model_name
            if None not in models and models[0] != models[1] and a.score != b.score:
                yield models if a.score > b.score else models[::-1]  # type: ignore[misc]


def ratings_of(record: AnsweredRecord) -> Iterator[tuple[str, float]]:
    """(model, rating) of each rating of a person."""
    how = judgement(record)
    if how is not None and how.kind == 'rating':
        for scored in itertools.chain.from_iterable(scores(record, Aggregate('all'))[0]):
            if scored.generation.model_name is not None:
                yield scored.generation.model_name, scored.score


def _named(value: Any, name: str) -> tuple[str, Any]:
    return name, value


def _write(parts: list[tuple[str, Any]], path: str, title: str) -> str:
    from beam_argilla.answers.pictures import page

    found: dict[str, Any] = {'questions': [], 'suggestions': [], 'people': []}
    for name, value in parts:
        if isinstance(found.get(name), list):
            found[name].append(value)
        else:
            found[name] = value
    html = page(title, **found)
    with FileSystems.create(path, 'text/html', CompressionTypes.UNCOMPRESSED) as file:
        file.write(html.encode())
    return path
