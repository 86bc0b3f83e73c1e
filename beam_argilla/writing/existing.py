"""What a dataset holds already: read in pages side by side, each record as a fingerprint of what it says."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.errors import JobError
from beam_argilla.failures import to_json
from beam_argilla.records import is_external_id
from beam_argilla.server.bulk import MAX_LISTED, Item, ItemSuggestion, count_records, list_records
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.server.settings import DatasetSettings
from beam_argilla.threads import in_background

_LOGGER = logging.getLogger(__name__)


class Fingerprint(NamedTuple):
    """What a record says, in 16 bytes for its fields and metadata and as many for each suggestion and vector."""

    content: bytes
    suggestions: frozenset[bytes]
    vectors: frozenset[bytes]


def fingerprint(item: Item) -> Fingerprint:
    """The fingerprint of a record."""

    def suggestion(s: ItemSuggestion) -> bytes:
        score = float(s.score) if isinstance(s.score, int) else s.score  # 1 comes back as 1.0
        return _digest((s.question_id, _known(s.value), s.agent, score, s.type))

    return Fingerprint(
        _digest((_known(item.fields), _known(item.metadata or {}))),
        frozenset(map(suggestion, item.suggestions or ())),
        frozenset(map(_digest, (item.vectors or {}).items())),
    )


def _known(value: Any) -> Any:
    """The names that have a value, also of each item of a list: the server leaves the others out, or adds them."""
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if inner is not None}
    return [_known(item) for item in value] if isinstance(value, list) else value


_to_json = msgspec.json.Encoder(order='sorted').encode  # of numbers of any size, which orjson refuses


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(_to_json(value), digest_size=16).digest()


class Existing(NamedTuple):
    """A record that the dataset holds. It travels as a plain tuple, which Beam need not pickle.

    Attributes:
        external_id, record_id: its own.
        content, suggestions, vectors: its fingerprint.
        subject: what `subject` makes of it if it may be adopted; else None.
        texts: what `texts` makes of it if it may be adopted; else empty.
        shown_id: its field ``id``.
        is_anyones: whether that is no more than the sha256 of its instruction, as distilabel writes it, or nothing.
        is_answered: whether somebody has answered it, be it a draft or a discarded answer.
        inserted_at: when it was made, by the server's clock.
    """

    external_id: str | None
    record_id: str
    content: bytes
    suggestions: list[bytes]
    vectors: list[bytes]
    subject: bytes | None
    texts: dict[str, bytes]
    shown_id: Any
    is_anyones: bool
    is_answered: bool
    inserted_at: str


_SUBJECT = ('instruction', 'generation')


def subject(fields: Mapping[str, Any], settings: DatasetSettings) -> bytes:
    """What a record is about: two records of one dataset with the same are about the same."""
    names = {f['name'] for f in settings.fields}
    text = to_json([fields.get(name) for name in _SUBJECT if name in names])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def texts(fields: Mapping[str, Any]) -> dict[str, bytes]:
    """What people judge of a record, in 16 bytes for each of its fields: all but the instruction's id."""
    return {name: _digest(value) for name, value in _known(fields).items() if name != 'id'}


def is_of_others(item: Item) -> bool:
    """Whether this package would have given the record another external id."""
    shown = item.fields.get('id')
    return not (isinstance(shown, str) and item.external_id is not None and is_external_id(item.external_id, shown))


def _existing(item: Item, settings: DatasetSettings, adopt: bool) -> tuple[Any, ...]:
    content, suggestions, vectors = fingerprint(item)
    shown, instruction = item.fields.get('id'), item.fields.get('instruction')
    adoptable = adopt and is_of_others(item)
    return tuple(
        Existing(
            external_id=item.external_id,
            record_id=item.id or '',
            content=content,
            suggestions=list(suggestions),
            vectors=list(vectors),
            subject=subject(item.fields, settings) if adoptable else None,
            texts=texts(item.fields) if adoptable else {},
            shown_id=shown,
            is_anyones=adopt and shown in (None, hashlib.sha256(str(instruction).encode()).hexdigest()),
            is_answered=bool(item.responses),
            inserted_at=item.inserted_at or '',
        )
    )


