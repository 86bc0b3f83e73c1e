"""`WriteTrainingData`: rows → files that `datasets`, and so the trainers, open."""

from __future__ import annotations

import contextlib
import functools
import glob
import json
import os
import random
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.errors import InputError, JobError
from beam_argilla.files import check_writable, delete, is_folder, is_local, reason, sizes, written_to
from beam_argilla.runners import when_ended, workers_run_here

# Format → how the names of its files end.
FORMATS: Mapping[str, str] = {'parquet': '.parquet', 'jsonl': '.jsonl', 'datasets': '.arrow'}
_NAME_IN_FOLDER = 'train'  # which datasets takes for the split
_NAME_IN_DATASET = 'data'  # as datasets calls its own
# What is in memory of a file, and in a row group or batch of it at most.
_ROWS = 2_000
_CHARACTERS = 32 << 20
_MOST_FILES = 99_999  # whose numbers have five digits


class WriteTrainingData(beam.PTransform):
    """Writes rows as Parquet, as JSON Lines, or as a folder that `datasets.load_from_disk` opens.

    Input: PCollection of dicts whose columns are known; bounded, and whatever its windows, all go into the same files.
    Output: the paths of the files.

    What `ToPreferencePairs`, `ToKTO`, `ToRatings`, `ToSFT` and each of `ToAnswers` give says itself which columns there
    are. Of rows that something else was done to, say it: ``schema=form.schema``.

    Parquet has the features for ``datasets.load_dataset('parquet', data_files=...)`` in its metadata. Where there is no
    row, there is a file without rows, so that what is to be read next finds its columns. The files get their names once
    all of them are there; then those that an earlier run has written at the same place are removed, and no others.
    (Beam's own sinks remove ``dpo-eval-00000-of-00001.parquet`` when they write ``dpo``, and leave what had another
    number of files.)

    Args:
        prefix: the files are ``<prefix>-00000-of-00002.parquet`` (or ``.jsonl``, which a prefix may end with), on any
            Beam file system; in a folder (what ends with a slash, or a directory of this machine), ``train-…``. Of
            ``datasets``, it is the folder.
        format: ``parquet``, ``jsonl`` or ``datasets``.
        num_shards: how many files at most, for which the rows are shuffled; 0: as many as the runner makes bundles.
        schema: the columns of the rows, a `pyarrow.Schema`; a column that a row has not is null. None: what the
            PCollection says of itself.

    Attributes:
        pattern: what exactly its files match, such as ``dpo-?????-of-?????.parquet``; of ``datasets``, the folder.

    Raises:
        ValueError: an unknown format, a number of files that cannot be, or the place is empty.
        InputError: it is not known what the rows look like, they never end, or there is no such file system. (While
            running) a row does not fit the columns.
        JobError: it cannot be written there: told while the pipeline is built, if its workers run on this machine.

    Example:
        >>> form = ba.ToPreferencePairs()
        >>> answered | form | ba.WriteTrainingData('gs://bucket/dpo')
        >>> clear = answered | form | beam.Filter(lambda row: row['chosen_score'] == 5)
        >>> clear | ba.WriteTrainingData('gs://bucket/clear', schema=form.schema)
    """

    def __init__(self, prefix: str, format: str = 'parquet', num_shards: int = 0, schema: pa.Schema | None = None):
        super().__init__()
        if format not in FORMATS:
            raise ValueError(f'format={format!r}: use one of {", ".join(map(repr, FORMATS))}')
        if not 0 <= num_shards <= _MOST_FILES:
            raise ValueError(f'num_shards={num_shards}: it must be 0 (as it comes) to {_MOST_FILES}')
        if schema is not None and not isinstance(schema, pa.Schema):
            raise TypeError(f'schema={schema!r} is no pyarrow.Schema')
        self.place = os.fspath(prefix)
        if not self.place.strip():
            raise ValueError('prefix is empty: name a prefix of files, or of datasets the folder')
        in_folder = is_folder(self.place)
        if format == 'datasets':
            self.prefix = FileSystems.join(self.place, _NAME_IN_DATASET)
            self.pattern = self.place
        else:
            name = self.place.removesuffix(FORMATS[format])
            self.prefix = FileSystems.join(self.place, _NAME_IN_FOLDER) if in_folder else name
            self.pattern = _pattern(self.prefix, format)
        self.format = format
        self.num_shards = num_shards
        self.schema = schema

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        schema = self.schema or getattr(rows, 'training_schema', None)
        if schema is None:
            raise InputError(
                'WriteTrainingData does not know the columns of these rows. What ToPreferencePairs, ToKTO, ToRatings, '
                'ToSFT and each of ToAnswers give says so itself, but not what comes of it by Filter, Flatten or Map: '
                'give it the columns, schema=form.schema, or a pyarrow.Schema of your own.'
            )
        if not rows.is_bounded:
            raise InputError(
                'WriteTrainingData writes what people have answered so far; of answers that go on coming (poll=...), '
                'write each window with beam.io.fileio.WriteToFiles, or read them all later.'
            )
        staged = f'{self.prefix}-{uuid.uuid4().hex}'
        if workers_run_here(rows.pipeline):
            check_writable(f'{staged}.tmp', self.place, *_SAID)
            when_ended(rows.pipeline, functools.partial(_tidy, staged))
        # While they are written, they are in a folder of this run's own. A side input is there before the main input.
        begun = rows.pipeline | 'Once' >> beam.Create([None]) | 'Begin' >> beam.Map(_new_stage, staged)
        stage = beam.pvalue.AsSingleton(begun)
        new_file = functools.partial(File, place=self.place, format=self.format, schema=schema)
        rows = rows | 'All windows' >> beam.WindowInto(GlobalWindows())
        if self.num_shards:
            shards = rows | 'Shard' >> beam.Map(_sharded, self.num_shards) | beam.GroupByKey() | beam.Values()
            files = shards | 'Write' >> beam.FlatMap(_written, stage, new_file)
        else:
            files = rows | 'Write' >> beam.ParDo(_Write(new_file), stage)
        finish = beam.FlatMap(_finish, stage, self.place, self.prefix, self.format, schema)
        return files | 'All' >> beam.combiners.ToList() | 'Finish' >> finish

    def display_data(self) -> dict[str, Any]:
        return {'files': self.pattern, 'format': self.format}


