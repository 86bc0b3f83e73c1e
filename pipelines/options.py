"""The options of the programs, those of one subject in one place, and what they come to.

Nothing here needs Beam or Arrow, which take seconds to import: `--help` and a mistake are answered at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import beam_argilla as ba
from beam_argilla.server.address import check_headers, check_names, checked_url

if TYPE_CHECKING:
    from argparse import _ArgumentGroup as Group


# -- what is read

_RETRY = (
    'send again what an earlier run wrote to --failed (a prefix or folder as there, or a file), perhaps repaired; '
    'parts of groups need --input beside it'
)
_INPUT = (
    'files (Parquet, JSON, JSON Lines, CSV, Arrow), folders (with all below; column=value/ is a column) or patterns, '
    'on any Beam file system; repeatable'
)


# Role of a column → what is said of it.
_ROLES = {
    'instruction': 'repeatable: joined by an empty line (instruction)',
    'generation': 'texts, or lists of texts; repeatable: side by side (generation, generations)',
    'instruction_id': 'default: rows with the same instruction belong together',
    'model_name': 'repeatable, one for each of the generations; literal:TEXT (model_name, generation_models)',
    'rating': 'repeatable, one for each of the generations (rating, ratings)',
    'rationale': 'repeatable, one for each of the generations (rationale, rationales)',
    'agent': 'who gave the rating and the rationale; repeatable; literal:TEXT',
    'position': 'order of the generations (default: model name, then text)',
}


def add_input(group: Group) -> None:
    """Which files, and what their columns are called."""
    group.add_argument(
        '--input',
        action='append',
        nargs='+',
        default=[],
        metavar='PATTERN',
        help=_INPUT,
    )
    group.add_argument(
        '--layout',
        action='append',
        default=[],
        metavar='NAME',
        help='one of --list_layouts, or auto: the one that fits (auto); several: one for each --input, in their order',
    )
    group.add_argument('--list_layouts', action='store_true', help='print the layouts that are known, and end')
    group.add_argument(
        '--format',
        choices=['parquet', 'arrow', 'jsonl', 'csv', 'json'],
        help="what the files are (default: by their names' ends; Parquet, if they say nothing)",
    )
    group.add_argument(
        '--prompts', action='append', metavar='PATTERN', help='files of the prompts, if they are elsewhere'
    )
    group.add_argument('--prompts_key', metavar='NAME', help='the column by which they belong to the generations')
    group.add_argument('--prompts_column', metavar='NAME', help='name or path of the prompt in its file')
    group.add_argument('--config', metavar='NAME', help='which configuration of a folder that distilabel saved')
    group.add_argument('--split', metavar='NAME', help='which split of a folder that datasets saved')
    group.add_argument('--clustered', action='store_true', help='rows of a group are adjacent in one file: no shuffle')
    group.add_argument(
        '--on_bad_file', choices=['fail', 'refuse'], default='fail', help='damaged, or without a column (%(default)s)'
    )
    group.add_argument('--retry_failed', metavar='PREFIX', help=_RETRY)
    for role, explanation in _ROLES.items():
        group.add_argument(
            f'--{role}_column', action='append', default=[], metavar='NAME', help=f'name or path; {explanation}'
        )
    group.add_argument(
        '--source_metadata', metavar='NAME', help='keep as metadata of this name which file each row came from'
    )
    group.add_argument(
        '--scale',
        type=ends,
        metavar='LOW:HIGH',
        help='the scores that stand for the lowest and the highest rating; others go to the nearest one',
    )
    group.add_argument(
        '--metadata_column', action='append', default=[], metavar='NAME', help='keep as metadata; repeatable'
    )
    group.add_argument(
        '--metadata',
        action='append',
        default=[],
        metavar='NAME:TYPE',
        help='the same, as terms, integer or float by your word; NAME:TYPE:PROPERTY renames it; repeatable',
    )


def layouts_shown() -> str:
    """The layouts that are known, with an example of each."""
    return '\n'.join(
        f'{layout.name}: {layout.source}\n    {json.dumps(layout.example, ensure_ascii=False)}'
        for layout in ba.LAYOUTS.values()
    )


def columns_of(args: argparse.Namespace) -> ba.Columns:
    """What the input calls its columns."""
    named: dict[str, Any] = {}
    for role in _ROLES:
        sources = [_source(name) for name in getattr(args, f'{role}_column')]
        if len(sources) > 1 and role in ('instruction_id', 'position'):
            raise ValueError(f'--{role}_column is given more than once, and takes one value.')
        if sources:
            named[role] = sources[0] if len(sources) == 1 else sources
    return ba.Columns(
        **named,
        metadata=[metadata.column for metadata in metadata_of(args, {})],
        scale=args.scale and ba.Scale(args.scale, ratings_of(args)),
        chat=args.chat,
    )


def _source(name: str) -> str | ba.Literal:
    prefix, literally, text = name.partition('literal:')
    return ba.Literal(text) if literally and not prefix else name


def inputs_of(args: argparse.Namespace) -> dict[str, list[str]]:
    """Layout → the patterns of its files.

    Raises:
        ValueError: there is another number of layouts than of inputs.
    """
    layouts = args.layout or ['auto']
    if len(layouts) == 1:
        layouts *= len(args.input)
    if len(layouts) != len(args.input):
        raise ValueError(
            f'--layout is given {len(layouts)} times and --input {len(args.input)} times: give one layout for all, or '
            'one for each.'
        )
    inputs: dict[str, list[str]] = {}
    for layout, patterns in zip(layouts, args.input, strict=True):
        inputs.setdefault(layout, []).extend(patterns)
    return inputs


def metadata_of(args: argparse.Namespace, types: Mapping[str, str]) -> list[ba.Metadata]:
    """What is kept as metadata.

    Args:
        types: column → what it can be, where nobody says so by hand; one of no known type is text.
    """
    kept = [ba.Metadata(name, types.get(name, 'terms')) for name in args.metadata_column]
    for text in args.metadata:
        said = re.fullmatch('(.+):(terms|integer|float)(?::(.+))?', text)
        if said is None:
            raise ValueError(f'--metadata {text}: write NAME:TYPE, where TYPE is terms, integer or float')
        kept.append(ba.Metadata(said[1], said[2], name=said[3]))
    return kept


# -- how rows become records


def add_task(group: Group) -> None:
    """How rows are grouped, and what annotators are asked."""
    group.add_argument('--task', choices=['preference', 'text_generation'], default='preference', help='(%(default)s)')
    group.add_argument(
        '--num_generations', type=positive, metavar='N', help='places for generations in a preference record (needed)'
    )
    group.add_argument(
        '--on_conflict', choices=['fail', 'first'], default='fail', help='one id, different instructions (%(default)s)'
    )
    group.add_argument(
        '--overflow', choices=['fail', 'truncate'], default='fail', help='more generations than places (%(default)s)'
    )
    group.add_argument(
        '--min_generations', type=positive, default=1, metavar='N', help='refuse groups with fewer (%(default)s)'
    )
    group.add_argument(
        '--spill_location',
        metavar='DIR',
        help='where rows wait for their groups (default: a temporary directory; --temp_location on remote runners)',
    )
    group.add_argument(
        '--order',
        choices=['given', 'blind'],
        default='given',
        help="blind: generations stand in another order in each record, so that no model's place gives it away",
    )
    group.add_argument('--seed', type=whole, default=0, metavar='N', help='of --order blind (%(default)s)')
    group.add_argument('--limit', type=positive, metavar='N', help='the first N groups alone, for a trial')
    group.add_argument('--no_spill', action='store_true', help="they wait in the runner's own shuffle instead")
    group.add_argument('--num_partitions', type=positive, metavar='N', help='default: from the size of the input')
    group.add_argument('--shuffle', action='store_true', help='group wide input too, where ids come more than once')
    group.add_argument('--namespace', metavar='TEXT', help='goes before every external id')
    group.add_argument('--ratings', metavar='1,2,3', default='1,2,3,4,5', help='the scale (default: %(default)s)')
    group.add_argument('--agent', metavar='TEXT', help='who gave the ratings, if no column says so')
    guidelines = group.add_mutually_exclusive_group()
    guidelines.add_argument(
        '--guidelines', type=text, metavar='TEXT', help='shown to annotators; @FILE: what stands in the file'
    )
    guidelines.add_argument('--guidelines_file', type=content, metavar='FILE', help='the same as --guidelines @FILE')
    group.add_argument('--chat', action='store_true', help='show instructions that are conversations as such')
    group.add_argument('--use_markdown', action='store_true', help='show texts as Markdown')
    group.add_argument(
        '--model_names', action='store_true', help="keep models' names as metadata, hidden from annotators"
    )
    group.add_argument('--min_submitted', type=positive, default=1, metavar='N', help='answers that complete a record')


def task_of(
    args: argparse.Namespace,
    metadata_types: Mapping[str, str],
    scores: bool = False,
    metadata: Sequence[str] = (),
) -> ba.Preference | ba.TextGeneration:
    """The task.

    Args:
        metadata_types: name of a metadata column → what it can be; one of no known type is text.
        scores: ratings stand for exact scores, which are kept.
        metadata: further columns to keep, as terms.

    Raises:
        ValueError: options that contradict each other, or that the server would refuse.
    """
    source = args.source_metadata
    common = {
        'guidelines': args.guidelines if args.guidelines_file is None else args.guidelines_file,
        'use_markdown': args.use_markdown,
        'chat': args.chat,
        'model_names': args.model_names,
        'metadata': _with_more(metadata_of(args, metadata_types), [*metadata, *([source] if source else [])]),
        'min_submitted': args.min_submitted,
        'namespace': args.namespace,
    }
    if args.task == 'text_generation':
        meaningless = ('num_generations', 'rating_column', 'rationale_column', 'agent', 'agent_column')
        unused = [name for name in meaningless if getattr(args, name)]
        if unused:
            raise ValueError(f'--{unused[0]} means nothing to --task text_generation: its records have no suggestions.')
        return ba.TextGeneration(**common)
    if args.num_generations is None:
        raise ValueError(
            '--num_generations is missing: how many generations shall a preference record have places for?'
        )
    return ba.Preference(args.num_generations, ratings=ratings_of(args), agent=args.agent, scores=scores, **common)


def _with_more(kept: list[ba.Metadata], columns: Sequence[str]) -> list[ba.Metadata]:
    known = {metadata.column for metadata in kept}
    return [*kept, *(ba.Metadata(column) for column in columns if column not in known)]


def ratings_of(args: argparse.Namespace) -> list[int]:
    """The scale."""
    try:
        return [whole(value.strip()) for value in args.ratings.split(',')]
    except argparse.ArgumentTypeError:
        raise ValueError(f'--ratings {args.ratings}: write whole numbers with commas, such as 1,2,3') from None


def policies_of(args: argparse.Namespace, task: ba.Preference | ba.TextGeneration) -> ba.Policies:
    """What to do with groups that do not fit."""
    return ba.Policies(args.on_conflict, task.max_generations, args.overflow, args.min_generations)


# -- where records go


def add_server(group: Group) -> None:
    """Which server, as whom, and which dataset of it."""
    group.add_argument('--dataset', metavar='NAME', help='(needed)')
    group.add_argument('--workspace', default='default', metavar='NAME', help='(%(default)s)')
    group.add_argument(
        '--api_url', default=os.environ.get('ARGILLA_API_URL'), metavar='URL', help='default: $ARGILLA_API_URL'
    )
    group.add_argument(
        '--api_key_env', default='ARGILLA_API_KEY', metavar='NAME', help='variable with the key (%(default)s)'
    )
    group.add_argument(
        '--api_key_secret',
        metavar='SPEC',
        help='where workers look the key up, such as type:GcpSecret;version_name:projects/…, or '
        'type:EnvironmentSecret;variable:NAME if that is set on workers elsewhere',
    )
    group.add_argument(
        '--header',
        action='append',
        default=[],
        metavar='NAME=ENV',
        help='further HTTP header, its value from a variable, such as Authorization=HF_BEARER, or of a secret as '
        '--api_key_secret takes; repeatable',
    )
    group.add_argument(
        '--ca_file', metavar='FILE', help='PEM certificates to trust besides those the machine trusts (https)'
    )
    group.add_argument(
        '--retry_seconds',
        type=positive,
        default=600,
        metavar='N',
        help='how long to wait for a server that wakes up, is overloaded or lost (%(default)s)',
    )


def add_writing(group: Group) -> None:
    """How records are written, and what becomes of those that are not."""
    group.add_argument('--create_workspace', action='store_true', help='create the workspace if it does not exist')
    group.add_argument('--skip_unchanged', action='store_true', help='send only what differs from what is there')
    group.add_argument(
        '--adopt', action='store_true', help='take over records that distilabel wrote on the same instructions'
    )
    group.add_argument(
        '--suggestions', choices=['merge', 'replace'], default='merge', help='replace removes stale ones (%(default)s)'
    )
    group.add_argument('--max_parallelism', type=positive, metavar='N', help='the most workers that write side by side')
    group.add_argument(
        '--failed',
        metavar='PREFIX',
        help='write what is refused to PREFIX-TIME-SHARD.jsonl, as JSON lines, in the place of those of earlier runs, '
        'and go on; DIR/ or a folder: into that folder',
    )
    group.add_argument('--dry_run', action='store_true', help='read, group, build and check; write nothing to Argilla')
    group.add_argument('--preview', type=positive, metavar='N', help='a dry run that shows N records as on the page')


def headers_of(args: argparse.Namespace) -> dict[str, str]:
    """Name of each further HTTP header → the environment variable that holds its value, or the secret that is it."""
    headers = []
    for header in args.header:
        name, equals, source = header.partition('=')
        if not (name and equals and source):
            raise ValueError(
                '--header: write NAME=ENV, with the environment variable that holds the value, or NAME=type:…, with a '
                'secret as --api_key_secret takes'
            )
        headers.append((name, source))
    check_headers(name for name, _ in headers)
    return dict(headers)


def needs_server(args: argparse.Namespace) -> bool:
    """Whether a server is asked: a dry run looks at one if it is told which."""
    return bool(args.api_url) or not args.dry_run


def connection_of(args: argparse.Namespace) -> ba.ArgillaConnection:
    """The server.

    Raises:
        ValueError: a secret is written in no form that is known.
    """
    from beam_argilla.server.connection import secret_of, source_of_header

    return ba.ArgillaConnection(
        args.api_url,
        api_key=secret_of(args.api_key_secret) if args.api_key_secret else None,
        api_key_env=args.api_key_env,
        headers={name: source_of_header(source) for name, source in headers_of(args).items()},
        ca_file=args.ca_file,
    )


def retry_of(args: argparse.Namespace) -> ba.RetryPolicy:
    """How long to wait for the server."""
    return ba.RetryPolicy(limit=args.retry_seconds)


# -- the command line as a whole


def add_watching(group: Group) -> None:
    """What is told of a job besides what is printed at its end."""
    group.add_argument(
        '--summary',
        metavar='FILE.json',
        help='write what came of the job to this file, for programs, also if it fails; on any Beam file system',
    )
    add_progress(group)


def add_progress(group: Group) -> None:
    """Whether a person sees how far a job is."""
    group.add_argument(
        '--no_progress',
        action='store_true',
        help='do not show how far the job is: on a terminal a bar, elsewhere a line a minute',
    )


def add_program(group: Group) -> None:
    """What is of the program itself."""
    group.add_argument('--debug', action='store_true', help='show all that Beam and workers say, stack traces included')
    group.add_argument('--version', action='version', version=f'beam_argilla {ba.__version__}')


def positive(value: str) -> int:
    """A whole number from 1 on."""
    if not value.isascii() or not value.isdigit() or whole(value) < 1:
        raise argparse.ArgumentTypeError(f'{value}: give a whole number, at least 1')
    return whole(value)


def whole(value: str) -> int:
    """A whole number, in digits alone: Python itself takes 1_0 for 10."""
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise argparse.ArgumentTypeError(f'{value}: give a whole number')
    return int(value)


def ends(value: str) -> tuple[float, float]:
    """Two numbers with a colon between."""
    try:
        low, high = map(float, value.split(':'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{value}: write two numbers with a colon between, such as 0:10') from None
    return low, high


def text(value: str) -> str:
    """The value, or what the file holds that is named behind an ``@``."""
    return content(value[1:]) if value.startswith('@') else value


def content(path: str) -> str:
    """What a file holds, of any Beam file system."""
    try:
        if '://' not in path:
            return Path(path).read_text(encoding='utf-8')
        from beam_argilla.files import open_file  # Beam, and the file systems that it knows

        with open_file(path) as file:
            return file.read().decode('utf-8')
    except (OSError, ValueError, ba.BeamArgillaError) as e:
        why = 'it is not text in UTF-8' if isinstance(e, ValueError) else getattr(e, 'strerror', None) or str(e)
        raise argparse.ArgumentTypeError(f'the file {path!r} cannot be read: {why}') from None


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The program's options and Beam's, which are known to make sense as far as that can be seen in them alone.

    Raises:
        ValueError: a mistake in them.
    """
    parser.error = mistake  # type: ignore[method-assign]  # one line rather than the usage, which is long
    argv = sys.argv[1:] if argv is None else argv
    argv, beams = split(argv)
    args, beam_args = parser.parse_known_args(argv)
    beam_args += beams
    if args.list_layouts:
        print(layouts_shown())
        raise SystemExit(0)
    args.dry_run = args.dry_run or args.preview is not None
    check_repeated(parser, argv)
    check_unknown(parser, beam_args)
    if not args.dataset:
        raise ValueError('--dataset is missing: which dataset shall the records go to?')
    for name in ('failed', 'retry_failed'):
        if getattr(args, name) == '':
            raise ValueError(f'--{name} is empty: name a prefix of files or a folder')
    if not args.input and not args.retry_failed:
        raise ValueError('--input is missing: which files?')
    check_names(args.dataset, args.workspace, True, args.create_workspace)
    if needs_server(args):
        check_server(args)
    if args.no_spill and args.spill_location:
        raise ValueError('--no_spill contradicts --spill_location: give one of them')
    if args.overflow == 'truncate' and not (args.failed or args.dry_run):
        raise ValueError(
            '--overflow truncate cuts generations off, and they have to go somewhere: give --failed as well'
        )
    headers_of(args)
    columns_of(args)
    inputs_of(args)
    policies_of(args, task_of(args, {}))
    return args, beam_args


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of all, and those that stand behind a ``--``: Beam's, also where one of ours is called the same."""
    before = list(argv).index('--') if '--' in argv else len(argv)
    return list(argv[:before]), list(argv[before + 1 :])


