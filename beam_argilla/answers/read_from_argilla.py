"""What people answered, read in slices side by side and held against the server's own count."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import Lineage
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.answers.answered import AnsweredRecord, Response
from beam_argilla.answers.slices import Slice, by_listing, by_search, offsets, slices
from beam_argilla.errors import JobError
from beam_argilla.failures import FailedRecord, to_json
from beam_argilla.metrics import NAMESPACE
from beam_argilla.records import Suggestion
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.server.address import check_names
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import check_server, ensure_dataset
from beam_argilla.server.listing import (
    ListedRecord,
    ListedResponse,
    ListedSuggestion,
    Wanted,
    count_responses,
    listed,
    people,
    search,
)
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.threads import Merged

_LOGGER = logging.getLogger(__name__)
RESPONSE_STATUS, RECORD_STATUS = ('submitted', 'draft', 'discarded'), ('pending', 'completed')


class Selection(NamedTuple):
    """Which records and responses are read.

    Attributes:
        response_status: of responses.
        record_status: of records; empty: all.
        since: records of which a response was made or changed from then on, in UTC; None: all.
        unanswered: records without such a response, too.
        suggestions: whether they are read.
        anonymous: whether people are numbered rather than named.
    """

    response_status: Sequence[str] = ('submitted',)
    record_status: Sequence[str] = ()
    since: datetime | None = None
    unanswered: bool = False
    suggestions: bool = True
    anonymous: bool = False

    def wanted(self) -> Wanted:
        include = ['responses', *(['suggestions'] if self.suggestions else [])]
        return Wanted(() if self.unanswered else self.response_status, self.record_status, include)


class Source(NamedTuple):
    """The dataset as it was when the job began to read.

    Attributes:
        id: its UUID.
        questions: name → kind.
        names: UUID of a question → its name.
        people: UUID of a person → what they are called.
        num_records: how many records there are.
        responses: how many responses of each status there are, by the database's own count.
        is_indexed: whether the search engine knows all of them.
        anonymous: whether people who are not listed are called by nothing that tells who they are.
    """

    id: str
    questions: Mapping[str, str]
    names: Mapping[str, str]
    people: Mapping[str, str]
    num_records: int
    responses: Mapping[str, int]
    is_indexed: bool
    anonymous: bool


class ReadFromArgilla(Fallible):
    """Reads what people answered to the records of a dataset, whoever made it.

    Output: PCollection of `AnsweredRecord`, each record once, in no order. Records that are written after the job has
    begun are left out; answers that are given meanwhile may be there or not. In the end, what was read is held against
    the server's own count.

    What is refused goes to the error handler of `with_error_handler`; without one the pipeline fails: answers to a
    question that was removed since (``RemovedQuestion``).

    Metrics (namespace ``beam_argilla``): ``records_answered`` (read), ``responses_read``.

    Args:
        dataset: its name.
        connection: the server. The key must be an owner's, or an admin's of the workspace.
        workspace: the dataset's.
        response_status: of the responses to read: ``submitted``, ``draft``, ``discarded``.
        record_status: of the records to read: ``pending``, ``completed``; None: both.
        since: only records of which such a response was made or changed from then on, by the server's clock: a
            `datetime`; without a time zone, UTC. They come with all of their responses.
        unanswered: records without such a response, too.
        suggestions: False leaves the suggestions out, which makes reading faster.
        anonymous: call people ``annotator-1``, ``annotator-2``, … in the order in which they first answered, and leave
            out their ids.
        retry: how long to retry.

    Raises:
        ValueError: an unknown status.
        TypeError: `connection` is no `ArgillaConnection`.
        JobError: (while running) the server, the key, the workspace or the dataset is not as it must be, or the server
            gave less than it has.

    Example:
        >>> answered = p | ba.ReadFromArgilla('ultrafeedback', connection=connection)
        >>> answered | beam.Map(lambda record: (record.external_id, len(record.responses)))
    """

    def __init__(
        self,
        dataset: str,
        *,
        connection: ArgillaConnection,
        workspace: str = 'default',
        response_status: Sequence[str] = ('submitted',),
        record_status: Sequence[str] | None = None,
        since: datetime | None = None,
        unanswered: bool = False,
        suggestions: bool = True,
        anonymous: bool = False,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        if not isinstance(connection, ArgillaConnection):
            raise TypeError(f'connection must be an ArgillaConnection, not {type(connection).__name__}')
        check_names(dataset, workspace, False, False)
        _check_status('response_status', response_status, RESPONSE_STATUS)
        _check_status('record_status', record_status or ('pending',), RECORD_STATUS)
        self.dataset = dataset
        self.workspace = workspace
        self.connection = connection
        self.retry = retry or RetryPolicy()
        self.selection = Selection(
            tuple(response_status),
            tuple(record_status or ()),
            None if since is None else _naive(since),
            unanswered,
            suggestions,
            anonymous,
        )

    def expand(self, root: Any) -> beam.PCollection:
        look = _Look(self.connection, self.retry, self.dataset, self.workspace, self.selection)
        source = root.pipeline | 'Once' >> beam.Create([None]) | 'Look' >> beam.ParDo(look)
        one = beam.pvalue.AsSingleton(source)
        parts = source | 'Slices' >> beam.ParDo(_Slices(self.connection, self.retry)) | 'Spread' >> beam.Reshuffle()
        read = parts | 'Read' >> beam.ParDo(_Read(self.connection, self.retry, self.selection), one).with_outputs(
            Refused.TAG, _COUNTS, main='records'
        )
        self.refuse(read[Refused.TAG])
        _ = (
            read[_COUNTS]
            | 'Count' >> beam.CombineGlobally(_added)
            | 'Hold against the server' >> beam.ParDo(_Hold(self.connection, self.retry, self.selection), one)
        )
        read.records.element_type = AnsweredRecord
        return read.records

    def display_data(self) -> dict[str, Any]:
        return {'dataset': self.dataset, 'workspace': self.workspace, 'api_url': self.connection.api_url}


def _check_status(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = [status for status in given if status not in known]
    if isinstance(given, str) or unknown or not given:
        raise ValueError(f'{name}={given!r}: give a list of {", ".join(map(repr, known))}')


def _naive(time: datetime) -> datetime:
    """As the server writes it: in UTC, without saying so."""
    return time if time.tzinfo is None else time.astimezone(timezone.utc).replace(tzinfo=None)


class _Asking(beam.DoFn):
    """Asks the server."""

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy):
        self._connection = connection
        self._retry = retry

    def setup(self) -> None:
        self._client = Client(self._connection, self._retry)

    def teardown(self) -> None:
        self._client.stop()
        self._client.close()


class _Look(_Asking):
    """→ the `Source`."""

    def __init__(
        self, connection: ArgillaConnection, retry: RetryPolicy, dataset: str, workspace: str, selection: Selection
    ):
        super().__init__(connection, retry)
        self._dataset = dataset
        self._workspace = workspace
        self._selection = selection

    def process(self, _: None) -> Iterator[Source]:
        client = self._client
        check_server(client)
        dataset = ensure_dataset(client, self._dataset, self._workspace, None)
        count = listed(client, dataset.id, (), 0, 1).total
        responses: Counter[str] = Counter()
        for found in count_responses(client, dataset.id).values():
            responses.update(found)
        is_indexed = _knows_all(client, dataset.id, count)
        if not is_indexed:
            _LOGGER.warning(
                'The search engine of %s does not know all %d records of dataset %r, so they are listed by the '
                'database, which takes longer. `argilla_server search-engine reindex` on the server mends that.',
                client.url,
                count,
                self._dataset,
            )
        names = people(client, dataset.id)
        if self._selection.anonymous:
            names = {user: f'annotator-{n}' for n, user in enumerate(names, 1)}
        Lineage.sources().add('argilla', self._workspace, self._dataset)
        yield Source(
            id=dataset.id,
            questions={q['name']: q['settings']['type'] for q in dataset.settings.questions},
            names={id: name for name, id in dataset.question_ids.items()},
            people=names,
            num_records=count,
            responses=dict(responses),
            is_indexed=is_indexed,
            anonymous=self._selection.anonymous,
        )


_LAG_SECONDS, _LOOKS = 1.0, 4  # Elasticsearch knows of what is written up to a second later


def _knows_all(client: Client, dataset_id: str, count: int) -> bool:
    for look in range(_LOOKS):
        if look:
            time.sleep(_LAG_SECONDS)
        if search(client, dataset_id, Wanted(), None, None, 0, 1).total >= count:
            return True
    return False


class _Slices(_Asking):
    """`Source` → `Slice`s."""

    def process(self, source: Source) -> Iterator[Slice]:
        starts = [
            (offset, page.records[0].inserted_at)
            for offset in offsets(source.num_records)
            if (page := listed(self._client, source.id, (), offset, 1)).records
        ]
        if starts:
            newest = listed(self._client, source.id, (), source.num_records - 1, 1).records
            yield from slices(starts, newest[0].inserted_at if newest else starts[-1][1])


_COUNTS = 'counts'
_AT_A_TIME = 3  # slices per worker
_WAITING = 2  # pages that were read before they are needed


class _Read(_Asking):
    """Slice → its records; several slices of a bundle at a time."""

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy, selection: Selection):
        super().__init__(connection, retry)
        self._selection = selection

    def start_bundle(self) -> None:
        self._pages: Merged[list[ListedRecord]] = Merged(_WAITING)
        self._counts: Counter[str] = Counter()
        self._source: Source | None = None

    def process(self, part: Slice, source: Source) -> Iterator[Any]:
        self._source = source
        self._pages.add(self._walk(part, source))
        yield from self._made(self._pages.take(_AT_A_TIME - 1), source)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._source is None:
            return
        for output in self._made(self._pages.take(0), self._source):
            tag = output.tag if isinstance(output, beam.pvalue.TaggedOutput) else None
            value = GlobalWindows.windowed_value(output if tag is None else output.value)
            yield value if tag is None else beam.pvalue.TaggedOutput(tag, value)
        yield beam.pvalue.TaggedOutput(_COUNTS, GlobalWindows.windowed_value(dict(self._counts)))

    def teardown(self) -> None:
        if hasattr(self, '_pages'):
            self._pages.stop()
        super().teardown()

    def _walk(self, part: Slice, source: Source) -> Iterator[list[ListedRecord]]:
        wanted = self._selection.wanted()
        if source.is_indexed:
            return by_search(partial(search, self._client, source.id, wanted), part)
        return by_listing(partial(listed, self._client, source.id, wanted.include), part)

    def _made(self, pages: Iterator[list[ListedRecord]], source: Source) -> Iterator[Any]:
        for page in pages:
            self._counts['records'] += len(page)
            for record in page:
                self._counts.update(response.status for response in record.responses or ())
                made, refused = answered(record, source, self._selection)
                yield from map(refuse, refused)
                if made is not None:
                    Metrics.counter(NAMESPACE, 'records_answered').inc()
                    Metrics.counter(NAMESPACE, 'responses_read').inc(len(made.responses))
                    yield made


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


class _Hold(_Asking):
    """Holds what was read against what the server says that there is."""

    def __init__(self, connection: ArgillaConnection, retry: RetryPolicy, selection: Selection):
        super().__init__(connection, retry)
        self._selection = selection

    def process(self, read: Mapping[str, int], source: Source) -> None:
        if self._selection.record_status:
            return  # there is no count of these
        wanted = {status: source.responses.get(status, 0) for status in self._selection.response_status}
        if self._selection.unanswered:
            wanted['records'] = source.num_records
        if not any(read.get(name, 0) < count for name, count in wanted.items()):
            return
        # Of what was deleted, or withdrawn, since then, less was there to be read.
        now: Counter[str] = Counter(records=listed(self._client, source.id, (), 0, 1).total)
        for found in count_responses(self._client, source.id).values():
            now.update(found)
        for name, count in wanted.items():
            if read.get(name, 0) < min(count, now[name]):
                what = 'records' if name == 'records' else f'{name} responses'
                raise JobError(
                    f'{self._client.url} gave {read.get(name, 0)} {what}, but counts {min(count, now[name])}. Does its '
                    'search engine know all of them (`argilla_server search-engine reindex`)? Nothing is wrong with '
                    'what was read, but it is not all: run the job again.'
                )


def answered(
    record: ListedRecord, source: Source, selection: Selection
) -> tuple[AnsweredRecord | None, list[FailedRecord]]:
    """The record as it was answered, None if it was not wanted; and answers to questions that are no more."""
    refused: list[FailedRecord] = []
    responses = [r for r in record.responses or () if r.status in selection.response_status]
    if not responses and not selection.unanswered:
        return None, refused
    if selection.record_status and record.status not in selection.record_status:
        return None, refused
    if selection.since is not None and not any(r.updated_at >= selection.since for r in responses):
        return None, refused
    responses.sort(key=lambda r: (r.inserted_at, r.user_id))
    for response in responses:
        removed = [question for question in response.values or () if question not in source.questions]
        if removed:
            refused.append(_removed(record, response, removed, source))
    return AnsweredRecord(
        record_id=record.id,
        external_id=record.external_id,
        status=record.status,
        fields=record.fields,
        metadata=record.metadata or {},
        suggestions=_suggestions(record.suggestions or (), source),
        responses=[_response(response, source) for response in responses],
        questions=source.questions,
        inserted_at=record.inserted_at.replace(tzinfo=timezone.utc),
        updated_at=record.updated_at.replace(tzinfo=timezone.utc),
    ), refused


def _suggestions(found: Sequence[ListedSuggestion], source: Source) -> list[Suggestion]:
    by_name = {source.names[s.question_id]: s for s in found if s.question_id in source.names}
    return [
        Suggestion(name, s.value, s.agent, s.score, s.type)
        for name in source.questions
        if (s := by_name.get(name)) is not None
    ]


def _response(response: ListedResponse, source: Source) -> Response:
    return Response(
        user=_person(response.user_id, source),
        status=response.status,
        values={name: v.value for name, v in (response.values or {}).items() if name in source.questions},
        inserted_at=response.inserted_at.replace(tzinfo=timezone.utc),
        updated_at=response.updated_at.replace(tzinfo=timezone.utc),
        user_id=None if source.anonymous else response.user_id,
    )


def _person(user_id: str, source: Source) -> str:
    if user_id in source.people or not source.anonymous:
        return source.people.get(user_id, user_id)
    return f'annotator-{hashlib.sha256(f"{source.id}{user_id}".encode()).hexdigest()[:8]}'


def _removed(record: ListedRecord, response: ListedResponse, questions: Sequence[str], source: Source) -> FailedRecord:
    values = {name: v.value for name, v in (response.values or {}).items() if name in questions}
    return FailedRecord(
        external_id=record.external_id,
        stage='read',
        error='RemovedQuestion',
        message=f'An answer to {", ".join(map(repr, questions))}, which the dataset does not ask any more.',
        status=None,
        data=to_json({'response': {'user': _person(response.user_id, source), 'values': values}}),
    )
