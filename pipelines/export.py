"""The way back: builds and runs the job that the options describe, and says what came of it."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import TextIO

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from beam_argilla import errors
from beam_argilla.files import is_folder
from beam_argilla.showing import Show, shown
from beam_argilla.summary import counted, in_words, refused_counts

from . import export_options, options
from .account import Account
from .attempts import attempt, new_pipeline, see_through
from .progress import of_export


def export(args: argparse.Namespace, beam_args: Sequence[str], aside: contextlib.ExitStack) -> int:
    """Runs the program with these options, and returns the exit status.

    Args:
        aside: for as long as it is open, what Beam says while a job is built, runs or ends is kept from the person.
    """

    account = Account()

    def run_it(built: tuple[beam.Pipeline, list[ba.WriteTrainingData]], screen: TextIO | None) -> int:
        return run(args, *built, account, screen)

    def stopped() -> str:
        return account.goes_on or _STOPPED

    return attempt(args, aside, lambda tidying: build(args, beam_args, tidying), run_it, stopped)


_STOPPED = 'Stopped. Running it again reads all of it anew.'


def build(
    args: argparse.Namespace, beam_args: Sequence[str], tidying: contextlib.ExitStack
) -> tuple[beam.Pipeline, list[ba.WriteTrainingData]]:
    """Builds the pipeline, and looks at the dataset before anything is read; with what is written.

    Raises:
        ValueError, TypeError, BeamArgillaError: something that the options name is not there, or does not fit.
    """
    connection = options.connection_of(args)
    p = new_pipeline(beam_args, tidying)
    local = ba.workers_run_here(p)
    dataset = look(args, connection) if local else None
    if args.push_to_hub and not local:
        raise ValueError('--push_to_hub is for runs on this machine: push what was written from where it is')
    handler = CollectingErrorHandler() if args.failed is not None else None
    statuses = args.response_status or ['submitted']
    read = ba.ReadFromArgilla(
        args.dataset,
        connection=connection,
        workspace=args.workspace,
        response_status=_EVERY_STATUS if args.report else statuses,
        record_status=args.record_status,
        since=args.since,
        unanswered=args.suggestions or bool(args.report),
        anonymous=args.anonymous,
        retry=options.retry_of(args),
    )
    records = p | 'Read' >> read.with_error_handler(handler)
    writes = {}
    if args.form == 'answers':
        answers = records | 'Form' >> ba.ToAnswers(statuses)
        kinds = answers if dataset is None else {q['settings']['type'] for q in dataset.settings.questions}
        for kind, rows in answers.items():
            if kind in kinds:
                writes[kind] = rows, ba.WriteTrainingData(place_of(args.output, kind, args.format), args.format)
    else:
        form = form_of(args, dataset)
        rows = records | 'Form' >> form.with_error_handler(handler)
        writes[args.form] = rows, ba.WriteTrainingData(args.output, args.format, schema=form.schema)
    for name, (rows, write) in writes.items():
        _ = rows | f'Write {name}' >> write
    if args.report is not None:
        fields = export_options.fields_of(args)
        _ = records | 'Report' >> ba.WriteReport(args.report, args.dataset, fields=fields)
    _ = records | 'Agreement' >> ba.SummarizeAgreement() | 'Show' >> Show('agreement', 1)
    if handler is not None:
        handler.close()
        _ = handler.output() | 'Write failed' >> ba.WriteFailed(args.failed)
    return p, [write for _, write in writes.values()]


def place_of(output: str, kind: str, format: str) -> str:
    """Where the table of a kind of questions goes: into a folder under its name, else beside the others."""
    if is_folder(output):
        return FileSystems.join(output, kind)
    return f'{output.removesuffix(f".{format}")}-{kind}'


_EVERY_STATUS = ('submitted', 'draft', 'discarded')  # of which a report tells


def look(args: argparse.Namespace, connection: ba.ArgillaConnection) -> ba.Dataset:
    """The dataset as the server has it.

    Raises:
        JobError: it is not there, is a draft, or nobody who may answer it is called like --user.
    """
    retry = options.retry_of(args)
    found = ba.check_dataset(
        args.dataset, connection=connection, workspace=args.workspace, must_exist=True, retry=retry
    )
    assert found is not None
    if args.user is not None:
        people = ba.names_of_people(
            args.dataset, connection=connection, workspace=args.workspace, anonymous=args.anonymous, retry=retry
        )
        check_user(args.user, people)
    return found


_MOST_NAMES = 20
# What those are called who are not listed: by their UUID, or by some digits that do not tell it.
_UNLISTED = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|annotator-[0-9a-f]{8}')


def check_user(user: str, people: Sequence[str]) -> None:
    """Raises InputError if nobody is called so, as far as it is known what people are called."""
    if people and user not in people and not _UNLISTED.fullmatch(user):
        more = '' if len(people) <= _MOST_NAMES else f' and {len(people) - _MOST_NAMES:,} more'
        raise errors.InputError(
            f'Not answered by {user!r}: those who may answer are {", ".join(people[:_MOST_NAMES])}{more}.'
        )


def form_of(args: argparse.Namespace, dataset: ba.Dataset | None) -> ba.Form:
    """What makes rows of a form of records.

    Args:
        dataset: which the form must be for; None: it is not known yet.

    Raises:
        FormError: it is not.
    """
    fields, rule, text = export_options.fields_of(args), export_options.rule_of(args), args.text
    names = [field['name'] for field in dataset.settings.fields] if dataset else []
    form: ba.Form
    if args.form == 'pairs':
        across = args.across_records or fields.is_single(names)
        form = ba.ToPreferencePairs(rule, args.pairs, args.margin, text, fields, across)
    elif args.form == 'kto':
        form = ba.ToKTO(rule, args.threshold, text, fields)
    elif args.form == 'ratings':
        form = ba.ToRatings(rule, text, fields)
    else:
        form = ba.ToSFT(rule, args.corrected, args.min_score, text, fields)
    if dataset is not None:
        form.check(dataset.settings)
    return form


def run(
    args: argparse.Namespace,
    p: beam.Pipeline,
    writes: Sequence[ba.WriteTrainingData],
    account: Account,
    screen: TextIO | None,
) -> int:
    """Runs the job, prints what came of it and returns the exit status.

    Args:
        screen: where a person sees how far it is; None: nowhere.
    """
    result = see_through(p, account, lambda: of_export(account.counts()), screen, not args.no_progress)
    if result is None:
        return 0
    counts = account.final_counts()
    for agreement in shown(result, 'agreement', 1):
        print(agreement)
    print(summary(counts, args.form, account.seconds, args.user))
    for write in writes:
        print(f'Written to: {write.pattern}')
    if args.report is not None:
        print(f'The report: {args.report}')
    refused = any(refused_counts(counts).values())
    if args.push_to_hub:
        (written,) = writes
        pushed = ba.push_to_hub(written.pattern, args.format, args.push_to_hub, args.private, written.schema)
        print(f'Pushed to: {pushed}')
    return 1 if refused and args.failed is None else 0


_LEFT_OUT = {
    'tie': 'the same score, or as many for as against',
    'margin': 'scores that differ by less than the margin',
    'single': 'no second generation to compare with',
    'same_text': 'the same text on both sides',
    'unanswered': 'nobody has answered',
    'too_few_answers': 'fewer answers than --min_answers',
    'unranked': 'others were ranked, but not it',
    'other_label': 'a label that says nothing of it',
    'below_min_score': 'less than --min_score',
}


def summary(counts: Mapping[str, int], form: str, seconds: float, user: str | None = None) -> str:
    """What was read, made of it, and left out.

    Args:
        user: the only one whose answers count; None: everybody's do.
    """
    why_left_out = _LEFT_OUT if user is None else {**_LEFT_OUT, 'unanswered': f'not answered by {user}'}
    records = counted(counts.get('records_answered', 0), 'record')
    lines = [f'{records} read, with {counted(counts.get("responses_read", 0), "response")}']
    if form != 'answers':
        lines.append(f'{counted(counts.get("training_rows", 0), "row")} of {form}')
    for reason, why in why_left_out.items():
        if counts.get(f'left_out_{reason}'):
            lines.append(f'{counts[f"left_out_{reason}"]:,} left out: {why}')
    lines.append(in_words(refused_counts(counts)))
    lines.append(f'{seconds:.1f} seconds')
    return '\n'.join(lines)
