"""The options of the way back: which answers, in which form, and where to."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from beam_argilla.server.address import check_names

from . import options

if TYPE_CHECKING:
    import beam_argilla as ba

FORMS = ('answers', 'pairs', 'kto', 'ratings', 'sft')
Group = argparse._ArgumentGroup


def add_reading(group: Group) -> None:
    """Which answers."""
    group.add_argument(
        '--response_status',
        action='append',
        choices=['submitted', 'draft', 'discarded'],
        help='of the responses that --form answers has; repeatable (submitted)',
    )
    group.add_argument(
        '--record_status', action='append', choices=['pending', 'completed'], help='of the records; repeatable (both)'
    )
    group.add_argument(
        '--since',
        type=moment,
        metavar='TIME',
        help='only records that somebody answered from then on, by the server: 2026-11-26, 2026-11-26T12:00+01:00; UTC',
    )
    group.add_argument('--anonymous', action='store_true', help='call people annotator-1, annotator-2, …')


def add_forming(group: Group) -> None:
    """In which form."""
    group.add_argument('--form', choices=FORMS, default='pairs', help='(%(default)s)')
    group.add_argument(
        '--aggregate',
        choices=['mean', 'median', 'majority', 'min', 'max', 'all'],
        default='mean',
        help="how several people's answers become one; all: each person's by itself (%(default)s)",
    )
    group.add_argument('--min_answers', type=options.positive, default=1, metavar='N', help='that a value needs (1)')
    group.add_argument('--user', metavar='NAME', help='only the answers of this person')
    group.add_argument('--suggestions', action='store_true', help='where nobody has answered, suggestions stand in')
    group.add_argument(
        '--pairs',
        choices=['best_worst', 'best_each', 'all'],
        default='best_worst',
        help='of an instruction (%(default)s)',
    )
    group.add_argument(
        '--margin', type=number, default=0.0, metavar='X', help='by which scores of pairs must differ (0)'
    )
    group.add_argument(
        '--threshold', type=number, metavar='X', help='score from which on a generation is good, for kto'
    )
    group.add_argument('--min_score', type=number, metavar='X', help='that the best generation must have, for sft')
    group.add_argument('--corrected', metavar='QUESTION', help='text question with the answer as it should be, for sft')
    group.add_argument('--good', action='append', metavar='LABEL', help='a label that says so; repeatable (good)')
    group.add_argument('--bad', action='append', metavar='LABEL', help='a label that says so; repeatable (bad)')
    group.add_argument(
        '--text', choices=['plain', 'messages'], default='plain', help='of prompts and answers (%(default)s)'
    )
    group.add_argument('--prompt_field', default='instruction', metavar='NAME', help='(%(default)s)')
    group.add_argument(
        '--generation_field',
        action='append',
        metavar='NAME',
        help='a field with a generation, of a dataset that names them otherwise; repeatable (generations-0, …, or '
        'generation)',
    )
    group.add_argument(
        '--question',
        action='append',
        metavar='[FIELD=]NAME',
        help='which judges the generations, or the one in that field; repeatable (generations-0-rating, …; else the '
        'only ranking, rating or label)',
    )
    group.add_argument(
        '--across_records',
        action='store_true',
        help='pairs of generations that are in several records of one instruction; by itself where workers are here',
    )


def add_writing(group: Group) -> None:
    """Where to."""
    group.add_argument(
        '--output', metavar='PREFIX', help='of the files, on any Beam file system; of datasets, the folder'
    )
    group.add_argument('--format', choices=['parquet', 'jsonl', 'datasets'], default='parquet', help='(%(default)s)')
    group.add_argument('--report', metavar='FILE.html', help='a page with pictures of how the annotation goes')
    group.add_argument('--push_to_hub', metavar='OWNER/NAME', help='push it to the Hugging Face Hub as well (HF_TOKEN)')
    group.add_argument('--private', action='store_true', help='a new dataset there is private')
    group.add_argument('--failed', metavar='PREFIX', help='write what is refused there, as JSON lines, and go on')


def number(value: str) -> float:
    """A number that is one."""
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or '_' in value:
        raise argparse.ArgumentTypeError(f'{value}: give a number')
    return found


def moment(value: str) -> datetime:
    """A time in ISO form."""
    try:
        return datetime.fromisoformat(value.replace('Z', '+00:00'))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{value}: write a time such as 2026-11-26 or 2026-11-26T12:00+01:00'
        ) from None


def rule_of(args: argparse.Namespace) -> ba.Aggregate:
    """How several people's answers become one."""
    import beam_argilla as ba

    return ba.Aggregate(args.aggregate, args.min_answers, args.user, args.suggestions)


