"""The program as a flex template of Dataflow: what its parameters are, and what it is launched with.

    python -m pipelines.template

writes `pipelines/dataflow/metadata.json`, which says what parameters there are, from the program's options.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import options, parquet_to_argilla

METADATA = Path(__file__).parent / 'dataflow' / 'metadata.json'
_DESCRIPTION = (
    'Takes generations of language models from Parquet and other files, groups them by instruction, and fills a '
    'dataset of an Argilla server, in which people rate them.'
)
# What every job on Dataflow needs: its workers look the key up themselves.
_NEEDED = ('dataset', 'api_url', 'api_key_secret')
# Parameters of Beam's that `gcloud dataflow flex-template run` has no flag of its own for.
_BEAMS = [
    {
        'name': 'sdk_container_image',
        'label': 'Image of the workers',
        'helpText': "The template's own image: workers start at once with what it holds, and install nothing.",
        'regexes': ['^[a-z0-9.:-]+/[^ ]+$'],
        'paramType': 'TEXT',
        'groupName': 'workers',
    }
]
# What the help calls a value → what it must look like. Of files, those of this machine are of no use there.
_ELSEWHERE = r'[a-z][a-z0-9+.-]*://[\s\S]+'
_FORMS = {
    'PATTERN': _ELSEWHERE,
    'PREFIX': _ELSEWHERE,
    'DIR': _ELSEWHERE,
    'FILE.json': _ELSEWHERE,
    'URL': 'https?://[^ @?#]+',
    'SPEC': 'type:[A-Za-z]+;.+',
    'NAME=ENV': '[^=]+=.+',
    'NAME:TYPE': '.+:(terms|integer|float)(:.+)?',
    'LOW:HIGH': '[^:]+:[^:]+',
    '1,2,3': ' *[0-9]+ *(, *[0-9]+ *)*',
}
_ANYTHING = r'[\s\S]+'


def metadata() -> dict[str, Any]:
    """What Dataflow shows, and checks, of a template before it starts a machine."""
    parser = parquet_to_argilla.parser()
    return {
        'name': 'Parquet to Argilla',
        'description': _DESCRIPTION,
        'parameters': [*(_parameter(parser, *found) for found in _options(parser)), *_BEAMS],
    }


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Title of its group, and option, of all that say what a job does."""
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.dest not in ('help', 'version', 'list_layouts'):  # after which a program ends
                yield group.title or '', action


def _parameter(parser: argparse.ArgumentParser, group: str, action: argparse.Action) -> dict[str, Any]:
    text = parser._get_formatter()._expand_help(action)
    explained = [text[0].upper() + text[1:]]
    if _is_repeated(action):
        explained.append('Several values are a JSON list: ["one", "two"].')
    found: dict[str, Any] = {
        'name': action.dest,
        'label': action.dest.replace('_', ' ').capitalize(),
        'helpText': '. '.join(explained),
        'isOptional': action.dest not in _NEEDED,
        'regexes': [f'^{_form(action)}$'],
        'paramType': _type(action),
        'groupName': group,
    }
    if action.choices and not _is_repeated(action):
        found['enumOptions'] = [{'value': choice, 'label': choice} for choice in action.choices]
    if found['isOptional'] and isinstance(action.default, str | int):
        found['defaultValue'] = str(action.default).lower() if _is_flag(action) else str(action.default)
    return found


def _is_flag(action: argparse.Action) -> bool:
    return action.nargs == 0


def _is_repeated(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)


def _form(action: argparse.Action) -> str:
    """A regular expression, without its ends, that every value which makes sense matches."""
    if _is_flag(action):
        return '(true|false)'
    if action.choices:
        form = f'({"|".join(map(re.escape, action.choices))})'
    elif action.type is options.positive:
        form = '[1-9][0-9]*'
    elif action.type is options.whole:
        form = '[0-9]+'
    elif action.type is options.content:
        form = _ELSEWHERE
    else:
        form = _FORMS.get(str(action.metavar), _ANYTHING)
    return rf'(\[[\s\S]*\]|{form})' if _is_repeated(action) else form


def _type(action: argparse.Action) -> str:
    if _is_flag(action):
        return 'BOOLEAN'
    if action.choices and not _is_repeated(action):
        return 'ENUM'
    return 'NUMBER' if action.type in (options.positive, options.whole) else 'TEXT'


def arguments(launched: Sequence[str]) -> list[str]:
    """The command line of the program of one that a template is launched with.

    There, a flag is true or false, an option that is repeated a JSON list, and the rest Beam's.

    Raises:
        ValueError: a value is none of these.

    Example:
        >>> arguments(['--input=["a", "b"]', '--dry_run=true', '--region=europe-west1'])
        ['--input=a', '--input=b', '--dry_run', '--', '--region=europe-west1']
    """
    known = {f'--{action.dest}': action for _, action in _options(parquet_to_argilla.parser())}
    ours: list[str] = []
    beams: list[str] = []
    for argument in launched:
        name, _, value = argument.partition('=')
        if name in known:
            ours += _written(name, value, known[name])
        else:
            beams.append(argument)
    return [*ours, '--', *beams]


def _written(name: str, value: str, action: argparse.Action) -> list[str]:
    if _is_flag(action):
        if value not in ('true', 'false'):
            raise ValueError(f'{name}={value}: write true or false')
        return [name] if value == 'true' else []
    return [f'{name}={one}' for one in (_values(value) if _is_repeated(action) else [value])]


def _values(value: str) -> list[str]:
    """Those of a JSON list of texts; anything else, such as a pattern that begins with a bracket, is one by itself."""
    try:
        values = json.loads(value) if value.startswith('[') else None
    except ValueError:
        values = None
    return values if isinstance(values, list) and all(isinstance(one, str) for one in values) else [value]


def command() -> None:
    """The program, with the command line that a template is launched with."""
    try:
        sys.argv[1:] = arguments(sys.argv[1:])
    except ValueError as e:
        sys.exit(f'error: {e}')
    parquet_to_argilla.command()


def shown() -> str:
    """What the file holds."""
    return json.dumps(metadata(), indent=2, ensure_ascii=False) + '\n'


if __name__ == '__main__':
    METADATA.write_text(shown(), encoding='utf-8')
