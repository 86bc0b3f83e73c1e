"""Fills an Argilla dataset from Parquet files of LLM generations.

    python -m pipelines.parquet_to_argilla --input 'gs://bucket/generations-*.parquet' \\
        --dataset ultrafeedback --num_generations 4 --api_url https://argilla.example

Every Beam pipeline option can follow. Exit status: 0 if everything was written, or what was refused went to --failed;
1 if something was refused and there is no --failed; 2 if the job cannot run as it was described.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.utils.secret import Secret

import beam_argilla as ba
from beam_argilla import errors
from beam_argilla._client import Client, Dataset, check_differences
from beam_argilla._fallible import NAMESPACE, Collect, Refused, refuse
from beam_argilla.records import Encoder, InvalidRecordError, failed_record
from pipelines.failed import ReadFailed

# DirectRunner would try to download another runner first.
LOCAL_RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'
# How long to wait for a server before the job starts; while it runs, `RetryPolicy` is patient.
_CHECK_SECONDS = 10.0
_WARNINGS_SHOWN = 10


def parser() -> argparse.ArgumentParser:
    """The program's options; Beam's own come behind them."""
    p = argparse.ArgumentParser(
        'python -m pipelines.parquet_to_argilla',
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    g = p.add_argument_group('what is read')
    g.add_argument('--input', action='extend', nargs='+', metavar='PATTERN', help='Parquet files; repeatable')
    g.add_argument('--clustered', action='store_true', help='rows of a group are adjacent in one file: no shuffle')
    g.add_argument(
        '--on_bad_file', choices=['fail', 'refuse'], default='fail', help='damaged, or without a column (%(default)s)'
    )
    g.add_argument('--retry_failed', metavar='PREFIX', help='files that an earlier run wrote to --failed')
    g.add_argument('--instruction_column', default='instruction', metavar='NAME', help='(%(default)s)')
    g.add_argument(
        '--generation_column', metavar='NAME', help='texts, or lists of texts (default: generation, generations)'
    )
    g.add_argument(
        '--instruction_id_column', metavar='NAME', help='default: rows with the same instruction belong together'
    )
    g.add_argument('--model_name_column', metavar='NAME', help='default: model_name or generation_models, if there')
    g.add_argument('--rating_column', metavar='NAME', help='default: rating or ratings, if there')
    g.add_argument('--rationale_column', metavar='NAME', help='default: rationale or rationales, if there')
    g.add_argument('--agent_column', metavar='NAME', help='who gave the rating and the rationale')
    g.add_argument(
        '--position_column', metavar='NAME', help='order of the generations (default: model name, then text)'
    )
    g.add_argument(
        '--metadata_column', action='append', default=[], metavar='NAME', help='keep as metadata; repeatable'
    )

    g = p.add_argument_group('how rows become records')
    g.add_argument('--task', choices=['preference', 'text_generation'], default='preference', help='(%(default)s)')
    g.add_argument(
        '--num_generations', type=int, metavar='N', help='places for generations in a preference record (needed)'
    )
    g.add_argument(
        '--on_conflict',
        choices=['fail', 'first'],
        default='fail',
        help='one id has different instructions (%(default)s)',
    )
    g.add_argument(
        '--overflow', choices=['fail', 'truncate'], default='fail', help='more generations than places (%(default)s)'
    )
    g.add_argument('--min_generations', type=int, default=1, metavar='N', help='refuse groups with fewer (%(default)s)')
    g.add_argument(
        '--spill_location', metavar='DIR', help='where rows wait for their groups (local runs: a temporary one)'
    )
    g.add_argument('--num_partitions', type=int, metavar='N', help='default: from the size of the input')
    g.add_argument('--shuffle', action='store_true', help='group wide input too, where ids come more than once')
    g.add_argument('--namespace', metavar='TEXT', help='goes before every external id')
    g.add_argument('--ratings', metavar='1,2,3', default='1,2,3,4,5', help='the scale (default: %(default)s)')
    g.add_argument('--agent', metavar='TEXT', help='who gave the ratings, if no column says so')
    g.add_argument('--guidelines', metavar='TEXT', help='shown to annotators')
    g.add_argument('--use_markdown', action='store_true', help='show texts as Markdown')
    g.add_argument('--model_names', action='store_true', help="keep models' names as metadata, hidden from annotators")
    g.add_argument('--min_submitted', type=int, default=1, metavar='N', help='answers that complete a record')

    g = p.add_argument_group('where records go')
    g.add_argument('--dataset', required=True, metavar='NAME')
    g.add_argument('--workspace', default='default', metavar='NAME', help='(%(default)s)')
    g.add_argument('--create_workspace', action='store_true', help='create the workspace if it does not exist')
    g.add_argument(
        '--api_url', default=os.environ.get('ARGILLA_API_URL'), metavar='URL', help='default: $ARGILLA_API_URL'
    )
    g.add_argument(
        '--api_key_env', default='ARGILLA_API_KEY', metavar='NAME', help='variable with the key (%(default)s)'
    )
    g.add_argument(
        '--api_key_secret', metavar='SPEC', help="Beam's form, such as type:GcpSecret;version_name:projects/…"
    )
    g.add_argument(
        '--header', action='append', default=[], metavar='NAME=ENV', help='header from a variable; repeatable'
    )
    g.add_argument('--skip_unchanged', action='store_true', help='send only what differs from what is there')
    g.add_argument(
        '--suggestions', choices=['merge', 'replace'], default='merge', help='replace removes stale ones (%(default)s)'
    )
    g.add_argument('--max_parallelism', type=int, metavar='N', help='the most workers that write side by side')
    g.add_argument('--failed', metavar='PREFIX', help='write what is refused here, as JSON lines, and go on')
    g.add_argument('--dry_run', action='store_true', help='read, group, build and check; write nothing to Argilla')
    return p


def columns_of(args: argparse.Namespace) -> ba.Columns:
    return ba.Columns(
        instruction=args.instruction_column,
        generation=args.generation_column,
        instruction_id=args.instruction_id_column,
        model_name=args.model_name_column,
        rating=args.rating_column,
        rationale=args.rationale_column,
        agent=args.agent_column,
        position=args.position_column,
        metadata=args.metadata_column,
    )


def task_of(args: argparse.Namespace, metadata_types: Mapping[str, str]) -> ba.Preference | ba.TextGeneration:
    """The task; a metadata column of no known type is text."""
    common = {
        'guidelines': args.guidelines,
        'use_markdown': args.use_markdown,
        'model_names': args.model_names,
        'metadata': [ba.Metadata(name, metadata_types.get(name, 'terms')) for name in args.metadata_column],
        'min_submitted': args.min_submitted,
        'namespace': args.namespace,
    }
    if args.task == 'text_generation':
        unused = [
            n
            for n in ('num_generations', 'rating_column', 'rationale_column', 'agent', 'agent_column')
            if getattr(args, n)
        ]
        if unused:
            raise ValueError(f'--{unused[0]} means nothing to --task text_generation: its records have no suggestions.')
        return ba.TextGeneration(**common)
    if args.num_generations is None:
        raise ValueError(
            '--num_generations is missing: how many generations shall a preference record have places for?'
        )
    try:
        ratings = [int(value) for value in args.ratings.split(',')]
    except ValueError:
        raise ValueError(f'--ratings {args.ratings}: write whole numbers with commas, such as 1,2,3') from None
    return ba.Preference(args.num_generations, ratings=ratings, agent=args.agent, **common)


def metadata_types(schema: pa.Schema) -> dict[str, str]:
    """The type of metadata that each column of the files can be."""

    def of(kind: pa.DataType) -> str:
        if pa.types.is_integer(kind):
            return 'integer'
        return 'float' if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else 'terms'

    return {field.name: of(field.type) for field in schema}


def connection_of(args: argparse.Namespace) -> ba.ArgillaConnection:
    if not args.api_url:
        raise ValueError('--api_url is missing (and ARGILLA_API_URL is not set): which Argilla server?')
    headers = {}
    for header in args.header:
        name, equals, variable = header.partition('=')
        if not (name and equals and variable):
            raise ValueError(f'--header {header}: write NAME=ENV, with the environment variable that holds the value')
        headers[name] = ba.EnvironmentSecret(variable)
    secret = Secret.parse_secret_option(args.api_key_secret) if args.api_key_secret else None
    return ba.ArgillaConnection(args.api_url, api_key=secret, api_key_env=args.api_key_env, headers=headers)


class _Encode(beam.DoFn):
    """What the sink would do with a record, but for sending it."""

    def __init__(self, settings: ba.DatasetSettings):
        self._settings = settings

    def setup(self) -> None:
        self._encoder = Encoder(self._settings)

    def process(self, record: ba.Record) -> Iterator[Any]:
        try:
            yield record.external_id, self._encoder.encode(record)
            Metrics.counter(NAMESPACE, 'records_checked').inc()
        except InvalidRecordError as e:
            yield refuse(failed_record(record, 'validate', e.error, str(e)))


def _show_warnings(records: Sequence[ba.WrittenRecord]) -> None:
    for record in sorted(records):
        for warning in record.warnings:
            print(f'Left out of {record.external_id}: {warning}', flush=True)


def _show_refused(some: Sequence[ba.FailedRecord]) -> None:
    for failed in sorted(some, key=str):
        print(f'Refused: {failed.external_id}: {failed.error}: {failed.message}', flush=True)


def _show(first: Sequence[tuple[str, bytes]]) -> None:
    for _, item in first:
        print('The first record as it would be sent:')
        print(json.dumps(json.loads(item), indent=2, ensure_ascii=False), flush=True)


@dataclass(frozen=True)
class Job:
    """What the options come to, once they are known to make sense."""

    args: argparse.Namespace
    read: ba.ReadGenerations | None
    retry: ReadFailed | None
    task: ba.Preference | ba.TextGeneration
    connection: ba.ArgillaConnection | None  # None: a dry run without a server to look at
    local: bool  # on this machine; other runners' workers may reach a server, and read secrets, that it cannot


def prepare(argv: Sequence[str] | None, scratch: str) -> tuple[Job, beam.Pipeline]:
    """Reads the options, builds the pipeline, and looks at the input and the server, before any data is read.

    Args:
        argv: the command line.
        scratch: a local directory for rows that wait for their groups.

    Raises:
        ValueError, TypeError, BeamArgillaError: a mistake in the options, or something that they name is not there.
    """
    args, beam_args = parser().parse_known_args(argv)
    check_unknown(beam_args)
    if not args.input and not args.retry_failed:
        raise ValueError('--input is missing: which Parquet files?')
    connection = None if args.dry_run and not args.api_url else connection_of(args)
    options = PipelineOptions(beam_args)
    runner = options.view_as(StandardOptions)
    local = runner.runner is None
    if local:
        runner.runner = LOCAL_RUNNER
    columns = columns_of(args)
    read = None
    if args.input:
        read = ba.ReadGenerations(args.input, columns, clustered=args.clustered, on_bad_file=args.on_bad_file)
    if local and args.spill_location is None:
        args.spill_location = scratch
    types = metadata_types(read.schema) if read else {}
    task = task_of(args, types)
    dataset = find_dataset(args, connection) if connection is not None and local else None
    if dataset is not None:
        if read is None:  # what was refused before does not say what type a column had
            types = {m['name']: m['settings']['type'] for m in dataset.settings.metadata}
            task = task_of(args, types)
        check_differences(args.dataset, args.workspace, task.settings(), dataset)
    retry = None
    if args.retry_failed:
        retry = ReadFailed(args.retry_failed, columns, read is not None or args.task == 'text_generation')
    if args.failed:
        FileSystems.get_filesystem(args.failed)  # raises if there is no such kind of place
    job = Job(args, read, retry, task, connection, local)
    p = beam.Pipeline(options=options)
    build(p, job)
    return job, p


def find_dataset(args: argparse.Namespace, connection: ba.ArgillaConnection) -> Dataset | None:
    """The dataset, if it exists; the server, key and workspace must."""
    with Client(connection, ba.RetryPolicy(limit=_CHECK_SECONDS)) as client:
        client.check_server()
        return client.find_dataset(args.dataset, args.workspace, args.create_workspace)


def build(p: beam.Pipeline, job: Job) -> None:
    """Applies the whole job to the pipeline."""
    args, task = job.args, job.task
    refused = Collect()
    handler = refused if args.failed or args.dry_run else None  # without a handler, the first refusal ends the job
    tables, records = [], []
    if job.read is not None:
        tables.append(p | 'Read' >> job.read.with_error_handler(handler))
    if job.retry is not None:
        again = p | 'Retry' >> job.retry.with_error_handler(handler)
        tables.append(again['tables'])
        records.append(again['records'])
    policies = ba.Policies(args.on_conflict, task.max_generations, args.overflow, args.min_generations)
    shuffle = True if args.shuffle or len(tables) > 1 else None
    group = ba.GroupGenerations(policies, args.num_partitions, args.spill_location, shuffle)
    records.append(
        (tables[0] if len(tables) == 1 else tables | 'Tables' >> beam.Flatten())
        | 'Group' >> group.with_error_handler(handler)
        | 'Build' >> ba.BuildRecords(task).with_error_handler(handler)
    )
    all_records = records[0] if len(records) == 1 else records | 'Records' >> beam.Flatten()
    if args.dry_run or job.connection is None:
        encoded = all_records | 'Check' >> beam.ParDo(_Encode(task.settings())).with_outputs(Refused.TAG, main='items')
        refused.add_error_pcollection(encoded[Refused.TAG])
        _ = (
            refused.pcollections
            | 'All refused' >> beam.Flatten()
            | 'Some refused' >> beam.combiners.Sample.FixedSizeGlobally(_WARNINGS_SHOWN)
            | 'Show refused' >> beam.Map(_show_refused)
        )
        _ = encoded.items | 'First' >> beam.combiners.Top.Smallest(1) | 'Show' >> beam.Map(_show)
    else:
        write = ba.WriteRecords(
            args.dataset,
            connection=job.connection,
            workspace=args.workspace,
            settings=task.settings(),
            create_workspace=args.create_workspace,
            suggestions=args.suggestions,
            skip_unchanged=args.skip_unchanged,
            max_parallelism=args.max_parallelism,
            distinct=False,  # grouping has made ids unique
        )
        written = (all_records | 'Write' >> write.with_error_handler(handler)).written
        _ = (
            written
            | 'With warnings' >> beam.Filter(lambda record: record.warnings)
            | 'Some' >> beam.combiners.Sample.FixedSizeGlobally(_WARNINGS_SHOWN)
            | 'Show warnings' >> beam.Map(_show_warnings)
        )
    if args.failed:
        _ = (
            refused.pcollections
            | 'All failed' >> beam.Flatten()
            | 'To JSON' >> beam.Map(ba.FailedRecord.to_json)
            | 'Write failed' >> beam.io.WriteToText(args.failed, '.jsonl')
        )


def counters(result: Any) -> dict[str, int]:
    """The package's counters by name, over all steps."""
    totals: dict[str, int] = {}
    for metric in result.metrics().query()['counters']:
        if metric.key.metric.namespace == NAMESPACE:
            value = metric.committed if metric.committed is not None else metric.attempted
            totals[metric.key.metric.name] = totals.get(metric.key.metric.name, 0) + (value or 0)
    return totals


