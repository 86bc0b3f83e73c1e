"""`WriteFailed`: what was refused → files of JSON lines, from which `ReadFailed` sends it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pipeline import PipelineVisitor
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.errors import JobError
from beam_argilla.failed_files import (
    SUFFIX,
    Shard,
    check_writable,
    name_of,
    new_run,
    new_shard,
    prefix_of,
    shards,
    written,
)
from beam_argilla.failures import FailedRecord
from beam_argilla.files import delete, identity, is_local, write
from beam_argilla.input.failed import ReadFailed
from beam_argilla.runners import workers_run_here

# An object of a store is there once it is written to its end. (Lines on this machine are written one by one.)
_OBJECT_BYTES = 1 << 20


class WriteFailed(beam.PTransform):
    """Writes FailedRecords as JSON lines to files ``<prefix>-<run>-<shard>.jsonl``, on any Beam file system.

    They are written while the job runs, so that one that dies has left what it refused; some lines may then stand in
    two files, of a bundle that was repeated. When the job ends well, each stands there once. (On input that never ends,
    repeated bundles leave theirs.) Nothing else is written beside them, and nothing at all if nothing was refused.

    Files that an earlier run has written at the prefix are removed once the job is at work; if this pipeline reads some
    of them (`ReadFailed`, applied before this), those that it read, when it has ended well. No other file is touched.
    Jobs that run at the same time need places of their own: one whose files were removed by another fails at its end.

    Input: PCollection of `FailedRecord`. Output: the paths of the files.

    Args:
        place: the prefix of the files; or a folder (what ends with a slash, a bucket, or a directory of this machine),
            whose files are then called ``failed-…``.

    Raises:
        JobError: it cannot be written there: told while the pipeline is built, if its workers run on this machine.
            (While running) a file of this job was removed before its end.
        InputError: the place is one of a file system that is not installed.
        ValueError: the place is empty.

    Example:
        >>> result = rows | ba.WriteToArgilla('answers', task=task, connection=connection, columns=ba.Columns())
        >>> result.failed | ba.WriteFailed('gs://bucket/failed')
    """

    def __init__(self, place: str):
        super().__init__()
        self.prefix = prefix_of(place)
        self.pattern = f'{self.prefix}-*{SUFFIX}'

    def expand(self, failed: beam.PCollection) -> beam.PCollection:
        p = failed.pipeline
        if workers_run_here(p):
            check_writable(self.prefix)
        read = _read_in(p)
        again = [path for path in shards(self.prefix) if identity(path) in read]
        run = _Run(self.prefix, new_run(), frozenset(map(name_of, again)))
        # Without a side input, so that runners write in the very stage that refuses. Flink keeps each output of a stage
        # apart, with 16 MB of its network's memory where two of them meet again.
        written = [
            source
            | f'In one window {i}' >> beam.WindowInto(GlobalWindows())
            | f'Write {i}' >> beam.ParDo(_Write(run)).with_output_types(tuple[str, int])
            for i, source in enumerate(_sources(failed))
        ]
        sizes = written | 'Written' >> beam.Flatten(pipeline=p)
        if failed.is_bounded:
            _ = p | 'At the end' >> beam.Create([None]) | 'End' >> beam.ParDo(_End(run), beam.pvalue.AsIter(sizes))
        return sizes | 'Paths' >> beam.Keys()

    def display_data(self) -> dict[str, Any]:
        return {'files': self.pattern}


def _sources(failed: beam.PCollection) -> Iterator[beam.PCollection]:
    """The PCollections that were flattened into this one.

    Runners may collect the output of a Flatten until all its inputs are complete, and a job that dies before would
    have written nothing. What each of its inputs brings is written by the very bundle that refuses it.
    """
    if isinstance(failed.producer.transform, beam.Flatten):
        for source in failed.producer.inputs:
            yield from _sources(source)
    else:
        yield failed


def _read_in(pipeline: beam.Pipeline) -> set[str]:
    """The identities of the files of what was refused that the transforms of the pipeline so far send again."""
    found: set[str] = set()

    class Readers(PipelineVisitor):
        def enter_composite_transform(self, node: Any) -> None:
            if isinstance(node.transform, ReadFailed):
                found.update(map(identity, node.transform.files))

    pipeline.visit(Readers())
    return found


class _Run(NamedTuple):
    """What this job does with the files at its prefix.

    Attributes:
        prefix: of its files, and of those of others.
        name: of the run.
        again: the names of the files that it reads, which it replaces when it has ended well, and leaves all others.
    """

    prefix: str
    name: str
    again: frozenset[str]

    def replaces(self, path: str, shard: Shard) -> bool:
        """Whether the file is one of those in whose place come this run's."""
        return name_of(path) in self.again if self.again else shard.run != self.name


class _Write(beam.DoFn):
    """FailedRecords → path and size of the files they are in; each file is of one bundle."""

    def __init__(self, run: _Run):
        self._run = run
        self._most = 0 if is_local(run.prefix) else _OBJECT_BYTES
        self._lines: list[bytes] = []

    def setup(self) -> None:
        """Removes what earlier runs have left, unless it is still to be read."""
        prefix = self._run.prefix
        if not self._run.again:
            _remove(prefix, [path for path, shard in shards(prefix).items() if self._run.replaces(path, shard)])

    def start_bundle(self) -> None:
        self._sizes: dict[str, int] = {}
        self._lines, self._bytes = [], 0

    def process(self, failed: FailedRecord) -> None:
        self._lines.append(FailedRecord.to_json(failed).encode() + b'\n')
        self._bytes += len(self._lines[-1])
        if self._bytes > self._most:
            self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._flush()
        for path_and_size in self._sizes.items():
            yield WindowedValue(path_and_size, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        self._flush()  # of a bundle that has failed: elsewhere nothing is left to write

    def _flush(self) -> None:
        if not self._lines:
            return
        lines, self._lines, self._bytes = self._lines, [], 0
        data = b''.join(lines)
        prefix, run, _ = self._run
        path = new_shard(prefix, run) if self._most or not self._sizes else next(iter(self._sizes))
        with written(prefix):
            write(path, data)
        self._sizes[path] = self._sizes.get(path, 0) + len(data)


class _End(beam.DoFn):
    """Sees that all is there, and removes what bundles wrote that were repeated, and what this job has replaced."""

    def __init__(self, run: _Run):
        self._run = run

    def process(self, _: None, sizes: Iterable[tuple[str, int]]) -> None:
        run = self._run
        own = {name_of(path): size for path, size in sizes}
        there = {name_of(path): (path, shard) for path, shard in shards(run.prefix).items()}
        lost = [name for name, size in own.items() if name not in there or there[name][1].num_bytes != size]
        if lost:
            raise JobError(
                f'What this job has refused is not all there any more: {sorted(lost)[0]} was removed from '
                f'{run.prefix}-*{SUFFIX} while the job ran, as another job with the same --failed does when it '
                'begins. Give each job a place of its own, and run this one again.'
            )
        done = [
            path
            for name, (path, shard) in there.items()
            if name not in own and (shard.run == run.name or run.replaces(path, shard))
        ]
        _remove(run.prefix, done)


def _remove(prefix: str, paths: Iterable[str]) -> None:
    """Removes files, which another job may do at the same time."""
    with written(prefix):
        delete(sorted(paths))
