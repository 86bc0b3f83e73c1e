"""What a task is, and what every task can be told."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from beam_argilla.failures import FailedRecord
from beam_argilla.records import Record
from beam_argilla.server.settings import (
    DatasetSettings,
    Property,
    chat_field,
    check_metadata_name,
    metadata_property,
    text_field,
)

if TYPE_CHECKING:  # a task is described, and its mistakes are found, without Arrow
    import pyarrow as pa


@dataclass(frozen=True)
class Metadata:
    """A column of the input that becomes a metadata property, to filter and sort by.

    Args:
        column: its name in the input.
        type: ``terms`` (text), ``integer`` or ``float``.
        visible_for_annotators: False hides it from annotators.
        name: the property's name. Default: the column's, which must not be one that the argilla SDK needs itself.

    Raises:
        ValueError: another type, or a name that the SDK needs.

    Example:
        >>> Metadata('status', name='row_status')
    """

    column: str
    type: str = 'terms'
    visible_for_annotators: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        self.settings()  # raises on another type
        check_metadata_name(self.property_name)

    @property
    def property_name(self) -> str:
        return self.column if self.name is None else self.name

    def settings(self) -> Property:
        return metadata_property(self.property_name, self.type, visible_for_annotators=self.visible_for_annotators)


class Task(Protocol):
    """What `WriteToArgilla` needs to know of a task."""

    @property
    @abstractmethod
    def max_generations(self) -> int | None:
        """How many generations a record has places for; None: a record per generation."""

    @property
    @abstractmethod
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns of the input that it keeps as metadata."""

    @abstractmethod
    def settings(self) -> DatasetSettings:
        """The dataset to make."""

    @abstractmethod
    def records(self, table: pa.Table) -> Iterator[Record | FailedRecord]:
        """The records of a canonical table whose groups are whole and in order."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Task):
    """What can be said of either task.

    Args:
        guidelines: shown to annotators.
        use_markdown: show the texts as Markdown.
        chat: show the instruction as a conversation (a chat field), of which a text is the user's only turn. The input
            has to be read with ``Columns(chat=True)``, which `WriteToArgilla` does if it reads it.
        model_names: keep the models' names as metadata, hidden from annotators, who should not know.
        metadata: columns to keep as metadata; a plain name means terms.
        min_submitted: how many annotators must answer before a record is complete.
        namespace: goes before every external id, so that two jobs on one dataset do not overwrite each other.
    """

    guidelines: str | None = None
    use_markdown: bool = False
    chat: bool = False
    model_names: bool = False
    metadata: Sequence[Metadata | str] = ()
    min_submitted: int = 1
    namespace: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.metadata, str):
            raise ValueError(f'metadata={self.metadata!r}: give a list, [{self.metadata!r}]')
        # A tuple is hashable, whatever sequence was given.
        object.__setattr__(self, 'metadata', tuple(Metadata(m) if isinstance(m, str) else m for m in self.metadata))
        self.settings().check_names()  # the former raises on what the server would refuse

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.column for m in self._kept))

    @property
    def _kept(self) -> tuple[Metadata, ...]:
        return cast(tuple[Metadata, ...], self.metadata)

    def _instruction_field(self) -> Property:
        make = chat_field if self.chat else text_field
        return make('instruction', use_markdown=self.use_markdown)

    def _instructions(self, table: pa.Table) -> list[Any]:
        """The values of that field, of each row of a canonical table."""
        from beam_argilla.generations import MESSAGES

        texts = table.column('instruction').to_pylist()
        if not self.chat:
            return texts
        messages = table.column(MESSAGES).to_pylist() if MESSAGES in table.column_names else [None] * len(texts)
        return [
            [{'role': 'user', 'content': text}] if said is None else orjson.loads(said)
            for text, said in zip(texts, messages, strict=True)
        ]

    def _properties(self, *models: str) -> list[Property]:
        """The metadata properties: those of the models' names, if they are kept, and those of the columns."""
        hidden = [metadata_property(m, 'terms', visible_for_annotators=False) for m in models if self.model_names]
        return [*hidden, *(m.settings() for m in self._kept)]

    def _cells(self, table: pa.Table) -> list[tuple[Metadata, list[Any]]]:
        """The cells of each metadata column of a canonical table."""
        from beam_argilla.generations import METADATA_PREFIX

        return [(m, table.column(METADATA_PREFIX + m.column).to_pylist()) for m in self._kept]


def parse_rating(text: str) -> int | None:
    """The whole number that the text writes (``4``, ``4.0``); None for any other text. Never rounds."""
    number = _decimal(text)
    return None if number is None or number != number.to_integral_value() else int(number)


def _decimal(text: str) -> Decimal | None:
    """The number that the text writes in the digits of ASCII: Python alone reads 1_0 and ４ as numbers."""
    text = text.strip(' \t\r\n')
    return Decimal(text) if len(text) <= _LONGEST and _NUMBER.fullmatch(text) else None


_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?', re.ASCII | re.IGNORECASE)
_LONGEST = 1_000  # of a number that means something


def metadata_value(metadata: Metadata, cells: Sequence[list[str | None] | None], warnings: list[str]) -> Any:
    """One value for a record out of its rows' cells: what they agree on, or, for terms, all of them."""
    texts = list(dict.fromkeys(text for cell in cells if cell is not None for text in cell if text is not None))
    if metadata.type == 'terms':
        return texts[0] if len(texts) == 1 else texts or None
    numbers = list(dict.fromkeys(_number(text, metadata.type) for text in texts))
    if len(numbers) > 1:
        first, *others = numbers
        warnings.append(
            f'{", ".join(map(str, others))} of metadata {metadata.property_name!r}: a record has one {metadata.type} '
            f'there, but its rows have {len(numbers)}; {first}, the first in their order, was kept'
        )
    return numbers[0] if numbers else None


def _number(text: str, kind: str) -> Any:
    """The number that the text writes, as the property takes it; the text itself if it is none, to be refused."""
    number = _decimal(text) if kind == 'float' else parse_rating(text)  # 3.0 is an integer, too
    if number is None:
        return text
    return float(number) if kind == 'float' else number