_SAID = ('Training data', '--output')


def _pattern(prefix: str, format: str) -> str:
    """What matches the files of this prefix and no others, not even those of ``<prefix>-eval``."""
    return f'{glob.escape(prefix)}-?????-of-?????{FORMATS[format]}'


def described_schema(schema: pa.Schema) -> pa.Schema:
    """With the features that `datasets` reads in a Parquet file's metadata."""
    import datasets  # type: ignore[import-untyped]

    info = {'info': {'features': datasets.Features.from_arrow_schema(schema).to_dict()}}
    return schema.with_metadata({b'huggingface': json.dumps(info).encode()})


def _new_stage(_: None, staged: str) -> str:
    """A folder beside the files that are to be; of one run, for a template may run several times."""
    return f'{staged}-{uuid.uuid4().hex}.tmp'


def _tidy(staged: str) -> None:
    """Removes what a job has left that came to no good end."""
    delete({f'{FileSystems.split(path)[0]}/' for path in sizes(f'{glob.escape(staged)}-*.tmp/*')})


def _sharded(row: dict[str, Any], num_shards: int) -> tuple[int, dict[str, Any]]:
    return random.randrange(num_shards), row


class File:
    """A file of rows, of which a few are in memory.

    Args:
        folder: where it goes, under a name of its own.
        place: as the user named it.
        format: one of `FORMATS`.
        schema: of the rows.

    Raises:
        InputError: a row does not fit the schema.
        JobError: it cannot be written.
    """

    def __init__(self, folder: str, place: str, format: str, schema: pa.Schema):
        self.path = FileSystems.join(folder, f'{uuid.uuid4().hex}{FORMATS[format]}')
        self._place = place
        self._schema = schema
        self._names = frozenset(schema.names)
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        self._writer: Any = None
        with written_to(place, *_SAID):
            if is_local(folder):
                os.makedirs(folder, exist_ok=True)
            elif not FileSystems.exists(folder):
                with contextlib.suppress(OSError, BeamIOError):  # another worker was faster
                    FileSystems.mkdirs(folder)
            self._file = _create(self.path)
            if format == 'parquet':
                self._writer = pq.ParquetWriter(self._file, described_schema(schema))
            elif format == 'datasets':
                self._writer = pa.ipc.new_stream(self._file, schema)

    def add(self, row: dict[str, Any]) -> None:
        if unknown := row.keys() - self._names:
            raise InputError(
                f'A row has {", ".join(map(repr, sorted(unknown)))}, which the columns of the file do not name: '
                f'{", ".join(self._schema.names)}. Say which columns there are (schema=...).'
            )
        self._rows.append(row)
        self._characters += _characters(row)
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def close(self) -> None:
        self._flush()
        with written_to(self._place, *_SAID):
            if self._writer is not None:
                self._writer.close()
            self._file.close()

    def _flush(self) -> None:
        rows, self._rows, self._characters = self._rows, [], 0
        try:
            table = pa.Table.from_pylist(rows, self._schema)
        except (pa.ArrowException, TypeError, ValueError) as e:
            raise InputError(f'A row does not fit the columns of the file: {e}.') from e
        with written_to(self._place, *_SAID):
            if self._writer is None:  # times are as datasets' own reader takes them, in ISO form
                named = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.to_pylist())
                self._file.write(b''.join(named))
            elif rows:
                self._writer.write_table(table)


