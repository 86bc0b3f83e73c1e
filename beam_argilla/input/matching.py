"""Paths, folders and patterns → the files that they stand for, each once. No Beam pipeline here."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_argilla.errors import InputError
from beam_argilla.files import is_local, pinned
from beam_argilla.input.kinds import FORMATS, kind_by_name
from beam_argilla.input.saved import data_folder

_LOGGER = logging.getLogger(__name__)
# What lies beside data and says something about it: of datasets, models, evaluations.
_ABOUT_DATA = re.compile(
    r'(.*[._-])?(metadata|infos?|dict|state|config|schema|index|stats|manifest|results?_?summary)\.json', re.IGNORECASE
)
# What Hive and Spark write for null.
_NULL = '__HIVE_DEFAULT_PARTITION__'
_SEVERAL_READINGS = 6  # components of a path with brackets: each may be a name or a pattern


def patterns_of(given: Any) -> list[str]:
    """One path or pattern, or several, as Beam finds files by them.

    Raises:
        InputError: it is something else, or nothing.
    """
    several = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(several, Sequence) or not all(isinstance(p, (str, os.PathLike)) for p in several):
        raise InputError(
            f'ReadGenerations takes file patterns, not a {type(given).__name__}. Rows and data frames that you have in '
            'Python go in as elements: p | beam.Create([frame]) | ba.WriteToArgilla(columns=ba.Columns(...), ...).'
        )
    if not several:
        raise InputError('No input: name at least one file, folder or file pattern.')
    return [_findable(os.fspath(pattern)) for pattern in several]


def _findable(pattern: str) -> str:
    """Beam finds no file for a pattern without any folder, such as ``*.parquet``; nor those of a URL or of ``~``."""
    pattern = os.path.expanduser(pattern.removeprefix('file://'))
    return pattern if os.path.dirname(pattern) else os.path.join('.', pattern)


def matching_files(
    patterns: Sequence[str], format: str | None = None, config: str | None = None, split: str | None = None
) -> list[Any]:
    """Metadata of the files, each once, by the first path that leads to it; every pattern must match some.

    A folder stands for the files of a known kind in it and below (of several kinds, for those of the first of
    `FORMATS`), but for hidden ones (``_temporary``, ``.part``) and those about the data (``dataset_info.json``).
    Brackets that are in the name of what is there are a name, not a pattern; on this machine, so are ``*`` and ``?``.

    Args:
        format: the kind that is looked for in folders; None: any.
        config: of a folder that distilabel saved, which configuration.
        split: of a folder that datasets saved, which split.

    Raises:
        InputError: a pattern matches no file.
    """
    files: dict[str, Any] = {}
    for pattern in map(pinned, patterns):
        for file in _files_of(pattern, format, config, split):
            files.setdefault(_identity(file.path), file)
    return sorted(files.values(), key=lambda file: file.path)


def _identity(path: str) -> Any:
    """Equal for paths to one file that mean the same: a link in a folder ``column=value`` says something else."""
    return (os.path.realpath(path), *columns_in_path(os.path.abspath(path)).items()) if is_local(path) else path


def _files_of(pattern: str, format: str | None, config: str | None, split: str | None) -> list[Any]:
    for reading in _readings(pattern):
        found = [file for file in _match(reading) if not _is_marker(file.path)]
        if found:
            return found
    folder = pattern.rstrip('/')
    for reading in _readings(folder):
        saved = data_folder(reading, config, split)
        if saved is not None:
            return [
                file for file in _match(f'{saved}/*.arrow') if not file.path.rsplit('/', 1)[-1].startswith('cache-')
            ]
    if config is not None or split is not None:
        name = 'config' if split is None else 'split'
        raise InputError(f'{pattern!r} is no folder that datasets saved, so {name}=... (--{name}) means nothing to it.')
    for reading in _readings(folder):
        below = _match(f'{reading}/**')
        if below:
            return _data_files(below, folder, format)
    if os.path.isdir(folder):
        raise InputError(f'The folder {pattern!r} is empty.')
    raise InputError(f'No file matches {pattern!r}: name files, folders of them, or patterns such as FOLDER/*.parquet.')


def _data_files(files: Sequence[Any], folder: str, format: str | None) -> list[Any]:
    depth = folder.count('/') + 1
    kinds: dict[str, list[Any]] = {}
    for file in files:
        parts = file.path.split('/')[depth:]
        kind = kind_by_name(file.path)
        if (
            kind is not None
            and format in (None, kind)
            and not _is_hidden(parts)
            and not _ABOUT_DATA.fullmatch(parts[-1])
        ):
            kinds.setdefault(kind, []).append(file)
    if not kinds:
        known = format or ', '.join(FORMATS)
        raise InputError(f'The folder {folder!r} has no files of a known kind ({known}); name others by a pattern.')
    first, *others = (kind for kind in FORMATS if kind in kinds)
    if others:
        _LOGGER.warning(
            'The folder %s has files of several kinds: those of %s are read, those of %s are not. Name them by a '
            'pattern, or say which (format=..., --format).',
            folder,
            first,
            ' and '.join(others),
        )
    return kinds[first]


def _match(pattern: str) -> list[Any]:
    if is_local(pattern) and os.path.isdir(pattern):  # Beam finds a folder as if it were a file
        return []
    try:
        (result,) = FileSystems.match([pattern])
    except BeamIOError as e:
        raise InputError(f'The files of {pattern!r} cannot be listed: {e}') from e
    return result.metadata_list


def _readings(pattern: str) -> Iterator[str]:
    """The pattern with what may be a name taken as one, and, where that is not there, as a pattern."""
    local, parts = is_local(pattern), pattern.split('/')
    doubtful = [i for i in range(len(parts)) if _may_be_name(parts[: i + 1], local)][:_SEVERAL_READINGS]
    for are_names in itertools.product((True, False), repeat=len(doubtful)):
        read = list(parts)
        for i, is_name in zip(doubtful, are_names, strict=True):
            if is_name:
                read[i] = re.sub(r'[\[?*]', r'[\g<0>]', read[i])
        yield '/'.join(read)


def _may_be_name(parts: Sequence[str], local: bool) -> bool:
    """Whether the last part of a path, which could be a pattern, may be the name of what is there.

    Brackets are in names more often than one thinks, and can be looked for anywhere; ``*`` and ``?`` are in most
    patterns and hardly in a name, so it is only asked for where asking costs nothing.
    """
    return '[' in parts[-1] or (local and not {'*', '?'}.isdisjoint(parts[-1]) and os.path.lexists('/'.join(parts)))


def _is_marker(path: str) -> bool:
    """Whether it is a file that engines leave beside the data."""
    name = path.rsplit('/', 1)[-1]
    return name in ('_SUCCESS', '_metadata', '_common_metadata') or (name.startswith('.') and name.endswith('.crc'))


def _is_hidden(parts: Sequence[str]) -> bool:
    """Whether one of the folders on the way, or the file, is one that engines keep for themselves."""
    *folders, name = parts
    return name.startswith('.') or any(f.startswith(('.', '_')) and '=' not in f for f in folders)


def columns_in_path(path: str) -> dict[str, str | None]:
    """Column → value of the folders of a path that are called ``column=value``, as Hive, Spark and datasets do."""
    found: dict[str, str | None] = {}
    for folder in path.split('/')[:-1]:
        name, equals, value = folder.partition('=')
        if equals and name:
            found[_unquoted(name)] = None if value == _NULL else _unquoted(value)
    return found


def _unquoted(text: str) -> str:
    """What the text stands for; itself where it stands for no UTF-8, lest two values become one."""
    try:
        return unquote(text, errors='strict')
    except UnicodeDecodeError:
        return text
