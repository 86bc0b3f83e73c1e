"""Record → JSON of one item of the server's bulk request, checked against the dataset's settings.

`Encoder` refuses on the client what the server would refuse, and also what it accepts and then loses from its search
index and web page (argilla-server 2.8: infinities, integers beyond 64 bits, terms longer than Lucene's 32,766 bytes,
lone surrogates).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from beam_argilla.errors import InvalidRecordError
from beam_argilla.records import MAX_AGENT_LENGTH, Record, Suggestion, is_agent_name
from beam_argilla.server.settings import DatasetSettings

# Limits of argilla-server 2.8 and of the search engines it uses.
MAX_TERM_BYTES = 32_766  # Lucene's limit on a keyword: external ids and terms metadata
MAX_FLOAT32 = 3.4028234663852886e38  # float metadata and vectors are indexed in single precision
MIN_FLOAT32 = 1.401298464324817e-45


class Encoder:
    """Record → JSON of one item of the server's bulk request, checked against the dataset's settings.

    Args:
        settings: of the dataset as it is on the server.
        question_ids: question name → the server's id of it. Default: the names, for looking at without a server.
    """

    def __init__(self, settings: DatasetSettings, question_ids: Mapping[str, str] | None = None):
        self._fields = {f['name']: f['settings']['type'] for f in settings.fields}
        self._required = {f['name'] for f in settings.fields if f['required']}
        self._text_alone = set(self._fields.values()) == {'text'}
        self._questions = {q['name']: _value_check(q['settings']) for q in settings.questions}
        self._rankings = {q['name'] for q in settings.questions if q['settings']['type'] == 'ranking'}
        self._metadata = {m['name']: _METADATA_CHECKS[m['settings']['type']] for m in settings.metadata}
        self._vectors = {v['name']: v['dimensions'] for v in settings.vectors}
        self._extra_metadata = settings.allow_extra_metadata
        self._not_extra = settings.sdk_columns() | self._fields.keys()
        self._ids = question_ids or {name: name for name in self._questions}
        # Ratings repeat: what was found right once is not looked at again.
        self._seen: dict[Suggestion, dict[str, Any]] = {}

    def encode(self, record: Record) -> bytes:
        """The record's JSON.

        Raises:
            InvalidRecordError: the server would refuse the record or lose it.
        """
        self._check_external_id(record.external_id)
        self._check_fields(record.fields)
        self._check_metadata(record.metadata)
        item: dict[str, Any] = {
            'external_id': record.external_id,
            'fields': record.fields,
            'metadata': record.metadata,
            'suggestions': self._suggestions(record.suggestions),
        }
        if record.record_id is not None:
            item['id'] = _record_id(record.record_id)
        if record.vectors:  # one that is not sent stays
            item['vectors'] = {name: self._vector(name, vector) for name, vector in record.vectors.items()}
        try:
            return orjson.dumps(item)
        except TypeError as e:  # a lone surrogate, or an object that JSON has no form for
            raise InvalidRecordError('NotJson', f'The record cannot be written as JSON: {e}') from e

    def _check_external_id(self, value: Any) -> None:
        if not isinstance(value, str) or not value:
            raise InvalidRecordError(
                'ExternalId', f'The external id must be a text with at least one character, not {_shown(value)}'
            )
        if '\0' in value:
            raise InvalidRecordError('ExternalId', 'The external id has a NUL character, which databases refuse')
        if len(value) > MAX_TERM_BYTES or len(value.encode('utf-8', 'surrogatepass')) > MAX_TERM_BYTES:
            raise InvalidRecordError('ExternalId', f'The external id is longer than {MAX_TERM_BYTES:,} bytes')

    def _check_fields(self, fields: Mapping[str, Any]) -> None:
        names = fields.keys()
        if (
            self._text_alone
            and self._required <= names <= self._fields.keys()
            and {*map(type, fields.values())} == {str}
        ):
            return
        for name in sorted(self._required):
            if fields.get(name) is None:
                raise InvalidRecordError('MissingField', f'The required field {name!r} has no value')
        for name, value in fields.items():
            kind = self._fields.get(name)
            if kind is None:
                raise InvalidRecordError(
                    'UnknownField', f'The dataset has no field {name!r}; it has {list(self._fields)}'
                )
            if kind == 'text' and not (value is None or isinstance(value, str)):
                raise InvalidRecordError(
                    'FieldType', f'Field {name!r} is text, but its value is {type(value).__name__}'
                )
            problem = _chat_problem(value) if kind == 'chat' and value is not None else None
            if problem:
                raise InvalidRecordError('FieldType', f'Field {name!r} is a conversation, but {problem}')

    def _check_metadata(self, metadata: Mapping[str, Any]) -> None:
        for name, value in metadata.items():
            check = self._metadata.get(name)
            if check is None:
                if not self._extra_metadata:
                    known = list(self._metadata)
                    raise InvalidRecordError('UnknownMetadata', f'The dataset has no metadata {name!r}; it has {known}')
                if name in self._not_extra:
                    raise InvalidRecordError(
                        'MetadataName',
                        f'Metadata {name!r} has the name of a field or of a column of the argilla SDK: its export of '
                        'the dataset would fail or be wrong; give it another name',
                    )
                check = _check_extra
            problem = None if value is None else check(value)
            if problem:
                raise InvalidRecordError('MetadataValue', f'Metadata {name!r} {problem}')

    def _vector(self, name: str, vector: Sequence[float]) -> list[float]:
        dimensions = self._vectors.get(name)
        if dimensions is None:
            known = list(self._vectors)
            raise InvalidRecordError('UnknownVector', f'The dataset has no vector {name!r}; it has {known}')
        try:
            numbers = [float(x) for x in vector if not isinstance(x, (str, bool))]
            fits = len(numbers) == len(vector) == dimensions
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise InvalidRecordError(
                'VectorValue', f'Vector {name!r} is {_shown(vector)}; it must be {dimensions} numbers'
            )
        # What a search engine cannot index: it measures the angle between vectors, in single precision.
        if not all(abs(x) <= MAX_FLOAT32 for x in numbers) or not any(abs(x) >= MIN_FLOAT32 for x in numbers):
            raise InvalidRecordError(
                'VectorValue',
                f'Vector {name!r} is {_shown(vector)}: the record would be lost from search, which takes finite '
                'numbers that are not all 0',
            )
        return numbers

    def _suggestions(self, suggestions: Sequence[Suggestion]) -> list[dict[str, Any]]:
        items = []
        for suggestion in suggestions:
            repeats = type(suggestion[1]) is int and suggestion[3] is None  # scores seldom do
            try:
                item = self._seen.get(suggestion) if repeats else None
            except TypeError:  # not even hashable
                item = None
            if item is None:
                item = self._suggestion(suggestion)
                if repeats:
                    self._seen[suggestion] = item
            items.append(item)
        if len({s.question for s in suggestions}) < len(items):
            twice = next(
                s.question for i, s in enumerate(suggestions) if s.question in {t.question for t in suggestions[:i]}
            )
            raise InvalidRecordError('SuggestionTwice', f'Question {twice!r} has two suggestions')
        return items

    def _suggestion(self, suggestion: Suggestion) -> dict[str, Any]:
        question, value, agent, score, kind = suggestion
        check = self._questions.get(question) if isinstance(question, str) else None
        if check is None:
            known = list(self._questions)
            raise InvalidRecordError('UnknownQuestion', f'The dataset has no question {question!r}; it has {known}')
        plain = agent is None and score is None and kind is None
        problem = check(value) or (
            not plain and (_agent_problem(agent) or _score_problem(score) or _type_problem(kind))
        )
        if problem:
            raise InvalidRecordError('SuggestionValue', f'The suggestion for {question!r} {problem}')
        if question in self._rankings:  # the server's form of what the SDK writes as the values alone
            value = [{'value': v} if isinstance(v, str) else v for v in value]
        item = {'question_id': self._ids[question], 'value': value}
        if not plain:
            item |= {k: v for k, v in (('agent', agent), ('score', score), ('type', kind)) if v is not None}
        return item


def _chat_problem(messages: Any) -> str | None:
    """What is wrong with a conversation; how much it may be, the server says."""
    if not isinstance(messages, list):
        return f'its value is {type(messages).__name__}'
    for message in messages:
        texts = isinstance(message, Mapping) and [message.get(key) for key in ('role', 'content')]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            return f'a message is {_shown(message)}: each must have a role and a content, both text and not empty'
    return None


def _record_id(value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise InvalidRecordError('RecordId', f'The record id is {_shown(value)}; it must be a UUID') from None


def _shown(value: Any) -> str:
    """The value for a message: whatever it is, and not longer than a line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists within lists within ...
        text = f'a {type(value).__name__} that cannot be shown'
    return text if len(text) <= 200 else f'{text[:200]}...'


