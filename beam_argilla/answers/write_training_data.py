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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.errors import InputError, JobError
from beam_argilla.files import is_folder, reason, sizes, try_to_write
from beam_argilla.runners import when_ended, workers_run_here

# Format → how the names of its files end.
FORMATS: Mapping[str, str] = {'parquet': '.parquet', 'jsonl': '.jsonl', 'datasets': '.arrow'}
_NAME_IN_FOLDER = 'train'  # which datasets takes for the split
_NAME_IN_DATASET = 'data'  # as datasets calls its own
_ROWS = 2_000  # that are in memory, and of a row group or batch


class WriteTrainingData(beam.PTransform):
    """Writes rows as Parquet, as JSON Lines, or as a folder that `datasets.load_from_disk` opens.

    Input: PCollection of dicts whose columns are known: of `ToPreferencePairs`, `ToKTO`, `ToRatings`, `ToSFT`, or one
    of `ToAnswers`; bounded. Output: the paths of the files.

    Parquet has the features for ``datasets.load_dataset('parquet', data_files=...)`` in its metadata. Where there is no
    row, there is a file without rows, so that what is to be read next finds its columns. The files get their names once
    all of them are there; then those that an earlier run has written at the same place are removed, and no others.
    (Beam's own sinks remove ``dpo-eval-00000-of-00001.parquet`` when they write ``dpo``, and leave what had another
    number of files.)

    Args:
        prefix: the files are ``<prefix>-00000-of-00002.parquet`` (or ``.jsonl``), on any Beam file system; in a folder
            (what ends with a slash, or a directory of this machine), ``train-…``. Of ``datasets``, it is the folder.
        format: ``parquet``, ``jsonl`` or ``datasets``.
        num_shards: how many files at most, for which the rows are shuffled; 0: as many as the runner makes bundles.

    Raises:
        ValueError: an unknown format, a negative number, or the place is empty.
        InputError: it is not known what the rows look like, they never end, or there is no such file system.
        JobError: it cannot be written there: told while the pipeline is built, if its workers run on this machine.

    Example:
        >>> answered | ba.ToPreferencePairs() | ba.WriteTrainingData('gs://bucket/dpo')
    """

    def __init__(self, prefix: str, format: str = 'parquet', num_shards: int = 0):
        super().__init__()
        if format not in FORMATS:
            raise ValueError(f'format={format!r}: use one of {", ".join(map(repr, FORMATS))}')
        if num_shards < 0:
            raise ValueError(f'num_shards={num_shards}: it must not be negative')
        place = os.fspath(prefix)
        if not place.strip():
            raise ValueError('prefix is empty: name a prefix of files, or of datasets the folder')
        in_folder = is_folder(place)  # which tells what file system is not installed
        self.pattern = f'{FileSystems.join(place, _NAME_IN_FOLDER) if in_folder else place}-*{FORMATS[format]}'
        self.prefix = self.pattern.removesuffix(f'-*{FORMATS[format]}')
        if format == 'datasets':
            self.pattern = place
            self.prefix = FileSystems.join(place, _NAME_IN_DATASET)
        self.format = format
        self.num_shards = num_shards

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        schema = getattr(rows, 'training_schema', None)
        if schema is None:
            raise InputError(
                'WriteTrainingData takes what ToPreferencePairs, ToKTO, ToRatings, ToSFT or one of ToAnswers gives, '
                'which say what columns there are; write other rows with beam.io.WriteToParquet.'
            )
        if not rows.is_bounded:
            raise InputError(
                'WriteTrainingData writes what people have answered so far; of answers that go on coming (poll=...), '
                'write each window with beam.io.fileio.WriteToFiles, or read them all later.'
            )
        staged = f'{self.prefix}-{uuid.uuid4().hex}'
        if workers_run_here(rows.pipeline):
            check_writable(self.prefix)
            when_ended(rows.pipeline, functools.partial(_tidy, staged))
        # While they are written, they are in a folder of this run's own. A side input is there before the main input.
        begun = rows.pipeline | 'Once' >> beam.Create([None]) | 'Begin' >> beam.Map(_new_stage, staged)
        stage = beam.pvalue.AsSingleton(begun)
        if self.num_shards:
            shards = rows | 'Shard' >> beam.Map(_sharded, self.num_shards) | beam.GroupByKey() | beam.Values()
            files = shards | 'Write' >> beam.FlatMap(_written, stage, self.format, schema)
        else:
            files = rows | 'Write' >> beam.ParDo(_Write(self.format, schema), stage)
        finish = beam.FlatMap(_finish, stage, self.prefix, self.format, schema)
        return files | 'All' >> beam.combiners.ToList() | 'Finish' >> finish

    def display_data(self) -> dict[str, Any]:
        return {'files': self.pattern, 'format': self.format}