def _characters(value: Any) -> int:
    """About how long a value is, of whatever is nested in it; what is no text counts as one."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, (list, tuple)) else 1


NewFile = Callable[[str], File]  # in this folder


class _Write(beam.DoFn):
    """Rows → the path of the file that those of a bundle are in."""

    def __init__(self, new_file: NewFile):
        self._new_file = new_file

    def start_bundle(self) -> None:
        self._file: File | None = None

    def process(self, row: dict[str, Any], stage: str) -> None:
        if self._file is None:
            self._file = self._new_file(stage)
        self._file.add(row)

    def finish_bundle(self) -> Iterator[Any]:
        if self._file is not None:
            self._file.close()
            yield GlobalWindows.windowed_value(self._file.path)


def _written(rows: Iterable[dict[str, Any]], stage: str, new_file: NewFile) -> Iterator[str]:
    """The path of a file that all the rows are in."""
    file = new_file(stage)
    for row in rows:
        file.add(row)
    file.close()
    yield file.path


def _create(path: str) -> Any:
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _finish(files: list[str], stage: str, place: str, prefix: str, format: str, schema: pa.Schema) -> list[str]:
    """Gives the files their names, and makes one dataset of them, in which nothing of an earlier one is left."""
    files = sorted(files)
    if not files:
        empty = File(stage, place, format, schema)
        empty.close()
        files = [empty.path]
    names = {path: f'{prefix}-{n:05d}-of-{len(files):05d}{FORMATS[format]}' for n, path in enumerate(files)}
    _rename(names, stage)
    with written_to(place, *_SAID):
        if format == 'datasets':
            _describe(FileSystems.split(prefix)[0], [_name(path) for path in names.values()], schema)
        own = set(map(_name, names.values()))
        delete(path for path in _there(prefix, format) if _name(path) not in own)
        delete([f'{stage}/'])  # with what bundles that were repeated have left
    return list(names.values())


def _rename(names: Mapping[str, str], stage: str) -> None:
    """Moves files out of the folder in which they were written; where this is done again, some are in their place.

    Raises:
        JobError: one cannot be moved.
    """
    there = set(map(_name, sizes(FileSystems.join(glob.escape(stage), '*'))))
    moved = {path: name for path, name in names.items() if _name(path) in there}
    try:
        FileSystems.rename(list(moved), list(moved.values()))
    except Exception as e:  # each cloud's client has exceptions of its own
        details = e.exception_details if isinstance(e, BeamIOError) else None
        path, name = next(iter(details or moved.items()))
        raise JobError(
            f'{path} cannot be renamed to {name}: {reason(e)}. See to what is there, or name another place '
            f'({_SAID[1]}), and run the job again.'
        ) from e


def _there(prefix: str, format: str) -> list[str]:
    """The files that jobs have written at the prefix."""
    ours = re.compile(rf'{re.escape(_name(prefix))}-\d{{5}}-of-\d{{5}}{re.escape(FORMATS[format])}')
    return [path for path in sizes(_pattern(prefix, format)) if ours.fullmatch(_name(path))]


def _name(path: str) -> str:
    return FileSystems.split(path)[1]


def _describe(folder: str, names: list[str], schema: pa.Schema) -> None:
    """Writes what says that the folder is a dataset of these files."""
    import datasets

    info = datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(schema))
    with tempfile.TemporaryDirectory() as local:
        info.write_to_directory(local)
        described = (Path(local) / 'dataset_info.json').read_bytes()
    state: dict[str, Any] = {
        '_data_files': [{'filename': name} for name in names],
        '_fingerprint': uuid.uuid4().hex[:16],
        '_format_columns': None,
        '_format_kwargs': {},
        '_format_type': None,
        '_output_all_columns': False,
        '_split': None,
    }
    for name, content in (('dataset_info.json', described), ('state.json', orjson.dumps(state))):
        with _create(FileSystems.join(folder, name)) as file:
            file.write(content)


def push_to_hub(files: str, format: str, repo_id: str, private: bool = False, schema: pa.Schema | None = None) -> str:
    """Pushes what was written to the Hugging Face Hub, with the token of the environment (``HF_TOKEN``).

    Args:
        files, format: the `pattern` and the format of `WriteTrainingData`; on this machine.
        repo_id: ``OWNER/NAME`` of the dataset there.
        private: whether only its owner may see it, if it is new.
        schema: the columns of JSON Lines, which do not say them all by themselves. None: what they say.

    Returns:
        Where it is.

    Raises:
        InputError: there is no such file, or no row in JSON Lines.
        JobError: the Hub does not take it.

    Example:
        >>> ba.push_to_hub('dpo-?????-of-?????.parquet', 'parquet', 'my-team/dpo', private=True)
    """
    import datasets

    try:
        if format == 'datasets':
            found = datasets.load_from_disk(files)
        elif format == 'jsonl':
            features = None if schema is None else datasets.Features.from_arrow_schema(schema)
            found = datasets.load_dataset('json', data_files=files, split='train', features=features)
        else:
            found = datasets.load_dataset(format, data_files=files, split='train')
    except Exception as e:  # of whatever datasets is made of
        raise InputError(f'Of {files} nothing can be pushed, datasets says: {_first_line(e)}') from e
    try:
        return str(found.push_to_hub(repo_id, private=private).repo_url)
    except Exception as e:  # of whatever huggingface_hub is made of
        raise JobError(
            f'The Hub does not take {repo_id!r}: {_first_line(e)} Is HF_TOKEN a token that may write there?'
        ) from e


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