Check = Callable[[Any], str | None]  # what is wrong with a value, None if nothing


def _value_check(settings: Mapping[str, Any]) -> Check:
    """What a question's suggestion must be. Strict, as the server is: no 4.0 for a rating, no number for a text."""
    kind = settings['type']
    options = {o['value'] for o in settings.get('options', ())}

    def rating(value: Any) -> str | None:
        fits = type(value) is int and value in options
        return None if fits else f'is {_shown(value)}, not one of {sorted(options)}'

    def text(value: Any) -> str | None:
        return None if isinstance(value, str) else f'is {type(value).__name__}, not text'

    def label(value: Any) -> str | None:
        return (
            None if isinstance(value, str) and value in options else f'is {_shown(value)}, not one of {sorted(options)}'
        )

    def labels(value: Any) -> str | None:
        texts = isinstance(value, list) and all(isinstance(v, str) for v in value)
        fits = texts and value and len(set(value)) == len(value) and options.issuperset(value)
        return None if fits else f'is {_shown(value)}, not a list of different labels out of {sorted(options)}'

    def other(value: Any) -> str | None:
        return None if isinstance(value, list) else f'is {type(value).__name__}, not a list'

    checks = {'rating': rating, 'text': text, 'label_selection': label, 'multi_label_selection': labels}
    return checks.get(kind, other)


