"""Before the sink, where it is asked for: one record per external id, and only those that the server lacks.

Records, and fingerprints of what the dataset holds, meet in shards of the external id.
"""

from __future__ import annotations

import hashlib
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

from beam_argilla.errors import InvalidRecordError
from beam_argilla.failures import to_json
from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import Refused, refuse
from beam_argilla.server.bulk import MAX_LISTED, Item, ItemSuggestion, count_records, decode_item, list_records
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.encoder import Encoder
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.threads import in_background
from beam_argilla.writing.results import WrittenRecord


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


class Distinct(beam.PTransform):
    """Leaves one of records with the same external id, and none of those that the dataset holds already.

    Input: PCollection of `Record`. Output: records to send; output ``unchanged``: `WrittenRecord`s; output
    ``refused``: `FailedRecord`s, for records that share an id and differ: which one is right, nobody can know.

    Args:
        dataset: side input.
        existing: PCollection of `Existing`; None: send all.
        replace: whether suggestions that only the server has make a difference.
    """

    # A worker holds one shard: of 10⁶ records of 4 kB, 8 MB. Each shard costs the runner 0.1 ms.
    NUM_SHARDS = 512

    def __init__(self, dataset: beam.PCollection, existing: beam.PCollection | None, replace: bool):
        super().__init__()
        self._dataset = dataset
        self._existing = existing
        self._replace = replace

    def expand(self, records: beam.PCollection) -> Any:
        n = self.NUM_SHARDS
        sharded = {'records': records | 'Shard' >> beam.Map(lambda r: (shard_of(r.external_id, n), r))}
        if self._existing is not None:
            sharded['existing'] = self._existing | 'Shard existing' >> beam.Map(lambda e: (shard_of(e[0], n), e))
        return (
            sharded
            | 'Meet' >> beam.CoGroupByKey()
            | 'Choose'
            >> beam.ParDo(_Choose(self._replace), beam.pvalue.AsSingleton(self._dataset)).with_outputs(
                'unchanged', Refused.TAG, main='records'
            )
        )


def _differ(a: Record, b: Record) -> bool:
    """Whether two records would not be sent alike. A vector may be an array, which Python does not compare."""
    return a[:4] != b[:4] or to_json(a.vectors) != to_json(b.vectors)


class _Choose(beam.DoFn):
    def __init__(self, replace: bool):
        self._replace = replace

    def start_bundle(self) -> None:
        self._encoder: Encoder | None = None

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset) -> Iterator[Any]:
        _, met = element
        by_id: dict[Any, list[Record]] = {}
        for record in met['records']:
            by_id.setdefault(record.external_id, []).append(record)
        existing = {e[0]: e for e in met.get('existing', ()) if e[0] in by_id}
        self._encoder = self._encoder or Encoder(dataset.settings, dataset.question_ids)
        for external_id, records in by_id.items():
            first, *others = records
            if any(_differ(other, first) for other in others):
                message = f'{len(records)} different records have the external id {external_id!r}: give each its own'
                yield from (refuse(failed_record(r, 'validate', 'DuplicateExternalId', message)) for r in records)
                continue
            if others:
                Metrics.counter(NAMESPACE, 'duplicate_records').inc(len(others))
            found = existing.get(external_id)
            if found is not None and self._same(
                self._encoder, first, Fingerprint(found[2], *map(frozenset, found[3:]))
            ):
                Metrics.counter(NAMESPACE, 'records_unchanged').inc()
                written = WrittenRecord(external_id, found[1], 'unchanged', first.warnings)
                yield beam.pvalue.TaggedOutput('unchanged', written)
            else:
                yield first

    def _same(self, encoder: Encoder, record: Record, found: Fingerprint) -> bool:
        try:
            wanted = fingerprint(decode_item(encoder.encode(record)))
        except InvalidRecordError:
            return False  # the sink will say what is wrong with it
        if wanted.content != found.content or not wanted.vectors <= found.vectors:
            return False
        if self._replace:
            return wanted.suggestions == found.suggestions
        return wanted.suggestions <= found.suggestions


# External id, record id, and the fingerprint: nothing that Beam would have to pickle.
Existing = tuple[str, str, bytes, list[bytes], list[bytes]]


class ReadExisting(beam.PTransform):
    """What a dataset holds: PCollection of `Existing`, read in pages side by side."""

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy):
        super().__init__()
        self._connection = connection
        self._retry = retry

    def expand(self, dataset: beam.PCollection) -> beam.PCollection:
        return (
            dataset
            | 'Pages' >> beam.ParDo(_Pages(self._connection, self._retry))
            | 'Spread pages' >> beam.Reshuffle()
            | 'Read page' >> beam.ParDo(_ReadPage(self._connection, self._retry))
        )


Page = tuple[str, int, int, bool]  # dataset id, offset, limit, whether it has vectors
_FEWEST_PAGES, _SMALLEST_PAGE = 8, 100


class _Pages(beam.DoFn):
    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy):
        self._connection = connection
        self._retry = retry

    def setup(self) -> None:
        self._client = Client(self._connection, self._retry)

    def teardown(self) -> None:
        self._client.close()

    def process(self, dataset: Dataset) -> Iterator[Page]:
        count = count_records(self._client, dataset.id)
        # Of a few records, too, there shall be several pages: one is worked on while the next is made up. More would
        # cost the server, which counts off the records before each page.
        limit = min(max(-(-count // _FEWEST_PAGES), _SMALLEST_PAGE), MAX_LISTED)
        for offset in range(0, count, limit):
            yield dataset.id, offset, limit, bool(dataset.settings.vectors)


class _ReadPage(_Pages):
    """Page → what is on it. While an answer is worked on, the server makes up the next two of the bundle's pages."""

    _IN_FLIGHT = 2

    def teardown(self) -> None:
        self._client.stop()
        super().teardown()

    def start_bundle(self) -> None:
        self._coming: deque[Future[list[Item]]] = deque()

    def process(self, page: Page) -> Iterator[Existing]:  # type: ignore[override]
        items = self._coming.popleft().result() if len(self._coming) == self._IN_FLIGHT else []
        self._coming.append(in_background(list_records, self._client, *page))
        yield from _existing(items)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._coming:
            yield from map(GlobalWindows.windowed_value, _existing(self._coming.popleft().result()))


def _existing(items: Iterable[Item]) -> Iterator[Existing]:
    # Pages are cut by time of insertion without a tie-break, so a record may be missed or come twice: then it is sent
    # again, or compared twice, and neither does harm.
    for item in items:
        if item.external_id is not None and item.id is not None:
            content, suggestions, vectors = fingerprint(item)
            yield item.external_id, item.id, content, list(suggestions), list(vectors)
