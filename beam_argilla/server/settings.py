"""What a dataset looks like on the server: fields, questions, metadata and vectors, in the server's own terms.

Plain data rather than `argilla.Settings`, which takes more than a second to import, and cannot be pickled once it was
read from a server. `DatasetSettings.of` accepts one, and `DatasetSettings.to_argilla` gives one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beam_argilla.server.sdk import settings_from_argilla, settings_to_argilla

if TYPE_CHECKING:
    import argilla as rg

MAX_VECTORS = 5  # of a dataset; argilla-server 2.8
Property = Mapping[str, Any]  # a field, question or metadata property as the server's API writes it

# What a dataset is made of: attribute of `DatasetSettings` → what one of it is called.
KINDS = {'fields': 'field', 'questions': 'question', 'metadata': 'metadata property', 'vectors': 'vector'}

# What the argilla SDK (2.8) holds a dataset's fields, questions, metadata and vectors in has these attributes, so it
# cannot open a dataset in which something is called like one of them.
_SDK_ATTRIBUTES = re.compile(
    'add|count|index|remove|serialize|_create|_delete|_update|_validate_new_property|_settings|_properties_by_name|'
    '_removed_properties|_abc_impl|_is_protocol|__.*__'
)
# Columns of its export besides those of the fields: what is called like one takes its place, or is lost.
_SDK_COLUMNS = ('id', 'status', '_server_id', 'responses', 'suggestions')
_SDK_SUFFIXES = (  # behind the name of a question
    *('.suggestion', '.suggestion.score', '.suggestion.agent'),
    *('.responses', '.responses.users', '.responses.status'),
)


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
        for name in KINDS:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for attribute, kind in KINDS.items():
            names = [p['name'] for p in getattr(self, attribute)]
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f'A second {kind} is called {twice[0]!r}: give one of them another name')
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

    def check_names(self) -> None:
        """Checks that the argilla SDK can work with a dataset made of these settings.

        The server takes names with which the SDK cannot open the dataset, read its records or change its settings, or
        exports something else than what is there. An existing dataset that has such names can be written to all the
        same, without naming settings.

        Raises:
            ValueError: there is such a name.
        """
        columns = self.sdk_columns()
        others: dict[str, str] = {}
        for kind, name in ((kind, p['name']) for attribute, kind in KINDS.items() for p in getattr(self, attribute)):
            if name in others:
                problem = f'a {others[name]} is called so as well, which the argilla SDK does not take'
            elif _SDK_ATTRIBUTES.fullmatch(name):
                problem = _IS_ATTRIBUTE
            elif kind != 'question' and name in columns and (kind, name) != ('field', 'id'):  # distilabel has that
                problem = _IS_COLUMN
            elif kind == 'vector' and not re.fullmatch('[a-zA-Z0-9_-]+', name):
                problem = 'the argilla SDK reads vectors only if their names are of a-z, A-Z, 0-9, _ and -'
            else:
                others[name] = kind
                continue
            raise _bad_name(kind, name, problem)

    def sdk_columns(self) -> set[str]:
        """The columns of the argilla SDK's export that are not those of fields, metadata and vectors."""
        return {*_SDK_COLUMNS, *(q['name'] + suffix for q in self.questions for suffix in _SDK_SUFFIXES)}

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


_IS_ATTRIBUTE = 'the argilla SDK could not open the dataset, for it has an attribute of that name'
_IS_COLUMN = "the argilla SDK's export has a column of that name"


def _bad_name(kind: str, name: str, problem: str) -> ValueError:
    renamed = f", such as Metadata(column={name!r}, name='row_{name}') or --metadata {name}:terms:row_{name}"
    way = renamed if kind == 'metadata property' else ''
    return ValueError(f'A {kind} is called {name!r}, but {problem}: give it another name{way}.')


def check_metadata_name(name: str) -> None:
    """Checks a metadata property's name as `DatasetSettings.check_names` does, whatever else the dataset has.

    Raises:
        ValueError: the argilla SDK needs the name itself.
    """
    if _SDK_ATTRIBUTES.fullmatch(name) or name in _SDK_COLUMNS:
        raise _bad_name('metadata property', name, _IS_COLUMN if name in _SDK_COLUMNS else _IS_ATTRIBUTE)


def text_field(name: str, required: bool = True, use_markdown: bool = False) -> Property:
    """A text field; its title is its name."""
    settings = {'type': 'text', 'use_markdown': use_markdown}
    return {'name': name, 'title': name, 'required': required, 'settings': settings}


def chat_field(name: str, required: bool = True, use_markdown: bool = False) -> Property:
    """A conversation: at most 500 messages of at most 20,000 characters each (argilla-server 2.8, unless it is told
    otherwise); its title is its name."""
    settings = {'type': 'chat', 'use_markdown': use_markdown}
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