def _agent_problem(agent: Any) -> str | None:
    if agent is None or (isinstance(agent, str) and is_agent_name(agent)):
        return None
    return (
        f'has the agent {_shown(agent)}; it may have {MAX_AGENT_LENGTH} characters of a-zA-Z0-9-_:./ (see agent_name)'
    )


def _score_problem(score: Any) -> str | None:
    if score is None or isinstance(score, list):
        return None
    fits = isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 1
    return None if fits else f'has the score {_shown(score)}; it must be from 0 to 1'


def _type_problem(kind: Any) -> str | None:
    return None if kind in (None, 'model', 'human') else f"has the type {_shown(kind)}; it must be 'model' or 'human'"


def _check_terms(value: Any) -> str | None:
    for term in value if isinstance(value, (list, tuple)) else [value]:
        if not isinstance(term, str):
            return f'is {type(term).__name__}, but its property is terms: write text'
        # A character takes 4 bytes at most, so most terms need no encoding to be seen to fit.
        if len(term) * 4 > MAX_TERM_BYTES and len(term.encode('utf-8', 'surrogatepass')) > MAX_TERM_BYTES:
            return f'is longer than {MAX_TERM_BYTES:,} bytes: the record would be lost from search'
    return None


def _check_integer(value: Any) -> str | None:
    if type(value) is not int:
        return f'is {_shown(value)}, but its property is integer'
    return None if -(2**63) <= value < 2**63 else f'is {_shown(value)}, which 64 bits cannot hold'


def _check_float(value: Any) -> str | None:
    if type(value) is not float:
        return f'is {_shown(value)}, but its property is float'
    if not math.isfinite(value) or abs(value) > MAX_FLOAT32:
        return f'is {value}: the record would be lost from search'
    return None


def _check_extra(value: Any) -> str | None:
    """Metadata without a property: anything that JSON can carry, at any depth. The encoder would write NaN as null."""
    todo = [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, float) and not math.isfinite(inner):
            return f'holds {inner}, which JSON cannot carry'
        if isinstance(inner, Mapping):
            if not all(isinstance(key, str) for key in inner):
                return 'holds a key that is no text, which JSON cannot carry'
            todo += inner.values()
        elif isinstance(inner, (list, tuple)):
            todo += inner
    return None


_METADATA_CHECKS: dict[str, Check] = {'terms': _check_terms, 'integer': _check_integer, 'float': _check_float}