def fields_of(args: argparse.Namespace) -> ba.Fields:
    """Which of the dataset's fields and questions rows are made of.

    Raises:
        ValueError: a question under a field, and one without; or what else cannot be.
    """
    import beam_argilla as ba

    given = [value.rpartition('=')[::2] for value in args.question or ()]
    named = dict(given)
    if '' in named and len(given) > 1:
        raise ValueError('--question: give one question, or FIELD=NAME for each of the fields')
    if len(named) < len(given):
        raise ValueError('--question: give one FIELD=NAME for each of the fields; one of them is there twice')
    question = named.get('') or named or None
    return ba.Fields(args.prompt_field, args.generation_field, question, args.good or ['good'], args.bad or ['bad'])


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The program's options and Beam's, which are known to make sense as far as that can be seen in them alone.

    Raises:
        ValueError: a mistake in them.
    """
    parser.error = options.mistake  # type: ignore[method-assign]
    argv = sys.argv[1:] if argv is None else argv
    argv, beams = options.split(argv)
    args, beam_args = parser.parse_known_args(argv)
    beam_args += beams
    options.check_repeated(parser, argv)
    options.check_unknown(parser, beam_args)
    for name, what in (('dataset', 'whose answers?'), ('output', 'where to?')):
        if not getattr(args, name):
            raise ValueError(f'--{name} is missing: {what}')
    if args.failed == '':
        raise ValueError('--failed is empty: name a prefix of files or a folder')
    if args.report == '':
        raise ValueError('--report is empty: name the file of the page')
    check_names(args.dataset, args.workspace, False, False)
    options.check_server(args)
    options.headers_of(args)
    if args.margin < 0:
        raise ValueError(f'--margin {args.margin}: it must not be negative')
    fields_of(args)
    if args.push_to_hub and args.form == 'answers':
        raise ValueError('--push_to_hub takes one table, and --form answers makes one for each kind of question')
    if args.private and not args.push_to_hub:
        raise ValueError('--private means nothing without --push_to_hub')
    _check_form(args, options.given(parser, argv))
    return args, beam_args


_JUDGING = ('pairs', 'kto', 'ratings', 'sft')
_OF_MODELS = ('question', 'generation_field', 'good', 'bad')  # which a report tells of, whatever the form
# Option → the forms that it means something to; of those that are not here, all.
_FORMS_OF = {
    'response_status': ('answers',),
    'pairs': ('pairs',),
    'margin': ('pairs',),
    'across_records': ('pairs',),
    'threshold': ('kto',),
    'min_score': ('sft',),
    'corrected': ('sft',),
    **dict.fromkeys(('aggregate', 'min_answers', 'user', 'suggestions', 'text', 'prompt_field'), _JUDGING),
    **dict.fromkeys(_OF_MODELS, _JUDGING),
}


def _check_form(args: argparse.Namespace, given: Mapping[str, int]) -> None:
    """Raises ValueError if an option that was given means nothing to the form, nor to a report."""
    for name, forms in _FORMS_OF.items():
        if given[name] and args.form not in forms and not (args.report and name in _OF_MODELS):
            raise ValueError(f'--{name} means nothing to --form {args.form}: it is for --form {" or ".join(forms)}.')
