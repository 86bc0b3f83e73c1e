"""What a dataset looks like on the server: fields, questions, metadata and vectors, in the server's own terms.

Plain data rather than `argilla.Settings`, which takes more than a second to import, and cannot be pickled once it was
read from a server. `DatasetSettings.of` accepts one, and `DatasetSettings.to_argilla` gives one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beam_argilla.server.sdk import settings_from_argilla, settings_to_argilla

if TYPE_CHECKING:
    import argilla as rg

MAX_VECTORS = 5  # of a dataset; argilla-server 2.8
Property = Mapping[str, Any]  # a field, question or metadata property as the server's API writes it


@dataclass(frozen=True)
class DatasetSettings:
    """The settings of a dataset.

    Args:
        fields: made by `text_field`, or any field as the server's API writes it.
        questions: made by `rating_question`, `text_question` or `label_question`, or as the server's API writes it.
            At least one must be required.
        metadata: made by `metadata_property`, or as the server's API writes it.
        vectors: made by `vector_property`, or as the server's API writes it; at most 5 (argilla-server 2.8).
        guidelines: shown to annotators; Markdown; at most 10,000 characters (argilla-server 2.8).
        min_submitted: how many annotators must answer before a record is complete.
        allow_extra_metadata: whether records may carry metadata without a property.

    Raises:
        ValueError: something the server would refuse, such as a name used twice.
    """

    fields: Sequence[Property]
    questions: Sequence[Property]
    metadata: Sequence[Property] = ()
    guidelines: str | None = None
    min_submitted: int = 1
    allow_extra_metadata: bool = False
    vectors: Sequence[Property] = ()

    def __post_init__(self) -> None:
        for name in ('fields', 'questions', 'metadata', 'vectors'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for kind, properties in (
            ('field', self.fields),
            ('question', self.questions),
            ('metadata property', self.metadata),
            ('vector', self.vectors),
        ):
            names = [p['name'] for p in properties]
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f'Two {kind}s are called {twice[0]!r}: give one of them another name')
            wrong = [n for n in names if not 1 <= len(n) <= 200]
            if wrong:
                raise ValueError(f'A {kind} is called {wrong[0]!r}: names have 1 to 200 characters')
        if not self.fields or not any(q['required'] for q in self.questions):
            raise ValueError('A dataset needs at least one field and one required question')
        if len(self.vectors) > MAX_VECTORS:
            raise ValueError(f'{len(self.vectors)} vectors: a dataset has {MAX_VECTORS} at most')
        if self.guidelines is not None and not 1 <= len(self.guidelines) <= 10_000:
            raise ValueError(f'The guidelines have {len(self.guidelines):,} characters; the server takes 1 to 10,000')
        if self.min_submitted < 1:
            raise ValueError(f'min_submitted={self.min_submitted}: it must be at least 1')

    @classmethod
    def of(cls, settings: Any) -> DatasetSettings:
        """Settings as they are, or those of an `argilla.Settings`."""
        if isinstance(settings, cls):
            return settings
        return cls(**settings_from_argilla(settings))

    def to_argilla(self) -> rg.Settings:
        """An `argilla.Settings` that says the same: to look at, to change, or to make a dataset with by hand.

        It is made without a client or a server. To add a field or question to it, the SDK needs an `argilla.Argilla`
        made before (`ArgillaConnection.client`).

        Raises:
            ValueError: a name that the SDK cannot take, such as ``count``.

        Example:
            >>> settings = ba.Preference(num_generations=4).settings().to_argilla()
            >>> settings.guidelines = 'Which answer would you send?'
            >>> ba.WriteRecords('answers', settings=settings, connection=connection)
        """
        return settings_to_argilla(vars(self))


def text_field(name: str, required: bool = True, use_markdown: bool = False) -> Property:
    """A text field; its title is its name."""
    settings = {'type': 'text', 'use_markdown': use_markdown}
    return {'name': name, 'title': name, 'required': required, 'settings': settings}


def label_question(name: str, title: str, labels: Mapping[str, str], required: bool = True) -> Property:
    """One label out of `labels` (value → text shown)."""
    options = [{'value': value, 'text': text} for value, text in labels.items()]
    return _question(name, title, required, None, {'type': 'label_selection', 'options': options})


def rating_question(
    name: str, title: str, values: Sequence[int], required: bool = True, description: str | None = None
) -> Property:
    """One number out of `values`: 2 to 11 different integers from 0 to 10 (argilla-server 2.8)."""
    if not 2 <= len(set(values)) == len(values) <= 11 or not all(type(v) is int and 0 <= v <= 10 for v in values):
        raise ValueError(f'Rating values {list(values)}: give 2 to 11 different integers from 0 to 10')
    options = [{'value': value} for value in values]
    return _question(name, title, required, description, {'type': 'rating', 'options': options})


def text_question(
    name: str, title: str, required: bool = True, description: str | None = None, use_markdown: bool = False
) -> Property:
    """A free text."""
    return _question(name, title, required, description, {'type': 'text', 'use_markdown': use_markdown})


def metadata_property(name: str, kind: str, title: str | None = None, visible_for_annotators: bool = True) -> Property:
    """A metadata property of kind ``terms``, ``integer`` or ``float``."""
    if kind not in ('terms', 'integer', 'float'):
        raise ValueError(f"Metadata {name!r} has type {kind!r}: use 'terms', 'integer' or 'float'")
    settings = {'type': kind}
    shown = {'visible_for_annotators': visible_for_annotators}
    return {'name': name, 'title': title or name, 'settings': settings, **shown}


def vector_property(name: str, dimensions: int, title: str | None = None) -> Property:
    """A vector of so many numbers, to find similar records by."""
    if dimensions < 1:
        raise ValueError(f'Vector {name!r} has {dimensions} dimensions: it needs at least 1')
    return {'name': name, 'title': title or name, 'dimensions': dimensions}


def _question(name: str, title: str, required: bool, description: str | None, settings: Property) -> Property:
    question = {'name': name, 'title': title, 'required': required, 'settings': settings}
    return question if description is None else {**question, 'description': description}
