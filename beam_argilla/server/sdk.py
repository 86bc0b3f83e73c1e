"""The `argilla` SDK's own objects, to and from ours: settings and records. It is imported only where it is used.

argilla 2.8 has no public way to make the parts of `argilla.Settings` without a live client, nor to give them all that
the server's API knows (descriptions of labels, a custom field's template as text), so their models are set directly, as
the SDK does with what it reads from a server. `tests/server/test_sdk.py` holds all of it against the SDK and a server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from beam_argilla.errors import InvalidRecordError
from beam_argilla.records import Record, Suggestion

if TYPE_CHECKING:
    import argilla as rg

Property = Mapping[str, Any]  # as the server's API writes it


# -- settings


def settings_from_argilla(settings: rg.Settings) -> dict[str, Any]:
    """The arguments of the `DatasetSettings` that say the same.

    Raises:
        TypeError: it is something else.
    """
    try:
        written = settings.serialize()
        written['fields']
    except (AttributeError, KeyError):
        kind = type(settings).__name__
        raise TypeError(f'settings must be a DatasetSettings or an argilla.Settings, not a {kind}') from None

    def plain(kind: str, *keys: str) -> list[Property]:
        return [_plain({'title': p['name'], **_without_none(p)}, keys) for p in written[kind]]

    return {
        'fields': plain('fields', 'required', 'description', 'settings'),
        'questions': plain('questions', 'required', 'description', 'settings'),
        'metadata': plain('metadata', 'settings', 'visible_for_annotators'),
        'vectors': plain('vectors', 'dimensions'),
        'guidelines': written['guidelines'],
        'min_submitted': written['distribution']['min_submitted'],
        'allow_extra_metadata': written['allow_extra_metadata'],
    }


def _plain(prop: Mapping[str, Any], keys: Iterable[str]) -> Property:
    out = {key: prop[key] for key in ('name', 'title', *keys) if key in prop}
    if 'settings' in out:  # the SDK says twice of a metadata property whether it is visible
        out['settings'] = {k: v for k, v in out['settings'].items() if k != 'visible_for_annotators'}
    return out


def _without_none(value: Any) -> Any:
    """The value without the keys of which nothing is known, at any depth."""
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def settings_to_argilla(settings: Mapping[str, Any]) -> rg.Settings:
    """The way back: an `argilla.Settings` that says the same, made without a client or a server.

    Args:
        settings: the arguments of a `DatasetSettings`.

    Raises:
        ValueError: a name that the SDK cannot take, such as ``count``.
    """
    import argilla as rg
    from argilla import _models as models

    # Each part asks for the process-wide client unless it is given one; until it belongs to a dataset it uses none.
    nobody = SimpleNamespace(api=SimpleNamespace(fields=None, questions=None, metadata=None, vectors=None))

    # Type → class, and the arguments without which it cannot be made.
    fields: dict[str, Callable[[str], Any]] = {
        'text': lambda name: rg.TextField(name, client=nobody),
        'chat': lambda name: rg.ChatField(name, _client=nobody),
        'image': lambda name: rg.ImageField(name, _client=nobody),
        'custom': lambda name: rg.CustomField(name, _client=nobody),
    }
    questions: dict[str, Callable[[str], Any]] = {
        'text': lambda name: rg.TextQuestion(name, client=nobody),
        'rating': lambda name: rg.RatingQuestion(name, values=[], client=nobody),
        'ranking': lambda name: rg.RankingQuestion(name, values=[], client=nobody),
        'label_selection': lambda name: rg.LabelQuestion(name, labels=[], client=nobody),
        'multi_label_selection': lambda name: rg.MultiLabelQuestion(name, labels=[], client=nobody),
        'span': lambda name: rg.SpanQuestion(name, field='', labels=[], client=nobody),
    }
    metadata: dict[str, Callable[[str], Any]] = {
        'terms': lambda name: rg.TermsMetadataProperty(name, client=nobody),
        'integer': lambda name: rg.IntegerMetadataProperty(name, client=nobody),
        'float': lambda name: rg.FloatMetadataProperty(name, client=nobody),
    }

    def parts(properties: Iterable[Property], makers: Mapping[str, Callable[[str], Any]], model: Any) -> list[Any]:
        out = []
        for prop in properties:
            part = makers[prop['settings']['type']](prop['name'])
            part._model = model(**prop)
            if hasattr(part, 'visible_labels'):  # the model makes "all of them" of None
                part.visible_labels = prop['settings'].get('visible_options')
            out.append(part)
        return out

    vectors = []
    for prop in settings['vectors']:
        vector = rg.VectorField(prop['name'], prop['dimensions'], _client=nobody)
        vector._model = models.VectorFieldModel(**prop)
        vectors.append(vector)
    return rg.Settings(
        fields=parts(settings['fields'], fields, models.FieldModel),
        questions=parts(settings['questions'], questions, models.QuestionModel),
        metadata=parts(settings['metadata'], metadata, models.MetadataFieldModel),
        vectors=vectors,
        guidelines=settings['guidelines'],
        allow_extra_metadata=settings['allow_extra_metadata'],
        distribution=rg.TaskDistribution(min_submitted=settings['min_submitted']),
    )


# -- records


def is_argilla_record(value: Any) -> bool:
    """Whether it is an `argilla.Record`. Who has one has imported the SDK, so this does not."""
    module = sys.modules.get('argilla.records._resource')
    return module is not None and isinstance(value, module.Record)


def record_from_argilla(record: rg.Record, fields: Sequence[Property]) -> Record:
    """The `Record` that says what the SDK's own `records.log` would send, but for responses.

    Args:
        fields: of the dataset that it is for.

    Raises:
        InvalidRecordError: something in it has no form that can be sent.
    """
    kinds = {f['name']: f['settings']['type'] for f in fields}
    raw = unchecked_record(record)
    try:
        return raw._replace(
            fields={n: _field(value, kinds.get(n)) for n, value in raw.fields.items() if value is not None},
            vectors={n: [float(x) for x in vector] for n, vector in raw.vectors.items()},
        )
    except Exception as e:  # whatever PIL and the SDK's models raise on what a user put there
        message = f'The argilla.Record {record.id} cannot be sent: {type(e).__name__}: {e}'
        raise InvalidRecordError('NotARecord', message) from e


def unchecked_record(record: rg.Record) -> Record:
    """What the record holds, whether or not it can be sent."""

    def value(suggested: Any) -> Any:
        return list(suggested) if isinstance(suggested, tuple) else suggested

    return Record(
        external_id=str(record.id),
        fields=dict(record.fields.items()),  # not by name, which would open images
        suggestions=tuple(
            Suggestion(s.question_name, value(s.value), s.agent, s.score, s.type) for s in record.suggestions
        ),
        metadata=dict(record.metadata),
        vectors=dict(record.vectors.items()),
    )


def _field(value: Any, kind: str | None) -> Any:
    if kind == 'image' or type(value).__module__.startswith('PIL.'):
        from argilla._helpers._media import cast_image  # a path or an image → a data URI

        return cast_image(value)
    if kind == 'chat' and isinstance(value, list):
        messages = [m if isinstance(m, Mapping) else m.model_dump() for m in value]
        return [{key: m[key] for key in ('role', 'content')} for m in messages]
    return value
