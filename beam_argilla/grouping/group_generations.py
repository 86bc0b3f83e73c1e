"""`GroupGenerations`: from rows in any order over any number of files to tables in which every group is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam import typehints
from apache_beam.transforms.trigger import AccumulationMode, DefaultTrigger
from apache_beam.utils.windowed_value import WindowedValue

from beam_argilla.coding import GenerationTable, from_ipc, to_ipc
from beam_argilla.errors import BrokenPromiseError, InputError
from beam_argilla.generations import TEXT, InputFacts, group_starts, is_grouped, repeated_ids, repeated_values, together
from beam_argilla.grouping.arrange import Arranged, arrange, failures_of, merge
from beam_argilla.grouping.policies import Order, Policies
from beam_argilla.grouping.spilling import place_to_spill, read_segment, remove_once_read, write_segments
from beam_argilla.metrics import count, timed
from beam_argilla.partitions import split
from beam_argilla.refusing import Fallible, Refused, refuse
from beam_argilla.threads import in_background

# A bundle's rows are written in slices of this size: large enough that what comes with a slice (an IPC header of 1 kB,
# a seek to read it) does not count beside its share of rows, small enough for several bundles in a worker. With 64 MB,
# in no less time, the peak of 2,000,000 rows was 1.22 times that of 200,000; with 32 MB it is 1.09 times.
_BUFFER_BYTES = 32 << 20
# The size of a partition to aim at where the input's size is known, in bytes of Parquet: three to five times as much
# in memory, and again while it is sorted.
_PARTITION_BYTES = 8 << 20
_FEWEST_PARTITIONS, _MOST_PARTITIONS = 16, 4096
_DEFAULT_PARTITIONS = 64  # where it is not known: enough for as many workers, few enough for small inputs


_READ = 'read'  # an output that stays empty: it is complete once all slices were read


class GroupGenerations(Fallible):
    """Brings the rows of each instruction id together.

    Input: PCollection of canonical tables (of `ReadGenerations` or `FormatGenerations`), bounded or windowed.
    Output: PCollection of canonical tables in which every group is whole, its rows adjacent and in an order that
    depends on the data alone: by `position` if there is one, then (model_name, generation). Exact duplicates of
    (model_name, generation) are merged, with the metadata of each; a duplicate that carries another rating, rationale
    or agent is refused.

    What the policies refuse goes to the error handler of `with_error_handler`; without one the pipeline fails.

    With triggers that fire more than once, let them accumulate (`AccumulationMode.ACCUMULATING`): then a late row
    brings its whole group again, and the record is updated; discarding would make a record of the late row alone.

    Args:
        policies: see `Policies`.
        num_partitions: the most workers that can group side by side. A worker holds one partition in memory. Default:
            from the size of the input if `ReadGenerations` saw it, else 64.
        spill_location: a directory on any Beam file system that all workers share. Rows wait in files below it for
            their groups, and the runner shuffles only where they are: memory is then that of one partition, whatever
            the input. The files are removed when the job ends, on Dataflow by the job itself. Default: where workers
            run on this machine (see `workers_run_here`), its temporary directory; elsewhere, the pipeline's
            ``temp_location``. A path of this machine is taken for a disk and gets the rows uncompressed, three to five
            times the Parquet: where /tmp is in memory, name another.
        shuffle: False if groups are whole already, as in wide or clustered input. That is checked before any group goes
            on: wide rows that share an id are refused, and clustered files that are not fail the pipeline. Default:
            shuffle, unless `ReadGenerations` saw that groups are whole.
        spill: False sends rows through the runner's own shuffle, which on this machine holds them in memory. So they go
            as well where there is neither a `spill_location` nor a default for it, and, unless a `spill_location` is
            named, on input that never ends: its files would pile up.
        order: ``given``: by `position` if there is one, then (model_name, generation); of wide rows, that of their
            lists. So one model often stands in the same place of every record, and annotators learn to rate the place.
            ``blind``: by a hash of `seed`, instruction id, model and text, whatever the input says: the same on every
            run, and another in each record.
        seed: another one is another blind order.

    Raises:
        ValueError: an unknown `order`, `num_partitions` is not positive, a `spill_location` with ``spill=False``, or
            windows and triggers with which a record would be overwritten by a part of itself.
        InputError: there is no such file system. (While running) `shuffle=False`, but the tables are of long input.
        JobError: (while running) the spill location cannot be written or read.

    Example:
        >>> groups = tables | ba.GroupGenerations(ba.Policies(max_generations=4), spill_location='gs://bucket/tmp')
    """

    def __init__(
        self,
        policies: Policies | None = None,
        num_partitions: int | None = None,
        spill_location: str | None = None,
        shuffle: bool | None = None,
        spill: bool = True,
        order: str = 'given',
        seed: int = 0,
    ):
        super().__init__()
        if num_partitions is not None and num_partitions < 1:
            raise ValueError(f'num_partitions={num_partitions}: it must be at least 1')
        if spill_location is not None and not spill:
            raise ValueError(
                f'spill=False and spill_location={spill_location!r} contradict each other: give one of them'
            )
        self.order = Order(order, seed)
        self.order.check()
        self.policies = policies or Policies()
        self.num_partitions = num_partitions
        self.spill_location = spill_location
        self.shuffle = shuffle
        self.spill = spill

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        _check_element_type(tables.element_type)
        facts = getattr(tables, 'input_facts', InputFacts())
        partitions = self.num_partitions or partitions_for(facts.num_bytes)
        whole = facts.groups_are_whole if self.shuffle is None else not self.shuffle
        self._check_windowing(tables, whole)
        if not whole:
            merge_them = beam.ParDo(_Merge(self.policies, self.order)).with_outputs(Refused.TAG, _READ, main='groups')
            place, together = _bring_together(tables, partitions, self.spill_location, self.spill)
            grouped = together | 'Merge' >> merge_them
            remove_once_read(place, grouped[_READ])
        else:
            check = RefuseRepeated(partitions, self.spill_location, self.spill)
            checked = tables | 'Check' >> check.with_error_handler(self._error_handler)
            arrange_them = beam.ParDo(_Arrange(self.policies, self.order)).with_outputs(Refused.TAG, main='groups')
            grouped = checked | 'Arrange' >> arrange_them
        self.refuse(grouped[Refused.TAG])
        grouped.groups.element_type = GenerationTable
        grouped.groups.input_facts = InputFacts(metadata=facts.metadata, scores=facts.scores, chat=facts.chat)
        return grouped.groups

    def _check_windowing(self, tables: beam.PCollection, whole: bool) -> None:
        windowing = tables.windowing
        if tables.is_bounded:
            return
        if whole and windowing.is_default():
            raise ValueError('shuffle=False needs an input that ends, or windows, to check that groups are whole.')
        late = windowing.allowed_lateness > 0 or not isinstance(windowing.triggerfn, DefaultTrigger)
        if late and windowing.accumulation_mode != AccumulationMode.ACCUMULATING:
            raise ValueError(
                'A group may fire more than once here, and with accumulation_mode=DISCARDING a late row would '
                'overwrite the record of its group with one of itself. Use AccumulationMode.ACCUMULATING.'
            )

    def display_data(self) -> dict[str, Any]:
        facts = {
            'num_partitions': self.num_partitions,
            'spill_location': self.spill_location,
            'order': self.order.name,
            **vars(self.policies),
        }
        return {name: value for name, value in facts.items() if value is not None}


class RefuseRepeated(Fallible):
    """Refuses the rows of ids that stand in several places, where every group is said to be whole already.

    That is a part of `GroupGenerations` without a shuffle; by itself, it is for input that what is retried joins.

    Input: PCollection of canonical tables of wide or clustered input. Output: the same without those rows.

    What is refused goes to the error handler of `with_error_handler`; without one the pipeline fails.

    Args:
        num_partitions, spill_location, spill: see `GroupGenerations`, for the ids.

    Raises:
        InputError: (while running) the tables are of long input, or not clustered although they are said to be.

    Example:
        >>> rest = tables | ba.LeaveOutRetried(again['origins']) | ba.RefuseRepeated()
    """

    def __init__(self, num_partitions: int | None = None, spill_location: str | None = None, spill: bool = True):
        super().__init__()
        self.num_partitions = num_partitions
        self.spill_location = spill_location
        self.spill = spill

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        facts = getattr(tables, 'input_facts', InputFacts())
        partitions = self.num_partitions or partitions_for(facts.num_bytes)
        ids = facts.ids if facts.ids is not None else tables | 'Ids' >> beam.Map(_ids_of)
        id_tables = ids | 'As tables' >> beam.Map(_as_table)
        place, together = _bring_together(id_tables, partitions, self.spill_location, self.spill)
        repeated = together | 'Repeated' >> beam.ParDo(_Repeated(facts.clustered))
        remove_once_read(place, repeated)
        # A side input is complete before the main input is seen: no group is written of which there is more.
        refuse_them = beam.ParDo(_RefuseRepeated(), beam.pvalue.AsList(repeated))
        checked = tables | 'Refuse' >> refuse_them.with_outputs(Refused.TAG, main='tables')
        self.refuse(checked[Refused.TAG])
        checked.tables.element_type = GenerationTable
        return checked.tables


def _bring_together(
    tables: beam.PCollection, partitions: int, spill_location: str | None, spill: bool
) -> tuple[str | None, beam.PCollection]:
    """canonical tables → where their rows are spilled to, and (partition, addresses of slices, or slices)."""
    may_spill = spill and (tables.is_bounded or spill_location is not None)
    place = place_to_spill(tables.pipeline, spill_location) if may_spill else None
    slices = tables | 'Partition' >> beam.ParDo(_Partition(partitions, place)).with_output_types(tuple[int, Any])
    return place, slices | 'Shuffle' >> beam.GroupByKey()


def partitions_for(num_bytes: int | None) -> int:
    """How many partitions an input of so many bytes of Parquet is cut into."""
    if num_bytes is None:
        return _DEFAULT_PARTITIONS
    return min(max(-(-num_bytes // _PARTITION_BYTES), _FEWEST_PARTITIONS), _MOST_PARTITIONS)


class _Partition(beam.DoFn):
    """canonical table → (partition, slice of the tables buffered), kept apart by window."""

    def __init__(self, num_partitions: int, place: str | None):
        self._num_partitions = num_partitions
        self._place = place

    def start_bundle(self) -> None:
        self._buffers: dict[Any, dict[int, list[pa.Table]]] = {}
        self._timestamps: dict[Any, Any] = {}
        self._bytes = 0
        self._writing: Future[list[WindowedValue]] | None = None

    @timed('group')
    def process(
        self, table: pa.Table, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[WindowedValue]:
        buffer = self._buffers.setdefault(window, {})
        count('rows_spread', table.num_rows)
        for partition, part in split(_canonical(table), 'instruction_id', self._num_partitions):
            buffer.setdefault(partition, []).append(part)
        self._timestamps[window] = max(timestamp, self._timestamps.get(window, timestamp))
        self._bytes += table.nbytes
        if self._bytes >= _BUFFER_BYTES:
            yield from self._flush()

    @timed('group')
    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from self._flush()
        yield from self._written()

    def _flush(self) -> Iterator[WindowedValue]:
        """Has the buffers written while the next tables are read, and yields what was written before."""
        yield from self._written()
        buffers, timestamps = self._buffers, self._timestamps
        self._buffers, self._timestamps, self._bytes = {}, {}, 0
        # Writing (and compressing) needs no Python, so it goes on beside the reading of what comes next.
        self._writing = in_background(self._write, buffers, timestamps)

    def _written(self) -> Iterator[WindowedValue]:
        writing, self._writing = self._writing, None
        return iter(writing.result()) if writing is not None else iter(())

    def _write(self, buffers: dict[Any, dict[int, list[pa.Table]]], timestamps: dict[Any, Any]) -> list[WindowedValue]:
        out = []
        for window, buffer in buffers.items():
            slices = ((partition, together(parts)) for partition, parts in buffer.items())
            if self._place is None:
                elements: Iterator[Any] = ((partition, to_ipc(table)) for partition, table in slices)
            else:
                elements = write_segments(self._place, slices)
            out += [WindowedValue(element, timestamps[window], (window,)) for element in elements]
        return out


def _check_element_type(kind: Any) -> None:
    """Raises InputError where it is known while the pipeline is built that the elements are no tables."""
    if kind is None or isinstance(kind, type(typehints.Any)) or (isinstance(kind, type) and issubclass(kind, pa.Table)):
        return
    raise _not_canonical(getattr(kind, '__name__', str(kind).partition('[')[0]))


def _canonical(table: Any) -> pa.Table:
    if isinstance(table, pa.Table) and 'instruction_id' in table.column_names:
        return table
    raise _not_canonical(f'a table of {table.column_names}' if isinstance(table, pa.Table) else type(table).__name__)


def _not_canonical(kind: str) -> InputError:
    return InputError(
        f'GroupGenerations takes what ReadGenerations or FormatGenerations makes, not {kind}. '
        'Say what your columns are called: WriteToArgilla(columns=ba.Columns(...)), or '
        'ba.FormatGenerations(ba.Columns(...)) before it.'
    )


def _slice(address: Any) -> pa.Table:
    """The slice that travelled, or that stayed at the address that travelled."""
    return from_ipc(address) if isinstance(address, bytes) else read_segment(address)


class _Merge(beam.DoFn):
    """(partition, slices) → a table of whole groups."""

    def __init__(self, policies: Policies, order: Order):
        self._policies = policies
        self._order = order

    @timed('group')
    def process(self, element: tuple[int, Iterable[Any]]) -> Iterator[Any]:
        _, addresses = element
        for output in merge(self._gathered(addresses), self._policies, order=self._order):
            yield from _emit(output)

    def _gathered(self, addresses: Iterable[Any]) -> Iterator[pa.Table]:
        for table in map(_slice, addresses):
            count('rows_gathered', table.num_rows)
            yield table


_REPEATED = (
    'Instruction id {id!r} stands in several rows of wide input, and a record of one would overwrite that of another. '
    'Let them be grouped: shuffle=True, --shuffle.'
)


class _RefuseRepeated(beam.DoFn):
    """A table whose groups are whole already → the same without the groups of which there is more."""

    def process(self, table: pa.Table, repeated: Sequence[str]) -> Iterator[Any]:
        if not is_grouped(_canonical(table)):
            raise InputError(
                'The input is long (a row is a generation), so its groups need the shuffle: shuffle=True (--shuffle). '
                'If the rows of each group are adjacent in its file, ReadGenerations(clustered=True) can do without.'
            )
        if repeated:
            ids = table.column('instruction_id')
            again = pc.is_in(ids, value_set=pa.array(repeated, ids.type))
            if pc.any(again).as_py():
                for name in pc.unique(ids.filter(again)).to_pylist():
                    yield from map(
                        refuse, failures_of(table.filter(pc.equal(ids, name)), 'RepeatedId', _REPEATED, False)
                    )
                table = table.filter(pc.invert(again))
        if table.num_rows:
            yield table


class _Arrange(beam.DoFn):
    """A table of whole groups → the same in order, held to the policies."""

    def __init__(self, policies: Policies, order: Order):
        self._policies = policies
        self._order = order

    @timed('group')
    def process(self, table: pa.Table) -> Iterator[Any]:
        yield from _emit(arrange(table, self._policies, self._order))


def _ids_of(table: pa.Table) -> list[str]:
    """The ids of a table whose groups are whole; those that several rows had, more than once."""
    return [*pc.unique(table.column('instruction_id')).to_pylist(), *repeated_ids(table)]


def _as_table(ids: Sequence[str]) -> pa.Table:
    return pa.table({'instruction_id': pa.array(ids, TEXT)})


class _Repeated(beam.DoFn):
    """(partition, slices of ids) → the ids that come more than once."""

    def __init__(self, promised: bool):
        self._promised = promised

    def process(self, element: tuple[int, Iterable[Any]]) -> Iterator[str]:
        _, addresses = element
        repeated = repeated_values(pa.concat_tables(map(_slice, addresses)).column('instruction_id').combine_chunks())
        if repeated and self._promised:
            raise BrokenPromiseError(
                f'The input is not clustered: the rows of {len(repeated)} or more instruction ids, such as '
                f'{repeated[0]!r}, stand in several places. Read it without clustered=True (--clustered).'
            )
        yield from repeated


def _emit(arranged: Arranged) -> Iterator[Any]:
    for name, number in arranged.counts.items():
        count(name, number)
    yield from map(refuse, arranged.failed)
    if arranged.table.num_rows:
        count('groups_whole', len(group_starts(arranged.table)))
        count('generations_whole', arranged.table.num_rows)
        yield arranged.table
