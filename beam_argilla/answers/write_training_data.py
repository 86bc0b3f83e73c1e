"""`WriteTrainingData`: rows → files that `datasets`, and so the trainers, open."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_argilla.errors import InputError, JobError

FORMATS = ('parquet', 'jsonl', 'datasets')
_TABLE_ROWS = 10_000


class WriteTrainingData(beam.PTransform):
    """Writes rows as Parquet, as JSON Lines, or as a folder that `datasets.load_from_disk` opens.

    Input: PCollection of dicts whose columns are known: of `ToPreferencePairs`, `ToKTO`, `ToRatings`, `ToSFT`, or one
    of `ToAnswers`. Output: the paths of the files.

    Parquet has the features for ``datasets.load_dataset('parquet', data_files=...)`` in its metadata. Where there is no
    row, there is a file without rows, so that what is to be read next finds its columns.

    Args:
        prefix: the files are ``<prefix>-00000-of-00002.parquet`` (or ``.jsonl``), on any Beam file system; of
            ``datasets``, the folder.
        format: ``parquet``, ``jsonl`` or ``datasets``.
        num_shards: how many files; 0: as many as the runner makes.

    Raises:
        ValueError: an unknown format, or a folder that is there already.
        InputError: it is not known what the rows look like.

    Example:
        >>> answered | ba.ToPreferencePairs() | ba.WriteTrainingData('gs://bucket/dpo')
    """

    def __init__(self, prefix: str, format: str = 'parquet', num_shards: int = 0):
        super().__init__()
        if format not in FORMATS:
            raise ValueError(f'format={format!r}: use one of {", ".join(map(repr, FORMATS))}')
        self.prefix = os.fspath(prefix)
        self.format = format
        self.num_shards = num_shards

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        schema = getattr(rows, 'training_schema', None)
        if schema is None:
            raise InputError(
                'WriteTrainingData takes what ToPreferencePairs, ToKTO, ToRatings, ToSFT or one of ToAnswers gives, '
                'which say what columns there are; write other rows with beam.io.WriteToParquet.'
            )
        if self.format == 'jsonl':
            lines = rows | 'As JSON' >> beam.Map(_json)
            return lines | beam.io.WriteToText(self.prefix, '.jsonl', num_shards=self.num_shards)
        tables = (
            rows
            | 'Batch' >> beam.BatchElements(min_batch_size=100, max_batch_size=_TABLE_ROWS)
            | 'As tables' >> beam.Map(_table, schema)
        )
        if self.format == 'parquet':
            described = described_schema(schema)
            return tables | beam.io.parquetio.WriteToParquetBatched(
                self.prefix, described, file_name_suffix='.parquet', num_shards=self.num_shards
            )
        few = tables | 'Few files' >> beam.Reshuffle(self.num_shards) if self.num_shards else tables
        files = few | 'Write' >> beam.ParDo(_WriteArrow(self.prefix, schema))
        return files | 'All' >> beam.combiners.ToList() | 'Finish' >> beam.FlatMap(_finish, self.prefix, schema)


def described_schema(schema: pa.Schema) -> pa.Schema:
    """With the features that `datasets` reads in a Parquet file's metadata."""
    import datasets  # type: ignore[import-untyped]

    info = {'info': {'features': datasets.Features.from_arrow_schema(schema).to_dict()}}
    return schema.with_metadata({b'huggingface': json.dumps(info).encode()})


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema)


def _json(row: dict[str, Any]) -> str:
    return orjson.dumps(row).decode()  # times as datasets' own reader takes them, in ISO form


class _WriteArrow(beam.DoFn):
    """Tables → the file that those of a bundle are in."""

    def __init__(self, folder: str, schema: pa.Schema):
        self._folder = folder
        self._schema = schema

    def start_bundle(self) -> None:
        self._tables: list[pa.Table] = []

    def process(self, table: pa.Table) -> Iterator[tuple[str, int]]:
        self._tables.append(table)
        if sum(t.nbytes for t in self._tables) >= _FILE_BYTES:
            yield self._write()

    def finish_bundle(self) -> Iterator[Any]:
        if self._tables:
            yield beam.transforms.window.GlobalWindows.windowed_value(self._write())

    def _write(self) -> tuple[str, int]:
        tables, self._tables = self._tables, []
        return write_arrow(self._folder, self._schema, tables)


_FILE_BYTES = 256 << 20


def write_arrow(folder: str, schema: pa.Schema, tables: list[pa.Table]) -> tuple[str, int]:
    """Name and number of bytes of a file of them, in the folder."""
    name = f'data-{uuid.uuid4().hex}.arrow'
    FileSystems.mkdirs(folder) if not FileSystems.exists(folder) else None
    with _create(FileSystems.join(folder, name)) as file, pa.ipc.new_stream(file, schema) as stream:
        for table in tables:
            stream.write_table(table)
    return name, sum(table.nbytes for table in tables)


def _create(path: str) -> Any:
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _finish(files: list[tuple[str, int]], folder: str, schema: pa.Schema) -> Iterator[str]:
    """Writes what says that the folder is a dataset; the paths of its files."""
    import datasets

    if not files:
        files = [write_arrow(folder, schema, [schema.empty_table()])]
    info = datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(schema))
    with tempfile.TemporaryDirectory() as local:
        info.write_to_directory(local)
        described = (Path(local) / 'dataset_info.json').read_bytes()
    state: dict[str, Any] = {
        '_data_files': [{'filename': name} for name, _ in sorted(files)],
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
    yield from (FileSystems.join(folder, name) for name, _ in sorted(files))


def push_to_hub(place: str, format: str, repo_id: str, private: bool = False) -> str:
    """Pushes what was written to the Hugging Face Hub, with the token of the environment (``HF_TOKEN``).

    Args:
        place, format: the prefix, and the format, as `WriteTrainingData` was told; on this machine.
        repo_id: ``OWNER/NAME`` of the dataset there.
        private: whether only its owner may see it, if it is new.

    Returns:
        Where it is.

    Raises:
        JobError: the Hub does not take it.
    """
    import datasets

    if format == 'datasets':
        found = datasets.load_from_disk(place)
    else:
        kind = 'json' if format == 'jsonl' else format
        found = datasets.load_dataset(kind, data_files=f'{place}-*.{format}', split='train')
    try:
        return str(found.push_to_hub(repo_id, private=private).repo_url)
    except Exception as e:  # of whatever huggingface_hub is made of
        reason = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise JobError(f'The Hub does not take {repo_id!r}: {reason} Is HF_TOKEN a token that may write there?') from e