def summary(counts: Mapping[str, int], seconds: float, dry_run: bool) -> str:
    """What was read, written and refused, for people."""
    get = counts.get
    lines = [f'{get("rows_read", 0):,} rows read, {get("groups", 0):,} groups']
    for name, text in (
        ('duplicate_generations', 'rows merged into their duplicates'),
        ('warnings', 'suggestions or metadata left out'),
        ('conflicts_shown_first', 'groups show the first of several instruction texts'),
    ):
        if get(name):
            lines.append(f'{counts[name]:,} {text}')
    if dry_run:
        lines.append(f'{get("records_checked", 0):,} records would be written (dry run: nothing was)')
    else:
        created, updated = get('records_created', 0), get('records_updated', 0)
        lines.append(f'{created + updated:,} records written: {created:,} created, {updated:,} updated')
        if get('records_unchanged'):
            lines.append(f'{counts["records_unchanged"]:,} unchanged, so not sent')
    refused = {k[len('failed_') :]: n for k, n in sorted(counts.items()) if k.startswith('failed_')}
    reasons = ', '.join(f'{name} {n:,}' for name, n in refused.items())
    lines.append(f'{sum(refused.values()):,} refused' + (f': {reasons}' if refused else ''))
    lines.append(f'{seconds:.1f} seconds')
    return '\n'.join(lines)