class ReadExisting(beam.PTransform):
    """What a dataset holds: PCollection of tuples of `Existing`, read in pages side by side.

    Args:
        connection, retry: the server, and how long to retry.
        adopt: whether records of others shall be adopted.
    """

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy, adopt: bool = False):
        super().__init__()
        self._arguments = connection, retry, adopt

    def expand(self, dataset: beam.PCollection) -> beam.PCollection:
        return (
            dataset
            | 'Pages' >> beam.ParDo(_Pages(*self._arguments))
            | 'Spread pages' >> beam.Reshuffle()
            | 'Read page' >> beam.ParDo(_ReadPage(*self._arguments))
        )


Page = tuple[Dataset, int, int]  # offset, limit
_FEWEST_PAGES, _SMALLEST_PAGE = 8, 100
# Records are listed by time of insertion without a tie-break: those of the same microsecond may change places from one
# page to the next, so that one is missed where the pages meet.
_OVERLAP = 5


class _Pages(beam.DoFn):
    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy, adopt: bool):
        self._connection = connection
        self._retry = retry
        self._adopt = adopt

    def setup(self) -> None:
        self._client = Client(self._connection, self._retry)

    def teardown(self) -> None:
        self._client.close()

    def process(self, dataset: Dataset) -> Iterator[Page]:
        if self._adopt and 'instruction' not in {f['name'] for f in dataset.settings.fields}:
            raise JobError(
                'Records are adopted by the text of their instruction, but the dataset has no field of that name: '
                'leave adopt=True (--adopt) out.'
            )
        count = count_records(self._client, dataset.id)
        # Of a few records, too, there shall be several pages: one is worked on while the next is made up. More would
        # cost the server, which counts off the records before each page.
        step = min(max(-(-count // _FEWEST_PAGES), _SMALLEST_PAGE), MAX_LISTED - _OVERLAP)
        for offset in range(0, count, step):
            yield dataset, offset, step + _OVERLAP


class _ReadPage(_Pages):
    """Page → what is on it. While an answer is worked on, the server makes up the next two of the bundle's pages."""

    _IN_FLIGHT = 2

    def teardown(self) -> None:
        self._client.stop()
        super().teardown()

    def start_bundle(self) -> None:
        self._coming: deque[Future[list[Item]]] = deque()

    def process(self, page: Page) -> Iterator[Any]:  # type: ignore[override]
        dataset, offset, limit = page
        self._settings = dataset.settings
        include = [
            'suggestions',
            *(['vectors'] if self._settings.vectors else []),
            *(['responses'] if self._adopt else []),
        ]
        items = self._coming.popleft().result() if len(self._coming) == self._IN_FLIGHT else []
        self._coming.append(in_background(list_records, self._client, dataset.id, offset, limit, include))
        yield from self._existing(items)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._coming:
            yield from map(GlobalWindows.windowed_value, self._existing(self._coming.popleft().result()))

    def _existing(self, items: Iterable[Item]) -> Iterator[tuple[Any, ...]]:
        return (_existing(item, self._settings, self._adopt) for item in items)


_LOOKED_AT = 100  # records


def warn_of_others(client: Client, name: str, dataset: Dataset) -> None:
    """Says so if the dataset holds what others wrote to it of the same kind of records, such as distilabel."""
    if not {'id', 'instruction'} <= {f['name'] for f in dataset.settings.fields}:
        return
    other = next(filter(is_of_others, list_records(client, dataset.id, 0, _LOOKED_AT, ())), None)
    if other is not None:
        _LOGGER.warning(
            'Dataset %r holds records that something else wrote, such as %r: distilabel gives its own random external '
            'ids. Records of this job on the same instructions are written beside them. To take theirs over instead, '
            'with what people have answered, use adopt=True (--adopt).',
            name,
            other.external_id,
        )
