"""Before the sink, where it is asked for: one record per external id, and only those that the server lacks.

Records, and fingerprints of what the dataset holds, meet in shards of the external id; those that find nothing there,
and what others wrote to the dataset, in shards of what they are about.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.errors import InvalidRecordError, JobError
from beam_argilla.failures import to_json
from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Record, failed_record, is_external_id
from beam_argilla.refusing import Refused, refuse
from beam_argilla.server.bulk import MAX_LISTED, Item, ItemSuggestion, count_records, decode_item, list_records
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.encoder import Encoder
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.server.settings import DatasetSettings
from beam_argilla.threads import in_background
from beam_argilla.writing.results import WrittenRecord

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


def shard_of(external_id: Any, num_shards: int) -> int:
    """The shard of an external id, valid or not."""
    return zlib.crc32(str(external_id).encode('utf-8', 'surrogatepass')) % num_shards


class Existing(NamedTuple):
    """A record that the dataset holds. It travels as a plain tuple, which Beam need not pickle.

    Attributes:
        external_id, record_id: its own.
        content, suggestions, vectors: its fingerprint.
        subject: what `subject` makes of it if it may be adopted; else None.
        shown_id: its field ``id``.
        is_anyones: whether that is no more than the sha256 of its instruction, as distilabel writes it, or nothing.
        is_answered: whether somebody has answered it.
        inserted_at: when it was made, by the server's clock.
    """

    external_id: str | None
    record_id: str
    content: bytes
    suggestions: list[bytes]
    vectors: list[bytes]
    subject: bytes | None
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


def _shard_of_subject(key: bytes) -> int:
    return int.from_bytes(key, 'big') % Distinct.NUM_SHARDS


def is_of_others(item: Item) -> bool:
    """Whether this package would have given the record another external id."""
    shown = item.fields.get('id')
    return not (isinstance(shown, str) and item.external_id is not None and is_external_id(item.external_id, shown))


def _existing(item: Item, settings: DatasetSettings, adopt: bool) -> tuple[Any, ...]:
    content, suggestions, vectors = fingerprint(item)
    shown, instruction = item.fields.get('id'), item.fields.get('instruction')
    return tuple(
        Existing(
            external_id=item.external_id,
            record_id=item.id or '',
            content=content,
            suggestions=list(suggestions),
            vectors=list(vectors),
            subject=subject(item.fields, settings) if adopt and is_of_others(item) else None,
            shown_id=shown,
            is_anyones=adopt and shown in (None, hashlib.sha256(str(instruction).encode()).hexdigest()),
            is_answered=bool(item.responses),
            inserted_at=item.inserted_at or '',
        )
    )


class Distinct(beam.PTransform):
    """Leaves one of records with the same external id, and none of those that the dataset holds already.

    Input: PCollection of `Record`. Output: records to send; output ``unchanged``: `WrittenRecord`s; output
    ``refused``: `FailedRecord`s, for records that share an id and differ: which one is right, nobody can know.

    Args:
        dataset: side input.
        existing: PCollection of `Existing`, some of them twice; None: send all.
        skip_unchanged: whether those that the dataset holds as they are need not be sent.
        adopt: whether those of which the dataset has none with their external id take over a record of others.
        replace: whether suggestions that only the server has make a difference.
    """

    # A worker holds one shard: of 10⁶ records of 4 kB, 8 MB. Each shard costs the runner 0.1 ms.
    NUM_SHARDS = 512

    def __init__(
        self,
        dataset: beam.PCollection,
        existing: beam.PCollection | None,
        skip_unchanged: bool,
        adopt: bool,
        replace: bool,
    ):
        super().__init__()
        self._dataset = dataset
        self._existing = existing
        self._adopt = adopt
        self._options = skip_unchanged, replace

    def expand(self, records: beam.PCollection) -> dict[str, beam.PCollection]:
        n = self.NUM_SHARDS
        dataset = beam.pvalue.AsSingleton(self._dataset)
        sharded = {'records': records | 'Shard' >> beam.Map(lambda r: (shard_of(r.external_id, n), r))}
        if self._existing is not None:
            sharded['existing'] = self._existing | 'Shard existing' >> beam.Map(lambda e: (shard_of(e[0], n), e))
        chosen = (
            sharded
            | 'Meet' >> beam.CoGroupByKey()
            | 'Choose'
            >> beam.ParDo(_Choose(*self._options, self._adopt), dataset).with_outputs(
                'unchanged', Refused.TAG, 'missing', 'others', main='records'
            )
        )
        out = {name: chosen[name] for name in ('records', 'unchanged', Refused.TAG)}
        if self._adopt:
            adopted = (
                {name: chosen[name] for name in ('missing', 'others')}
                | 'Meet again' >> beam.CoGroupByKey()
                | 'Adopt' >> beam.ParDo(_Adopt(*self._options), dataset).with_outputs('unchanged', main='records')
            )
            for name in ('records', 'unchanged'):
                out[name] = (out[name], adopted[name]) | f'All {name}' >> beam.Flatten()
        return out


def _differ(a: Record, b: Record) -> bool:
    """Whether two records would not be sent alike. A vector may be an array, which Python does not compare."""
    return a[:4] != b[:4] or a.record_id != b.record_id or to_json(a.vectors) != to_json(b.vectors)


class _Compare(beam.DoFn):
    def __init__(self, skip_unchanged: bool, replace: bool):
        self._skip_unchanged = skip_unchanged
        self._replace = replace

    def start_bundle(self) -> None:
        self._encoder: Encoder | None = None

    def _compared(self, record: Record, found: Existing | None) -> Any:
        """The record if it is to be sent, else that it is there."""
        if found is not None and self._skip_unchanged and self._same(record, found):
            Metrics.counter(NAMESPACE, 'records_unchanged').inc()
            written = WrittenRecord(record.external_id, found.record_id, 'unchanged', record.warnings)
            return beam.pvalue.TaggedOutput('unchanged', written)
        return record

    def _same(self, record: Record, existing: Existing) -> bool:
        wanted, suggestions = self._fingerprint(record), frozenset(existing.suggestions)
        if wanted is None or wanted.content != existing.content or not wanted.vectors <= frozenset(existing.vectors):
            return False
        return wanted.suggestions == suggestions if self._replace else wanted.suggestions <= suggestions

    def _fingerprint(self, record: Record) -> Fingerprint | None:
        assert self._encoder is not None
        try:
            return fingerprint(decode_item(self._encoder.encode(record)))
        except InvalidRecordError:
            return None  # the sink will say what is wrong with it


class _Choose(_Compare):
    """Records, and what the dataset holds, of some external ids → what is to be sent, or looked at by `_Adopt`."""

    def __init__(self, skip_unchanged: bool, replace: bool, adopt: bool):
        super().__init__(skip_unchanged, replace)
        self._adopt = adopt

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset) -> Iterator[Any]:
        _, met = element
        by_id: dict[Any, list[Record]] = {}
        for record in met['records']:
            by_id.setdefault(record.external_id, []).append(record)
        existing: dict[Any, Existing] = {}
        for found in itertools.starmap(Existing, met.get('existing', ())):
            if found.external_id in by_id:
                existing[found.external_id] = found
            elif found.subject is not None:
                yield beam.pvalue.TaggedOutput('others', (_shard_of_subject(found.subject), tuple(found)))
        self._encoder = self._encoder or Encoder(dataset.settings, dataset.question_ids)
        for external_id, records in by_id.items():
            first, *others = records
            if any(_differ(other, first) for other in others):
                message = f'{len(records)} different records have the external id {external_id!r}: give each its own'
                yield from (refuse(failed_record(r, 'validate', 'DuplicateExternalId', message)) for r in records)
                continue
            if others:
                Metrics.counter(NAMESPACE, 'duplicate_records').inc(len(others))
            if self._adopt and external_id not in existing:
                shard = _shard_of_subject(subject(first.fields, dataset.settings))
                yield beam.pvalue.TaggedOutput('missing', (shard, first))
            else:
                yield self._compared(first, existing.get(external_id))


class _Adopt(_Compare):
    """Records that the dataset lacks, and those of others in it, on some subjects → what is to be sent."""

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset) -> Iterator[Any]:
        _, met = element
        self._encoder = self._encoder or Encoder(dataset.settings, dataset.question_ids)
        others: dict[bytes, dict[str, Existing]] = {}  # a record may have been listed twice
        for found in itertools.starmap(Existing, met['others']):
            others.setdefault(found.subject or b'', {})[found.record_id] = found
        by_subject: dict[bytes, list[Record]] = {}
        for record in met['missing']:
            by_subject.setdefault(subject(record.fields, dataset.settings), []).append(record)
        for key, records in by_subject.items():
            for record, adopted in self._matched(records, list(others.get(key, {}).values())):
                if adopted is not None:
                    Metrics.counter(NAMESPACE, 'records_adopted').inc()
                    record = record._replace(record_id=adopted.record_id)
                yield self._compared(record, adopted)

    def _matched(self, records: list[Record], others: list[Existing]) -> Iterator[tuple[Record, Existing | None]]:
        """Each record with the one that it takes over: the same one whenever it is asked again."""
        matches: dict[str, Existing] = {}
        records = sorted(records, key=lambda r: str(r.external_id))
        # What shows the very id was made, or adopted before, for that record; only what is left is for the others.
        for of_same_id in (True, False):
            for record in records:
                fitting = [
                    other
                    for other in others
                    if (other.shown_id == record.fields.get('id') if of_same_id else other.is_anyones)
                ]
                if record.external_id not in matches and fitting:
                    best = min(fitting, key=functools.partial(self._rank, self._fingerprint(record)))
                    others.remove(best)
                    matches[record.external_id] = best
        for record in records:
            yield record, matches.get(record.external_id)

    @staticmethod
    def _rank(wanted: Fingerprint | None, other: Existing) -> tuple[Any, ...]:
        """The lowest is the best: the same already, then answered by people, then the oldest."""
        is_same = wanted is not None and wanted.content == other.content
        return not is_same, not other.is_answered, other.inserted_at, other.record_id


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
            | 'Read page' >> beam.ParDo(_ReadPage(*self._arguments), beam.pvalue.AsSingleton(dataset))
        )


Page = tuple[int, int]  # offset, limit
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
            yield offset, step + _OVERLAP


class _ReadPage(_Pages):
    """Page → what is on it. While an answer is worked on, the server makes up the next two of the bundle's pages."""

    _IN_FLIGHT = 2

    def teardown(self) -> None:
        self._client.stop()
        super().teardown()

    def start_bundle(self) -> None:
        self._coming: deque[Future[list[Item]]] = deque()

    def process(self, page: Page, dataset: Dataset) -> Iterator[Any]:  # type: ignore[override]
        self._settings = dataset.settings
        include = [
            'suggestions',
            *(['vectors'] if self._settings.vectors else []),
            *(['responses'] if self._adopt else []),
        ]
        items = self._coming.popleft().result() if len(self._coming) == self._IN_FLIGHT else []
        self._coming.append(in_background(list_records, self._client, dataset.id, *page, include))
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
