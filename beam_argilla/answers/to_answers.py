"""`ToAnswers`: answered records → a row a record, question and person, as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_argilla.answers.answered import AnsweredRecord, Generation, generations, instruction_id
from beam_argilla.answers.forms import said, with_schema

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_RANKS = pa.list_(pa.struct([('value', pa.string()), ('rank', pa.int64())]))
_SPANS = pa.list_(pa.struct([('label', pa.string()), ('start', pa.int64()), ('end', pa.int64())]))
# Kind of a question → type of its values.
KINDS: dict[str, pa.DataType] = {
    'rating': pa.int64(),
    'ranking': _RANKS,
    'label_selection': _TEXT,
    'multi_label_selection': _TEXTS,
    'text': _TEXT,
    'span': _SPANS,
}


def schema(kind: str) -> pa.Schema:
    """Of the answers to questions of a kind: one of `KINDS`."""
    texts = ['instruction_id', 'external_id', 'record_id', 'instruction', 'field', 'generation']
    return pa.schema(
        [
            *((name, _TEXT) for name in texts),
            ('position', pa.int64()),
            ('model_name', _TEXT),
            ('question', _TEXT),
            ('value', KINDS[kind]),
            ('user', _TEXT),
            ('status', _TEXT),
            ('time', pa.timestamp('us', 'UTC')),
            ('suggestion', KINDS[kind]),
            ('agent', _TEXT),
        ]
    )


class ToAnswers(beam.PTransform):
    """Makes a table of what people answered, one for each kind of question.

    Input: PCollection of `AnsweredRecord`. Output: a dict of PCollections by the kind of question: ``rating``,
    ``ranking``, ``label_selection``, ``multi_label_selection``, ``text``, ``span``; each of dicts with these columns,
    whose Arrow schema is in `schemas`:

    ``instruction_id``, ``external_id``, ``record_id``; ``instruction`` (the field of that name, if there is one; a chat
    as a transcript); ``field``, ``generation``, ``position``, ``model_name`` of the generation that the question is
    called after, null where it is about none; ``question``; ``value`` (int64; string; list of strings; list of value
    and rank; list of label, start and end); ``user``; ``status`` of the response; ``time`` when it last changed;
    ``suggestion``: the value that was suggested, and its ``agent``.

    Args:
        response_status: of which responses; None: of all that were read.

    Attributes:
        schemas: kind of a question → the columns of its table.

    Example:
        >>> answers = p | ba.ReadFromArgilla('ultrafeedback', connection=connection) | ba.ToAnswers()
        >>> answers['rating'] | ba.WriteTrainingData('ratings')
    """

    def __init__(self, response_status: Sequence[str] | None = None):
        super().__init__()
        self.schemas = {kind: schema(kind) for kind in KINDS}
        self.response_status = None if response_status is None else tuple(response_status)

    def expand(self, records: beam.PCollection) -> dict[str, beam.PCollection]:
        rows = records | beam.FlatMap(_tagged, self.response_status).with_outputs(*KINDS)
        return {kind: with_schema(rows[kind], self.schemas[kind]) for kind in KINDS}


def _tagged(record: AnsweredRecord, response_status: Sequence[str] | None) -> Iterator[beam.pvalue.TaggedOutput]:
    for kind, row in answer_rows(record):
        if response_status is None or row['status'] in response_status:
            yield beam.pvalue.TaggedOutput(kind, row)


def answer_rows(record: AnsweredRecord) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind of a question, and a row, for each answer of each person."""
    instruction = record.fields.get('instruction')
    shared = {
        'instruction_id': instruction_id(record),
        'external_id': record.external_id,
        'record_id': record.record_id,
        'instruction': None if instruction is None else said(instruction, 'user', 'plain'),
    }
    suggestions = {s.question: s for s in record.suggestions}
    found = generations(record)
    for response in record.responses:
        for question, kind in record.questions.items():
            if question not in response.values:
                continue
            suggestion = suggestions.get(question)
            about = _about(question, found)
            yield (
                kind,
                {
                    **shared,
                    'field': about and about.field,
                    'generation': about and said(about.text, 'assistant', 'plain'),
                    'position': about and about.position,
                    'model_name': about and about.model_name,
                    'question': question,
                    'value': response.values[question],
                    'user': response.user,
                    'status': response.status,
                    'time': response.updated_at,
                    'suggestion': suggestion and suggestion.value,
                    'agent': suggestion and suggestion.agent,
                },
            )


def _about(question: str, found: list[Generation]) -> Generation | None:
    """The generation that a question is called after; the only one there is."""
    if len(found) == 1:
        return found[0]
    named = [generation for generation in found if question.startswith(f'{generation.field}-')]
    return max(named, key=lambda generation: len(generation.field), default=None)