def check_server(args: argparse.Namespace) -> None:
    """Raises ValueError if there is no address of a server."""
    if not args.api_url:
        raise ValueError('--api_url is missing (and ARGILLA_API_URL is not set): which Argilla server?')
    checked_url(args.api_url, args.ca_file)


def mistake(message: str) -> NoReturn:
    raise ValueError(message.removeprefix('argument '))


def given(parser: argparse.ArgumentParser, argv: Sequence[str]) -> Counter[str]:
    """How often each option stands on the command line, whatever its values."""
    words = Counter(arg.partition('=')[0] for arg in argv)
    return Counter({action.dest: sum(words[name] for name in action.option_strings) for action in parser._actions})


def check_repeated(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """argparse would take the last of them without a word."""
    times = given(parser, argv)
    for action in parser._actions:
        if isinstance(action, argparse._StoreAction) and times[action.dest] > 1:
            raise ValueError(f'{action.option_strings[0]} is given more than once, and takes one value.')


def check_unknown(parser: argparse.ArgumentParser, beam_args: Sequence[str]) -> None:
    """Beam ignores what it does not know, so a slip of the pen, or a file that a shell pattern stands for, would too.

    Behind a job server, or what launches a template, there are options that Beam does not know: there, a slip is what
    looks like one of ours.
    The message holds no value: one may be a secret.
    """
    ours = {option for action in parser._actions for option in action.option_strings}
    beams = beam_options()
    engine = _may_pass_more(beam_args)
    follows_option = False
    for arg in beam_args:
        name, equals, _ = arg.partition('=')
        if arg.startswith('-'):
            if name not in beams:
                close = difflib.get_close_matches(name, sorted(ours if engine else ours | beams), 1, 0.8)
                if close or not engine:
                    hint = f'; did you mean {close[0]}?' if close else '.'
                    raise ValueError(f'{name} is not an option{hint}')
        elif not follows_option:
            raise ValueError('There is a word that belongs to no option. (Several files go behind one --input.)')
        follows_option = arg.startswith('-') and not equals


def _may_pass_more(beam_args: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--runner', default='')
    parser.add_argument('--template_location')
    args = parser.parse_known_args(beam_args)[0]
    engines = ('flink', 'spark', 'portable')
    return args.template_location is not None or any(name in args.runner.lower() for name in engines)


def beam_options() -> set[str]:
    """The names of Beam's own options, from the text of the file that defines them: importing it takes seconds."""
    beam = importlib.util.find_spec('apache_beam')
    assert beam is not None
    assert beam.origin is not None
    text = (Path(beam.origin).parent / 'options' / 'pipeline_options.py').read_text(encoding='utf-8')
    return set(re.findall(r"""['"](--?[a-zA-Z][\w-]*)['"]""", text))