def check_unknown(beam_args: Sequence[str]) -> None:
    """Beam ignores what it does not know, so a slip of the pen, or a file that a shell pattern stands for, would too.

    The message holds no value: one may be a secret.
    """
    beams = argparse.ArgumentParser(add_help=False, conflict_handler='resolve', allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(_WithoutDefaults(beams))
    known = [option for p in (parser(), beams) for action in p._actions for option in action.option_strings]
    follows_option = False
    for arg in beam_args:
        name, equals, _ = arg.partition('=')
        if arg.startswith('-'):
            if name not in known:
                close = difflib.get_close_matches(name, known, 1, 0.8)
                raise ValueError(f'{name} is not an option' + (f'; did you mean {close[0]}?' if close else '.'))
        elif not follows_option:
            raise ValueError('There is a word that belongs to no option. (Several files go behind one --input.)')
        follows_option = arg.startswith('-') and not equals


class _WithoutDefaults:
    """What Beam's options need of a parser, some of them under names that argparse does not have."""

    def __init__(self, wrapped: argparse.ArgumentParser):
        self._wrapped = wrapped

    def add_argument(self, *names: str, **options: Any) -> None:
        if names and names[0].startswith('-'):
            self._wrapped.add_argument(*names, nargs='*')

    add_value_provider_argument = add_argument

    def add_mutually_exclusive_group(self, **_: Any) -> _WithoutDefaults:
        return self

    add_argument_group = add_mutually_exclusive_group


def run(job: Job, p: beam.Pipeline) -> int:
    """Runs the job, prints what came of it and returns the exit status."""
    args = job.args
    started = time.monotonic()
    result = p.run()
    result.wait_until_finish()
    counts = counters(result)
    print(summary(counts, time.monotonic() - started, args.dry_run))
    refused = any(n for name, n in counts.items() if name.startswith('failed_'))
    if refused and args.failed:
        print(f'What was refused, and why: {args.failed}-*.jsonl')
    if job.connection is not None and job.local and not args.dry_run:
        found = find_dataset(args, job.connection)
        print(f'The dataset: {found.url if found else "gone"}')
    return 1 if refused and not args.failed else 0


_RAISED = re.compile(r'beam_argilla\.errors\.(\w+): (.*?)(?= \[while running|\n\n|\Z)', re.DOTALL)


def explain(error: BaseException) -> tuple[type[BaseException], str] | None:
    """Which of our exceptions it is and its message, None if it is none of ours.

    In one process Beam raises it as it was, with the step's name behind it; from another, its text in another's.
    """
    if isinstance(error, errors.BeamArgillaError):
        return type(error), str(error).split(' [while running')[0]
    found = list(_RAISED.finditer(str(error)))
    return (getattr(errors, found[-1][1], errors.BeamArgillaError), found[-1][2].strip()) if found else None


def _quiet(record: logging.LogRecord) -> bool:
    """Keeps Beam from logging the stack trace of what is raised on purpose: it is told once, at the end."""
    raised = record.exc_info[1] if record.exc_info else None
    return explain(raised or RuntimeError(record.getMessage())) is None


def main(argv: Sequence[str] | None = None) -> int:
    """`prepare` and `run`, with a user's mistake told in one message rather than a stack trace."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_quiet)
    with tempfile.TemporaryDirectory(prefix='beam-argilla-') as scratch:
        try:
            job, p = prepare(argv, scratch)
        except (ValueError, TypeError, errors.BeamArgillaError) as e:
            print(f'error: {e}', file=sys.stderr)
            return 2
        try:
            return run(job, p)
        except KeyboardInterrupt:
            print('Stopped. What was written is there; running it again goes on from there.', file=sys.stderr)
            return 130
        except Exception as e:
            explained = explain(e)
            if explained is None:
                raise
            kind, message = explained
            print(f'error: {message}', file=sys.stderr)
            return 1 if issubclass(kind, errors.RefusedError) else 2


if __name__ == '__main__':
    # Ended by SIGTERM, too, it removes its temporary files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
