"""What people answered, read in slices side by side and held against the server's own count."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.answers.answered import AnsweredRecord
from beam_argilla.answers.slices import Slice, by_listing, by_search, offsets, slices
from beam_argilla.answers.source import Asking, Look, Selection, Source, answered
from beam_argilla.answers.watch import Watch
from beam_argilla.errors import JobError
from beam_argilla.metrics import count
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.runners import settled, workers_run_here
from beam_argilla.server.address import check_names
from beam_argilla.server.bulk import count_records
from beam_argilla.server.connection import ArgillaConnection, check_connection, check_sent
from beam_argilla.server.listing import ListedRecord, count_responses, listed, search
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.threads import Merged

RESPONSE_STATUS, RECORD_STATUS = ('submitted', 'draft', 'discarded'), ('pending', 'completed')


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
        poll: look again after so many seconds, for a streaming pipeline: each new state of an answer comes once, as a
            record with that response alone, stamped with the time at which it changed by the server's clock. It comes
            5 seconds after that or later. A job that is restarted from a checkpoint of its runner goes on from there.
            The first look keeps all answers since `since` in memory. A look costs the server as much as a whole export,
            unless nobody has answered since the last one. None: once.
        until: end then, by the server's clock; needs `poll`. None: never.
        retry: how long to retry.

    Raises:
        ValueError: an unknown status, a time that is not in the years 1 to 9999, `poll` that is not positive, or with
            `unanswered`.
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
        poll: float | None = None,
        until: datetime | None = None,
        retry: RetryPolicy | None = None,
    ):
        super().__init__()
        check_connection(connection)
        check_names(dataset, workspace, False, False)
        _check_status('response_status', response_status, RESPONSE_STATUS)
        _check_status('record_status', record_status or ('pending',), RECORD_STATUS)
        if poll is not None and (not 0 < poll < math.inf or unanswered):
            raise ValueError(f'poll={poll}, unanswered={unanswered}: answers are waited for some seconds at a time')
        if until is not None and poll is None:
            raise ValueError('until=... is for poll=...: without that, a dataset is read once')
        self.poll = poll
        self.until = None if until is None else _naive('until', until)
        self.dataset = dataset
        self.workspace = workspace
        self.connection = connection
        self.retry = retry or RetryPolicy()
        self.selection = Selection(
            tuple(response_status),
            tuple(record_status or ()),
            None if since is None else _naive('since', since),
            unanswered,
            suggestions,
            anonymous,
        )

    def expand(self, root: Any) -> beam.PCollection:
        if not workers_run_here(root.pipeline):
            check_sent(self.connection)
        look = Look(self.connection, self.retry, self.dataset, self.workspace, self.selection)
        source = root.pipeline | 'Once' >> beam.Create([None]) | 'Look' >> beam.ParDo(look)
        if self.poll is not None:
            watch = Watch(self.connection, self.retry, self.selection, self.poll, self.until)
            seen = source | 'Watch' >> beam.ParDo(watch).with_outputs(Refused.TAG, main='records')
            self.refuse(seen[Refused.TAG])
            seen.records.element_type = AnsweredRecord
            return seen.records
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
        records = settled('Records', read.records)
        records.element_type = AnsweredRecord
        return records

    def display_data(self) -> dict[str, Any]:
        return {'dataset': self.dataset, 'workspace': self.workspace, 'api_url': self.connection.api_url}


def _check_status(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = [status for status in given if status not in known]
    if isinstance(given, str) or unknown or not given:
        raise ValueError(f'{name}={given!r}: give a list of {", ".join(map(repr, known))}')


def _naive(name: str, time: datetime) -> datetime:
    """As the server writes it: in UTC, without saying so.

    Raises:
        ValueError: there is no such time in UTC.
    """
    try:
        return time if time.tzinfo is None else time.astimezone(timezone.utc).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f'{name}={time.isoformat()}: in UTC, that is not in the years 1 to 9999') from None


class _Slices(Asking):
    """`Source` → `Slice`s."""

    def process(self, source: Source) -> Iterator[Slice]:
        starts = [
            (offset, page.records[0].inserted_at)
            for offset in offsets(source.num_records)
            if (page := listed(self._client, source.id, (), offset, 1)).records
        ]
        if starts:
            newest = listed(self._client, source.id, (), source.num_records - 1, 1).records
            yield from slices(starts, newest[0].inserted_at if newest else starts[-1][1], source.num_records)


_COUNTS = 'counts'
_AT_A_TIME = 2  # slices per worker: a server process answers three at a time no faster, but slower
_WAITING = 2  # pages that were read before they are needed


class _Read(Asking):
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
        if source.search:
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
                    count('records_answered')
                    count('responses_read', len(made.responses))
                    yield made


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in counts:
        total.update(found)
    return dict(total)


class _Hold(Asking):
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
        now = count_responses(self._client, source.id)
        now['records'] = count_records(self._client, source.id)
        for name, total in wanted.items():
            if read.get(name, 0) < min(total, now[name]):
                what = 'records' if name == 'records' else f'{name} responses'
                raise JobError(
                    f'{self._client.url} gave {read.get(name, 0)} {what}, but counts {min(total, now[name])}. Does its '
                    'search engine know all of them (`argilla_server search-engine reindex`)? Nothing is wrong with '
                    'what was read, but it is not all: run the job again.'
                )
