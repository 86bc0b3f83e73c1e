"""What came of a job that writes records: `JobSummary`, for programs, and as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beam_argilla.metrics import counters, texts

DATASETS = 'datasets'  # the set of texts in which a job says where its datasets are
STAGES = ('read', 'group', 'build', 'write')


@dataclass(frozen=True)
class JobSummary:
    """What came of a job, or of the part of it that has been done until now.

    Attributes:
        rows_read: of the input.
        failed_read_again: rows, groups and records that an earlier run had refused.
        rows_merged: into their duplicates.
        rows_replaced, records_replaced: of the input, by what was read again.
        groups: of rows with one instruction id.
        groups_left_out: by `LimitGroups`.
        conflicts_shown_first: groups that show the first of several instruction texts.
        warnings: suggestions and metadata that were left out of records.
        records_built: of the groups.
        records_checked: by a dry run: they would be written.
        records_created, records_updated: written to the server.
        records_repeated: those of the updated that were made since the job began: their bundle was run again, since
            a worker or its answer was lost, or they came in again.
        records_adopted: those of the updated that something else had made.
        records_unchanged: there already as they are, and not sent.
        refused: reason → how many rows, groups and records were refused for it.
        requests: answered ones that wrote records.
        retries: cause (an HTTP status, or the name of an exception) → how many requests were sent again for it.
        seconds: stage (``read``, ``group``, ``build``, ``write``) → seconds of work of all workers together; of
            ``write``, until requests were answered, of which there may be several at a time.
        datasets: addresses of the web pages of the datasets; empty on a runner that does not bring them (Dataflow).

    Example:
        >>> result = p.run()
        >>> result.wait_until_finish()
        >>> ba.JobSummary.of(result).records_written
        25000
    """

    rows_read: int
    failed_read_again: int
    rows_merged: int
    rows_replaced: int
    records_replaced: int
    groups: int
    groups_left_out: int
    conflicts_shown_first: int
    warnings: int
    records_built: int
    records_checked: int
    records_created: int
    records_updated: int
    records_repeated: int
    records_adopted: int
    records_unchanged: int
    refused: Mapping[str, int]
    requests: int
    retries: Mapping[str, int]
    seconds: Mapping[str, float]
    datasets: Sequence[str] = ()

    @classmethod
    def of(cls, result: Any, counts: Mapping[str, int] | None = None) -> JobSummary:
        """That of a job that has ended.

        Args:
            result: what `Pipeline.run` returned.
            counts: what was counted, name of a metric → its value; None: as the runner tells.
        """
        return cls.of_counts(counters(result) if counts is None else counts, sorted(texts(result, DATASETS)))

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], datasets: Sequence[str] = ()) -> JobSummary:
        """That of what was counted: name of a metric → its value."""
        get = counts.get
        return cls(
            rows_read=get('rows_read', 0),
            failed_read_again=get('read_again', 0),
            rows_merged=get('duplicate_generations', 0),
            rows_replaced=get('replaced_rows', 0),
            records_replaced=get('replaced_records', 0),
            groups=get('groups', 0),
            groups_left_out=get('groups_left_out', 0),
            conflicts_shown_first=get('conflicts_shown_first', 0),
            warnings=get('warnings', 0),
            records_built=get('records_built', 0),
            records_checked=get('records_checked', 0),
            records_created=get('records_created', 0),
            records_updated=get('records_updated', 0),
            records_repeated=get('records_repeated', 0),
            records_adopted=get('records_adopted', 0),
            records_unchanged=get('records_unchanged', 0),
            refused=refused_counts(counts),
            requests=get('requests', 0),
            retries=_behind('retries_', counts),
            seconds={stage: get(f'microseconds_{stage}', 0) / 1e6 for stage in STAGES},
            datasets=tuple(datasets),
        )

    @property
    def records_written(self) -> int:
        return self.records_created + self.records_updated

    @property
    def num_refused(self) -> int:
        return sum(self.refused.values())

    def to_dict(self) -> dict[str, Any]:
        """All of it by name, as JSON can hold it."""
        return {**asdict(self), 'records_written': self.records_written, 'num_refused': self.num_refused}

    def shown(self, dry_run: bool = False) -> str:
        """In lines for people.

        Args:
            dry_run: nothing was to be written.
        """
        return '\n'.join([*self._said(dry_run), *_table(self._stages())])

    def _said(self, dry_run: bool) -> list[str]:
        read = [f'{counted(self.failed_read_again, "failed record")} read again'] if self.failed_read_again else []
        if self.rows_read or not read:
            read.insert(0, f'{counted(self.rows_read, "row")} read')
        lines = [', '.join([*read, counted(self.groups, 'group')])]
        lines += [counted(number, *words) for number, *words in self._remarks() if number]
        if dry_run:
            lines.append(f'{counted(self.records_checked, "record")} would be written (dry run: nothing was)')
        else:
            written = counted(self.records_written, 'record')
            lines.append(f'{written} written: {self.records_created:,} created, {self.records_updated:,} updated')
            lines += [counted(number, *words) for number, *words in self._fates() if number]
        return [*lines, in_words(self.refused)]

    def _remarks(self) -> list[tuple[int, str, str]]:
        what_is_retried = 'of the input replaced by what is retried'
        return [
            (self.rows_merged, 'row merged into its duplicate', 'rows merged into their duplicates'),
            (self.rows_replaced, f'row {what_is_retried}', f'rows {what_is_retried}'),
            (self.records_replaced, f'record {what_is_retried}', f'records {what_is_retried}'),
            (self.groups_left_out, 'group left out by --limit', 'groups left out by --limit'),
            (self.warnings, 'suggestion or metadata left out', 'suggestions or metadata left out'),
            (
                self.conflicts_shown_first,
                'group shows the first of several instruction texts',
                'groups show the first of several instruction texts',
            ),
        ]

    def _fates(self) -> list[tuple[int, str, str]]:
        again = 'made by this job itself, and then sent again: a part of its work was repeated'
        return [
            (self.records_repeated, f'of those updated was {again}', f'of those updated were {again}'),
            (self.records_adopted, 'record of others was adopted', 'records of others were adopted'),
            (self.records_unchanged, 'unchanged, so not sent', 'unchanged, so not sent'),
        ]

    def _stages(self) -> list[tuple[str, str, float]]:
        """Stage, what came of it, seconds; of those in which something was done."""
        retried = sum(self.retries.values())
        again = f', {retried:,} sent again ({listed(self.retries)})' if retried else ''
        done = {
            'read': counted(self.rows_read, 'row'),
            'group': counted(self.groups, 'group'),
            'build': counted(self.records_built, 'record'),
            'write': counted(self.requests, 'request') + again,
        }
        return [(stage, done[stage], self.seconds[stage]) for stage in STAGES if self.seconds[stage]]


def print_summary(result: Any) -> None:
    """Prints what came of a job that writes records.

    Args:
        result: what `Pipeline.run` returned, of a job that has ended; after ``with beam.Pipeline() as p:`` that is
            ``p.result``.

    Example:
        >>> with beam.Pipeline() as p:
        ...     answers | ba.WriteToArgilla('answers', task=task, connection=connection)
        >>> ba.print_summary(p.result)
    """
    summary = JobSummary.of(result)
    print(summary.shown())
    for address in summary.datasets:
        print(f'The dataset: {address}')


def counted(number: int, one: str, several: str | None = None) -> str:
    """The number and the word for what is counted: 1 row, 2 rows."""
    return f'{number:,} {one if number == 1 else several or f"{one}s"}'


def refused_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Reason → how many were refused for it, without the rows that came in again in another way.

    Args:
        counts: name of a metric → its value.
    """
    again = _behind('retried_', counts)
    left = {reason: number - again.get(reason, 0) for reason, number in _behind('failed_', counts).items()}
    return {reason: number for reason, number in left.items() if number}


def in_words(refused: Mapping[str, int]) -> str:
    """How many were refused and, by reason, how many for each."""
    return f'{sum(refused.values()):,} refused' + (f': {listed(refused)}' if refused else '')


def _behind(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): counts[name] for name in sorted(counts) if name.startswith(prefix)}


def listed(numbers: Mapping[str, int]) -> str:
    """Names with their numbers, in a line."""
    return ', '.join(f'{name} {number:,}' for name, number in numbers.items())


def _table(rows: Sequence[tuple[str, str, float]]) -> list[str]:
    if not rows:
        return []
    width = max(len(done) for _, done, _ in rows)
    times = [f'{seconds:,.1f} s' for *_, seconds in rows]
    most = max(map(len, times))
    lines = [f'  {stage:5}  {done:{width}}  {time:>{most}}' for (stage, done, _), time in zip(rows, times, strict=True)]
    lines[0] += ' of work'
    return lines
