"""The way back: builds and runs the job that the options describe, and says what came of it."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from beam_argilla import errors

from . import export_options, messages, options
from .attempts import attempt, new_pipeline


def export(args: argparse.Namespace, beam_args: Sequence[str], aside: contextlib.ExitStack) -> int:
    """Runs the program with these options, and returns the exit status.

    Args:
        aside: for as long as it is open, what Beam says while a job is built, runs or ends is kept from the person.
    """
    return attempt(args, aside, lambda tidying: build(args, beam_args, tidying), lambda p: run(args, p))


def build(args: argparse.Namespace, beam_args: Sequence[str], tidying: contextlib.ExitStack) -> beam.Pipeline:
    """Builds the pipeline, and looks at the dataset before anything is read.

    Raises:
        ValueError, TypeError, BeamArgillaError: something that the options name is not there, or does not fit.
    """
    connection = options.connection_of(args)
    p = new_pipeline(beam_args, tidying)
    kinds = None
    if ba.workers_run_here(p):
        found = ba.check_dataset(
            args.dataset, connection=connection, workspace=args.workspace, retry=options.retry_of(args)
        )
        if found is None:
            raise errors.DatasetNotFoundError(
                f'There is no dataset {args.dataset!r} in workspace {args.workspace!r} of {connection.api_url}.'
            )
        kinds = {question['settings']['type'] for question in found.settings.questions}
    elif args.push_to_hub:
        raise ValueError('--push_to_hub is for runs on this machine: push what was written from where it is')
    handler = CollectingErrorHandler() if args.failed is not None else None
    read = ba.ReadFromArgilla(
        args.dataset,
        connection=connection,
        workspace=args.workspace,
        response_status=args.response_status or ['submitted'],
        record_status=args.record_status,
        since=args.since,
        unanswered=args.suggestions,
        anonymous=args.anonymous,
        retry=options.retry_of(args),
    )
    records = p | 'Read' >> read.with_error_handler(handler)
    if args.form == 'answers':
        for kind, rows in (records | ba.ToAnswers()).items():
            if kinds is None or kind in kinds:
                _ = rows | f'Write {kind}' >> ba.WriteTrainingData(f'{args.output}-{kind}', args.format)
    else:
        _ = records | 'Form' >> form_of(args) | 'Write' >> ba.WriteTrainingData(args.output, args.format)
    if args.report is not None:
        _ = records | 'Report' >> ba.WriteReport(args.report, args.dataset)
    if ba.workers_run_here(p):  # where it is printed
        agreement = (records | 'Agreement' >> ba.Agreement())['questions']
        _ = agreement | 'Lines' >> beam.Map(ba.QuestionAgreement.shown) | 'Show' >> beam.LogElements()
    if handler is not None:
        handler.close()
        _ = handler.output() | 'Write failed' >> ba.WriteFailed(args.failed)
    return p


def form_of(args: argparse.Namespace) -> beam.PTransform:
    """What makes rows of a form of records."""
    rule = export_options.rule_of(args)
    good, bad = args.good or ['good'], args.bad or ['bad']
    text, prompt = args.text, args.prompt_field
    if args.form == 'pairs':
        return ba.ToPreferencePairs(rule, args.pairs, args.margin, text, prompt, good, bad)
    if args.form == 'kto':
        return ba.ToKTO(rule, text, prompt, good, bad, args.threshold)
    if args.form == 'ratings':
        return ba.ToRatings(rule, text, prompt, good, bad)
    return ba.ToSFT(rule, text, prompt, good, bad, args.corrected, args.min_score)


def run(args: argparse.Namespace, p: beam.Pipeline) -> int:
    """Runs the job, prints what came of it and returns the exit status."""
    started = time.monotonic()
    result = p.run()
    result.wait_until_finish()
    counts = ba.counters(result)
    print(summary(counts, args.form, time.monotonic() - started))
    ends = '' if args.format == 'datasets' else f'-*.{args.format}'
    print(f'Written to: {args.output}{"-KIND" if args.form == "answers" else ""}{ends}')
    if args.report is not None:
        print(f'The report: {args.report}')
    refused = any(messages.refused_counts(counts).values())
    if args.push_to_hub:
        print(f'Pushed to: {ba.push_to_hub(args.output, args.format, args.push_to_hub, args.private)}')
    return 1 if refused and args.failed is None else 0


_LEFT_OUT = {
    'tie': 'the same score, or as many for as against',
    'margin': 'scores that differ by less than the margin',
    'single': 'no second generation to compare with',
    'unanswered': 'nobody has answered',
    'too_few_answers': 'fewer answers than --min_answers',
    'other_label': 'a label that is neither good nor bad',
    'below_min_score': 'less than --min_score',
}


def summary(counts: Mapping[str, int], form: str, seconds: float) -> str:
    """What was read, made of it, and left out."""
    records = messages.counted(counts.get('records_answered', 0), 'record')
    lines = [f'{records} read, with {messages.counted(counts.get("responses_read", 0), "response")}']
    if form != 'answers':
        lines.append(f'{messages.counted(counts.get("training_rows", 0), "row")} of {form}')
    for reason, why in _LEFT_OUT.items():
        if counts.get(f'left_out_{reason}'):
            lines.append(f'{counts[f"left_out_{reason}"]:,} left out: {why}')
    refused = messages.refused_counts(counts)
    reasons = ', '.join(f'{name} {n:,}' for name, n in refused.items())
    lines.append(f'{sum(refused.values()):,} refused' + (f': {reasons}' if refused else ''))
    lines.append(f'{seconds:.1f} seconds')
    return '\n'.join(lines)
