"""The order of the steps of `parquet_to_argilla`: look, build, run, tell."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from beam_argilla.refusing import Collect
from beam_argilla.server.arrivals import Arrivals
from beam_argilla.showing import Show, shown

from . import messages, options
from .account import Account
from .attempts import attempt, new_pipeline, see_through

_SHOWN = 10  # warnings and refusals


@dataclass(frozen=True)
class Job:
    """What the options come to, once they are known to fit the input and the server."""

    args: argparse.Namespace
    reads: Sequence[ba.ReadGenerations]
    retry: ba.ReadFailed | None
    task: ba.Preference | ba.TextGeneration
    connection: ba.ArgillaConnection | None  # None: a dry run without a server to look at, or there is nothing to write
    local: bool  # on this machine; other runners' workers may reach a server, and read secrets, that it cannot
    write_failed: ba.WriteFailed | None


def load(args: argparse.Namespace, beam_args: Sequence[str], aside: contextlib.ExitStack) -> int:
    """Runs the program with these options, and returns the exit status.

    Args:
        aside: for as long as it is open, what Beam says while a job is built, runs or ends is kept from the person.
    """
    account = Account(args.summary, args.task == 'text_generation', args.limit)

    def build_it(tidying: contextlib.ExitStack) -> tuple[Job, beam.Pipeline]:
        account.check()
        return prepare(args, beam_args, tidying)

    def ended(status: int, error: str | None) -> None:
        about = {'dataset': args.dataset, 'workspace': args.workspace, 'dry_run': args.dry_run}
        account.write(status, error, **about)

    def run_it(built: tuple[Job, beam.Pipeline], screen: TextIO | None) -> int:
        return run(*built, account, screen)

    return attempt(args, aside, build_it, run_it, lambda: stopped(args, account), ended)


def prepare(
    args: argparse.Namespace, beam_args: Sequence[str], tidying: contextlib.ExitStack
) -> tuple[Job, beam.Pipeline]:
    """Builds the pipeline, and looks at the input and the server, before any data is read.

    Args:
        tidying: for as long as it is open, the pipeline can be used.

    Raises:
        ValueError, TypeError, BeamArgillaError: something that the options name is not there, or does not fit.
    """
    connection = options.connection_of(args) if options.needs_server(args) else None
    p = new_pipeline(beam_args, tidying)
    local = ba.workers_run_here(p)
    columns = options.columns_of(args)
    reads = [
        ba.ReadGenerations(
            patterns,
            columns,
            clustered=args.clustered,
            on_bad_file=args.on_bad_file,
            layout=layout,
            format=args.format,
            config=args.config,
            split=args.split,
            prompts=args.prompts,
            prompts_key=args.prompts_key,
            prompts_column=args.prompts_column,
            source=args.source_metadata,
        )
        for layout, patterns in options.inputs_of(args).items()
    ]

    def look(settings: ba.DatasetSettings | None = None) -> ba.Dataset | None:
        if connection is None or not local:
            return None
        return ba.check_dataset(
            args.dataset,
            connection=connection,
            workspace=args.workspace,
            settings=settings,
            create_workspace=args.create_workspace,
            retry=options.retry_of(args),
        )

    if reads:
        types = _types(reads)
    else:  # what was refused before does not say what type a column had
        dataset = look()
        types = {m['name']: m['settings']['type'] for m in dataset.settings.metadata} if dataset else {}
    kept = [name for read in reads if read.layout is not None for name in read.layout.metadata]
    task = options.task_of(args, types, any(read.facts.scores for read in reads), kept)
    for read in reads:
        read.carry(task.metadata_columns, getattr(task, 'ratings', ()))
        if read.layout is not None:
            print(f'Read as {read.layout.name} ({read.layout.source}).')
    look(task.settings())
    retry = None
    if args.retry_failed is not None:
        if len(reads) > 1:
            raise ValueError(
                '--retry_failed goes with one --layout at a time: retry what was refused of each by itself.'
            )
        whole, joined = bool(reads) or args.task == 'text_generation', False
        if reads:
            joined = reads[0].is_joined
            columns = replace(reads[0].columns, metadata=reads[0].facts.metadata or (), lenient=True)
        elif args.layout and args.layout != ['auto']:
            layout = ba.layout_of(args.layout[0])
            columns, joined = columns.over(layout.columns), layout.is_joined
        retry = ba.ReadFailed(args.retry_failed, columns, whole, args.shuffle, joined)
    # A dry run changes nothing: the refusals of earlier runs stay where they are, too.
    write_failed = None if args.failed is None or args.dry_run else ba.WriteFailed(args.failed)
    if is_empty(reads, retry):
        connection = None
    job = Job(args, reads, retry, task, connection, local, write_failed)
    build(p, job)
    return job, p


def is_empty(reads: Sequence[ba.ReadGenerations], retry: ba.ReadFailed | None) -> bool:
    """Whether it is known that there is nothing to write."""
    return retry is None and all(read.is_empty for read in reads)


def _types(reads: Sequence[ba.ReadGenerations]) -> dict[str, str]:
    """Column → the type of metadata that can hold its values in all of the inputs that have it."""
    types: dict[str, set[str]] = {}
    for read in reads:
        for name, kind in (read.metadata_types or {}).items():
            types.setdefault(name, set()).add(kind)
    numbers = {'integer', 'float'}
    return {
        name: 'terms' if not kinds <= numbers else 'float' if 'float' in kinds else 'integer'
        for name, kinds in types.items()
    }


def build(p: beam.Pipeline, job: Job) -> None:
    """Applies the whole job to the pipeline."""
    args, task = job.args, job.task
    # Without a handler, the first refusal ends the job.
    handler = CollectingErrorHandler() if args.failed is not None or args.dry_run else None
    tables, records = [], []
    if job.retry is not None:
        again = p | 'Retry' >> job.retry.with_error_handler(handler)
        tables.append(again['tables'])
        records.append(again['records'])
    for n, reader in enumerate(job.reads):
        name = 'Read' if n == 0 else f'Read {n}'
        refused = Collect()
        rest = p | name >> reader.with_error_handler(handler if job.retry is None else refused)
        if job.retry is not None:
            rest |= 'Retried rows' >> ba.LeaveOutRetried(again['origins'])
            if reader.facts.groups_are_whole and not args.shuffle:  # as without what is retried, which parts can join
                repeated = ba.RefuseRepeated(args.num_partitions, args.spill_location, spill=not args.no_spill)
                rest |= 'Repeated' >> repeated.with_error_handler(handler)
        tables.append(rest)
        for i, rows in enumerate(refused.pcollections):
            _ = rows | f'Retried {i}' >> ba.LeaveOutRetried(again['origins']).with_error_handler(handler)
    shuffle = True if args.shuffle or len(tables) > 1 else None
    group = ba.GroupGenerations(
        options.policies_of(args, task),
        args.num_partitions,
        args.spill_location,
        shuffle,
        spill=not args.no_spill,
        order=args.order,
        seed=args.seed,
    )
    all_tables = tables[0] if len(tables) == 1 else tables | 'Tables' >> beam.Flatten()
    groups = all_tables | 'Group' >> group.with_error_handler(handler)
    if args.limit is not None:
        groups = groups | 'Limit' >> ba.LimitGroups(args.limit)
    built = groups | 'Build' >> ba.BuildRecords(task).with_error_handler(handler)
    beside = job.retry is not None and job.reads
    records.append(built | 'Retried records' >> ba.LeaveOutRetried(again['origins']) if beside else built)
    all_records = records[0] if len(records) == 1 else records | 'Records' >> beam.Flatten()
    if args.dry_run or job.connection is None:
        checked = all_records | 'Check' >> ba.CheckRecords(task.settings()).with_error_handler(handler)
        if args.preview is None:
            first = checked | 'As JSON' >> beam.Map(ba.CheckedRecord.shown)
        else:
            first = checked | 'As a page' >> beam.Map(ba.CheckedRecord.preview, task.settings())
        _ = first | 'Show first' >> Show('first', args.preview or 1)
    else:
        write = ba.WriteRecords(
            args.dataset,
            connection=job.connection,
            workspace=args.workspace,
            settings=task.settings(),
            create_workspace=args.create_workspace,
            suggestions=args.suggestions,
            skip_unchanged=args.skip_unchanged,
            adopt=args.adopt,
            max_parallelism=args.max_parallelism,
            retry=options.retry_of(args),
            distinct=job.retry is not None,  # else grouping has made ids unique
        )
        written = (all_records | 'Write' >> write.with_error_handler(handler)).written
        warnings = written | 'Warnings' >> beam.FlatMap(ba.WrittenRecord.shown_warnings)
        _ = warnings | 'Show warnings' >> Show('warnings', _SHOWN)
    if handler is not None:
        handler.close()
        failed = handler.output()
        if args.dry_run:
            _ = failed | 'Reasons' >> beam.Map(ba.FailedRecord.shown) | 'Show refused' >> Show('refused', _SHOWN)
        if job.write_failed is not None:
            _ = failed | 'Write failed' >> job.write_failed


def run(job: Job, p: beam.Pipeline, account: Account, screen: TextIO | None) -> int:
    """Runs the job, prints what came of it and returns the exit status.

    Args:
        screen: where a person sees how far it is; None: nowhere.
    """
    args = job.args
    if job.connection is not None and not args.dry_run:
        account.arrivals = Arrivals(job.connection, args.dataset, args.workspace)
    account.elsewhere = not job.local
    result = see_through(p, account, account.progress, screen, not args.no_progress)
    if result is None:
        return 0
    account.complete = True
    summary = account.summary()
    show(result, args.preview)
    if args.dry_run:
        for read in job.reads:
            print(messages.sources(read.names))
    print(summary.shown(args.dry_run))
    print(f'{account.seconds:.1f} seconds')
    if is_empty(job.reads, job.retry):
        print('The input has no rows: nothing was written, and no dataset was made.')
    elif not (summary.rows_read or summary.failed_read_again):
        print('There was nothing to read: the input has no rows. Is it the right one?')
    if summary.num_refused and job.write_failed is not None:
        print(f'What was refused, and why: {job.write_failed.pattern}')
    for address in summary.datasets:
        print(f'The dataset: {address}')
    return 1 if summary.num_refused and args.failed is None else 0


def stopped(args: argparse.Namespace, account: Account) -> str:
    """What to say when the job was interrupted."""
    if account.goes_on is not None:
        return account.goes_on
    if args.dry_run:
        return 'Stopped. It was a dry run: nothing was written.'
    return messages.stopped(account.progress(waiting=True), args.skip_unchanged, account.elsewhere)


def show(result: PipelineResult, preview: int | None) -> None:
    """Prints what came back of the job for people."""
    for record in shown(result, 'first', preview or 1):
        print(f'\n{record}' if preview else f'The first record as it would be sent:\n{record}')
    for name, prefix in (('warnings', 'Left out of'), ('refused', 'Refused:')):
        for line in shown(result, name, _SHOWN):
            print(f'{prefix} {line}')
