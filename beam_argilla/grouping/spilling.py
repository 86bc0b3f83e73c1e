"""Slices of tables in files, where they wait for their groups: only where they lie is shuffled."""

from __future__ import annotations

import errno
import functools
import logging
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.transforms.window import GlobalWindows

from beam_argilla.coding import from_ipc
from beam_argilla.errors import InputError, JobError
from beam_argilla.files import delete, is_local, open_file, reason
from beam_argilla.runners import jobs_outlive_their_launch, when_ended, workers_run_here

_LOGGER = logging.getLogger(__name__)

# Spilled slices are written and read once: on a local disk, compressing them (lz4, to a third) took 0.17 of the whole
# time and CPU; over a network fewer bytes are worth that.
_SPILLED_LOCALLY = pa.ipc.IpcWriteOptions(compression=None)
_SPILLED = pa.ipc.IpcWriteOptions(compression='lz4')
# Chunks smaller than this are joined before they are spilled, for each would be an IPC batch with a header of 1 kB.
_SMALL_PART_BYTES = 64 << 10


def place_to_spill(pipeline: beam.Pipeline, location: str | None = None) -> str | None:
    """Where the rows of a pipeline wait for their groups: a directory of its own, which is removed when its job ends.

    That takes the process that started the job; see also `remove_once_read`.

    Args:
        location: the directory to make it in. Default: the temporary directory of this machine, if the workers run here
            and see it, else the pipeline's ``temp_location``.

    Returns:
        None if there is no place that the workers share: rows go through the runner's shuffle then.

    Raises:
        InputError: the location is one of a file system that is not installed, or on a disk of this machine, of which
            Dataflow's workers have none in common. (Those of others may have mounted one.)
    """
    if location is None:
        temporary = pipeline.options.view_as(GoogleCloudOptions).temp_location  # whatever the runner
        location = tempfile.gettempdir() if workers_run_here(pipeline) else temporary
    if location is None:
        return None
    if is_local(location) and jobs_outlive_their_launch(pipeline):
        raise InputError(
            f'Rows cannot wait for their groups in {location}: workers on Dataflow share no disk. Name a place that '
            'they do (--spill_location gs://BUCKET/tmp; by default, it is --temp_location).'
        )
    place = FileSystems.join(location, f'beam-argilla-spill-{uuid.uuid4().hex}')
    when_ended(pipeline, functools.partial(_remove, place))
    return place


def remove_once_read(place: str | None, read: beam.PCollection) -> None:
    """Has the job remove the place itself once it was read, where nobody else may be there to do so.

    A side input is complete before the main input is seen, and Dataflow repeats no bundle of a stage that is complete.
    Other runners may, so there the process that started the job sees to it.

    Args:
        read: an output of the step that reads what was spilled; it may be empty.
    """
    if place is not None and read.is_bounded and jobs_outlive_their_launch(read.pipeline):
        all_read = read | 'All read' >> beam.WindowInto(GlobalWindows())
        spilled = read.pipeline | 'Spilled' >> beam.Create([place])
        _ = spilled | 'Remove spilled' >> beam.ParDo(_Remove(), beam.pvalue.AsIter(all_read))


class _Remove(beam.DoFn):
    def process(self, place: str, _: Iterable[object]) -> None:
        _remove(place)


def _remove(place: str) -> None:
    try:
        delete([f'{place}/'])
    except Exception as e:  # the job has ended, and how it ended is what counts
        _LOGGER.warning('What was spilled to %s could not be removed (%s): remove it by hand.', place, reason(e))


class Segment(NamedTuple):
    """Where a spilled slice lies: bytes `offset` to `offset + length` of the file."""

    path: str
    offset: int
    length: int


def write_segments(location: str, slices: Iterable[tuple[int, pa.Table]]) -> Iterator[tuple[int, Segment]]:
    """Writes the slices to one new file and yields where each lies, once all of it is on disk.

    A bundle that is repeated writes another file; what the first one wrote is never read.

    Raises:
        JobError: the file cannot be written.
    """
    path = FileSystems.join(location, f'{uuid.uuid4().hex}.arrows')
    options = _SPILLED_LOCALLY if is_local(location) else _SPILLED
    segments = []
    offset = 0
    try:
        if not FileSystems.exists(location):
            _make(location)
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            for partition, table in slices:
                with pa.ipc.new_stream(file, table.schema, options=options) as writer:
                    writer.write_table(_joined(table))
                end = file.tell()
                segments.append((partition, Segment(path, offset, end - offset)))
                offset = end
    except (OSError, BeamIOError) as e:
        full = isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)
        why = 'has no room left' if full else f'cannot be written to ({e})'
        raise JobError(
            f'The spill location {location} {why}. It needs about as much room as the columns that are read take in '
            'memory (several times their Parquet): name a roomier place (spill_location, --spill_location).'
        ) from e
    return iter(segments)


def read_segment(segment: Segment) -> pa.Table:
    """The slice of a segment.

    Raises:
        JobError: the file is gone or damaged.
    """
    path, offset, length = segment
    try:
        with open_file(path) as file:
            file.seek(offset)
            stream = file.read(length)
    except (OSError, BeamIOError) as e:
        raise JobError(
            f'The spill file {path} cannot be read ({e}). Was the spill location cleaned up while the job ran, or is '
            'it a local directory that other workers cannot see? Name one that they share, and run the job again.'
        ) from e
    try:
        if len(stream) < length:
            raise pa.ArrowInvalid(f'{len(stream)} of {length} bytes are there')
        return from_ipc(stream)
    except (pa.ArrowException, OSError) as e:
        raise JobError(f'The spill file {path} is damaged at byte {offset} ({e}). Run the job again.') from e


def _joined(table: pa.Table) -> pa.Table:
    """The table, its chunks copied together if they are small."""
    small = table.nbytes < _SMALL_PART_BYTES * table.column(0).num_chunks
    return table.combine_chunks() if small else table


def _make(location: str) -> None:
    if is_local(location):
        os.makedirs(location, 0o700, exist_ok=True)  # the rows are nobody else's business
        return
    try:
        FileSystems.mkdirs(location)
    except (OSError, BeamIOError):  # another worker was first
        if not FileSystems.exists(location):
            raise