def check_writable(prefix: str) -> None:
    """Raises JobError if files cannot be written there."""
    try:
        try_to_write(f'{prefix}-{uuid.uuid4().hex}.tmp')
    except Exception as e:  # each cloud's client has exceptions of its own
        raise JobError(
            f'Training data cannot be written to {prefix}: {reason(e)}. Name another place (--output), or see to its '
            'permissions and its room.'
        ) from e


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
    folders = {FileSystems.split(path)[0] for path in sizes(f'{glob.escape(staged)}-*.tmp/*')}
    if folders:
        FileSystems.delete(sorted(folders))


def _sharded(row: dict[str, Any], num_shards: int) -> tuple[int, dict[str, Any]]:
    return random.randrange(num_shards), row


class File:
    """A file of rows, of which a few are in memory.

    Args:
        folder: where it goes, under a name of its own.
        format: one of `FORMATS`.
        schema: of the rows.
    """

    def __init__(self, folder: str, format: str, schema: pa.Schema):
        if not FileSystems.exists(folder):
            with contextlib.suppress(OSError):  # another worker was faster
                FileSystems.mkdirs(folder)
        self.path = FileSystems.join(folder, f'{uuid.uuid4().hex}{FORMATS[format]}')
        self._rows: list[dict[str, Any]] = []
        self._schema = schema
        self._file = _create(self.path)
        self._writer: Any = None
        if format == 'parquet':
            self._writer = pq.ParquetWriter(self._file, described_schema(schema))
        elif format == 'datasets':
            self._writer = pa.ipc.new_stream(self._file, schema)

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if self._writer is None:  # times are as datasets' own reader takes them, in ISO form
            self._file.write(b''.join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
        elif rows:
            self._writer.write_table(pa.Table.from_pylist(rows, self._schema))


class _Write(beam.DoFn):
    """Rows → the path of the file that those of a bundle are in."""

    def __init__(self, format: str, schema: pa.Schema):
        self._format = format
        self._schema = schema

    def start_bundle(self) -> None:
        self._file: File | None = None

    def process(self, row: dict[str, Any], stage: str) -> None:
        if self._file is None:
            self._file = File(stage, self._format, self._schema)
        self._file.add(row)

    def finish_bundle(self) -> Iterator[Any]:
        if self._file is not None:
            self._file.close()
            yield GlobalWindows.windowed_value(self._file.path)


def _written(rows: Iterable[dict[str, Any]], stage: str, format: str, schema: pa.Schema) -> Iterator[str]:
    """The path of a file that all the rows are in."""
    file = File(stage, format, schema)
    for row in rows:
        file.add(row)
    file.close()
    yield file.path


def _create(path: str) -> Any:
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _finish(files: list[str], stage: str, prefix: str, format: str, schema: pa.Schema) -> list[str]:
    """Gives the files their names, and makes one dataset of them, in which nothing of an earlier one is left."""
    files = sorted(files) or list(_written([], stage, format, schema))
    end = FORMATS[format]
    named = {path: f'{prefix}-{n:05d}-of-{len(files):05d}{end}' for n, path in enumerate(files)}
    there = set(map(_name, sizes(FileSystems.join(glob.escape(stage), '*'))))
    moved = [path for path in files if _name(path) in there]  # where this is done again, some are in their place
    try:
        FileSystems.rename(moved, [named[path] for path in moved])
    except Exception as e:  # each cloud's client has exceptions of its own
        raise JobError(
            f'What was written cannot get its name: {reason(e)}. It is in {stage}; run the job again, and remove that.'
        ) from e
    names = [_name(path) for path in named.values()]
    if format == 'datasets':
        _describe(FileSystems.split(prefix)[0], names, schema)
    ours = re.compile(rf'{re.escape(_name(prefix))}-\d{{5}}-of-\d{{5}}{re.escape(end)}')
    found = [path for path in sizes(f'{glob.escape(prefix)}-*{end}') if ours.fullmatch(_name(path))]
    if left := [path for path in found if _name(path) not in names]:
        FileSystems.delete(left)
    if FileSystems.exists(stage):  # with what bundles that were repeated have left; object stores have no folders
        FileSystems.delete([stage])
    return list(named.values())


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


def push_to_hub(files: str, format: str, repo_id: str, private: bool = False) -> str:
    """Pushes what was written to the Hugging Face Hub, with the token of the environment (``HF_TOKEN``).

    Args:
        files, format: the `pattern` and the format of `WriteTrainingData`; on this machine.
        repo_id: ``OWNER/NAME`` of the dataset there.
        private: whether only its owner may see it, if it is new.

    Returns:
        Where it is.

    Raises:
        JobError: the Hub does not take it.

    Example:
        >>> ba.push_to_hub('dpo-*.parquet', 'parquet', 'my-team/dpo', private=True)
    """
    import datasets

    if format == 'datasets':
        found = datasets.load_from_disk(files)
    else:
        kind = 'json' if format == 'jsonl' else format
        found = datasets.load_dataset(kind, data_files=files, split='train')
    try:
        return str(found.push_to_hub(repo_id, private=private).repo_url)
    except Exception as e:  # of whatever huggingface_hub is made of
        reason = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise JobError(f'The Hub does not take {repo_id!r}: {reason} Is HF_TOKEN a token that may write there?') from e
