"""Any input size: spilled slices, skewed groups, clustered files, bad files, and input that never ends."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, window
from apache_beam.transforms.error_handling import ErrorHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla import _files, _groups, _shuffle, grouping
from beam_argilla._groups import arrange, merge
from beam_argilla.errors import BrokenPromiseError, InputError, JobError
from beam_argilla.grouping import partitions_for
from tests.samples import COLUMNS, canonical, counters, pipeline, rows


def write(folder: Path, elements: list[dict], files: int, row_group_size: int = 1000) -> str:
    for i in range(files):
        pq.write_table(pa.Table.from_pylist(elements[i::files]), folder / f'{i}.parquet', row_group_size=row_group_size)
    return str(folder / '*.parquet')


def content(table: pa.Table) -> list[tuple]:
    return [(r['instruction_id'], r['model_name'], r['generation'], r['rating']) for r in table.to_pylist()]


# -- spilled slices


@pytest.mark.parametrize('buffer_bytes', [1, 1 << 30])
@pytest.mark.parametrize('small_part_bytes', [0, 1 << 30], ids=['as they are', 'joined'])
@pytest.mark.parametrize('local', [True, False], ids=['local', 'remote'])
def test_spilled_or_not_the_groups_are_the_same(tmp_path, monkeypatch, buffer_bytes, small_part_bytes, local):
    monkeypatch.setattr(grouping, '_BUFFER_BYTES', buffer_bytes)
    monkeypatch.setattr(_shuffle, '_SMALL_PART_BYTES', small_part_bytes)
    for module in (_shuffle, _files):  # another file system is read and written through Beam's, and compressed
        monkeypatch.setattr(module, 'is_local', lambda path: local)
    elements = rows(200)
    random.Random(5).shuffle(elements)
    pattern = write(tmp_path, elements, files=5, row_group_size=30)
    spill = tmp_path / 'spill' / 'here'
    expected = content(arrange(canonical(rows(200)), ba.Policies()).table)
    for location in (None, str(spill)):
        with pipeline() as p:
            groups = p | ba.ReadGenerations(pattern, COLUMNS) | ba.GroupGenerations(spill_location=location)
            assert_that(groups | beam.FlatMap(content), equal_to(expected))
    files = list(spill.iterdir())
    assert files
    assert all(f.suffix == '.arrows' for f in files)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.text('ab', max_size=2), st.sampled_from(['m', 'n', None])), min_size=1),
    st.integers(1, 7),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_into_files_and_any_partition_count_gives_the_same_groups(tmp_path, elements, partitions, files, rng):
    given_rows = [
        {'instruction_id': i, 'instruction': 'x', 'generation': g, 'model_name': m, 'rating': 1} for i, g, m in elements
    ]
    rng.shuffle(given_rows)
    for old in tmp_path.glob('*.parquet'):
        old.unlink()
    pattern = write(tmp_path, given_rows, min(files, len(given_rows)), row_group_size=3)
    expected = {(str(i), m, g, '1') for i, g, m in elements}
    for location in (None, str(tmp_path / 'spill')):
        with pipeline() as p:
            grouping_ = ba.GroupGenerations(num_partitions=partitions, spill_location=location)
            groups = p | ba.ReadGenerations(pattern, COLUMNS) | grouping_
            assert_that(groups | beam.FlatMap(content), equal_to(sorted(expected, key=str)))


def test_a_repeated_bundle_writes_a_new_file(tmp_path):
    parts = [(0, canonical(rows(1)))]
    first, second = (list(_shuffle.write_segments(str(tmp_path), parts)) for _ in range(2))
    assert first[0][1].path != second[0][1].path
    assert _shuffle.read_segment(first[0][1]).equals(_shuffle.read_segment(second[0][1]))


def test_a_full_disk_a_vanished_file_and_a_damaged_one_are_told_apart(tmp_path, monkeypatch):
    ((_, segment),) = _shuffle.write_segments(str(tmp_path), [(0, canonical(rows(50)))])
    whole = Path(segment.path).read_bytes()
    Path(segment.path).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match=r'is damaged at byte 0 .*bytes are there.*Run the job again'):
        _shuffle.read_segment(segment)
    Path(segment.path).write_bytes(b'x' * len(whole))
    with pytest.raises(JobError, match='is damaged at byte 0'):
        _shuffle.read_segment(segment)
    Path(segment.path).unlink()
    with pytest.raises(JobError, match=r'cannot be read .*cleaned up while the job ran'):
        _shuffle.read_segment(segment)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(_shuffle.FileSystems, 'create', full)
    with pytest.raises(JobError, match=r'has no room left.*--spill_location'):
        list(_shuffle.write_segments(str(tmp_path), [(0, canonical(rows(1)))]))


def test_a_spill_location_that_cannot_be_made_fails_the_pipeline_with_its_name(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    pattern = write(tmp_path, rows(3), 1)
    with pytest.raises(JobError, match=r'spill location .*file/below cannot be written to'), pipeline() as p:
        grouping_ = ba.GroupGenerations(spill_location=str(tmp_path / 'file' / 'below'))
        _ = p | ba.ReadGenerations(pattern, COLUMNS) | grouping_


def test_the_number_of_partitions_follows_the_size_of_the_input():
    assert [partitions_for(n) for n in (None, 0, 1 << 20, 1 << 30, 1 << 50)] == [64, 16, 16, 128, 4096]


# -- skew


def skewed(many: int) -> list[dict]:
    hot = {'instruction_id': 'hot', 'instruction': 'Say a number', 'rating': 3, 'rationale': None}
    return [{**hot, 'generation': f'{i:06d}', 'model_name': f'm{i % 7}'} for i in range(many)]


@pytest.mark.parametrize('overflow', ['fail', 'truncate'])
@pytest.mark.parametrize('limit', [1, 10_000, 1 << 40])
def test_a_group_far_too_large_is_cut_while_it_is_merged(overflow, limit):
    elements = skewed(3000) + rows(5)
    random.Random(2).shuffle(elements)
    slices = [canonical(elements[i : i + 100]) for i in range(0, len(elements), 100)]
    policies = ba.Policies(max_generations=4, overflow=overflow)
    outputs = list(merge(iter(slices), policies, limit))
    written = [r for output in outputs for r in content(output.table)]
    whole = arrange(canonical(elements), policies)
    assert sorted(written, key=str) == sorted(content(whole.table), key=str)
    failed = [f for output in outputs for f in output.failed]
    assert {f.error for f in failed} == {'TooManyGenerations'}
    refused = [r for f in failed for r in next(iter(json.loads(f.data).values()))]
    kept = {r[2] for r in written if r[0] == 'hot'}
    assert len(kept) == (4 if overflow == 'truncate' else 0)
    # Every row is in exactly one place.
    assert sorted([r['generation'] for r in refused] + sorted(kept)) == [f'{i:06d}' for i in range(3000)]
    assert max(len(next(iter(json.loads(f.data).values()))) for f in failed) <= 1000


def test_what_is_held_while_a_skewed_partition_is_merged_stays_small(monkeypatch):
    held = []
    cut = _groups._cut

    def spy(table, *args):
        held.append(table.num_rows)
        return cut(table, *args)

    monkeypatch.setattr(_groups, '_cut', spy)
    slices = (canonical(skewed(20_000)[i : i + 500]) for i in range(0, 20_000, 500))
    list(merge(slices, ba.Policies(max_generations=4, overflow='truncate'), limit=200_000))
    assert max(held) < 6000


# -- clustered files


def test_clustered_files_need_no_shuffle(tmp_path):
    elements = rows(100)
    for i in range(4):  # whole groups in each file, but over row groups as it happens
        part = elements[i * 100 : (i + 1) * 100]
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f'{i}.parquet', row_group_size=7)
    with pipeline() as p:
        read = ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS, clustered=True)
        groups = p | read | ba.GroupGenerations()
        assert_that(
            groups | beam.FlatMap(content), equal_to(content(arrange(canonical(elements), ba.Policies()).table))
        )


def test_a_promise_of_clustering_that_is_not_kept_is_an_error_within_a_file_and_across_files(tmp_path):
    within, across = tmp_path / 'within', tmp_path / 'across'
    for folder in (within, across):
        folder.mkdir()
    elements = rows(3)
    pq.write_table(
        pa.Table.from_pylist([*elements[4:], *elements[:4], elements[4]]), within / 'a.parquet', row_group_size=3
    )
    pq.write_table(pa.Table.from_pylist(elements[:6]), across / 'a.parquet')
    pq.write_table(pa.Table.from_pylist(elements[6:]), across / 'b.parquet')
    for folder, message in (
        (within, "not clustered: the rows of 1 or more instruction ids, such as 'i0001'"),
        (across, "not clustered: the rows of 1 or more instruction ids, such as 'i0001'"),
    ):
        with pytest.raises(BrokenPromiseError, match=message), pipeline() as p:
            read = ba.ReadGenerations(str(folder / '*.parquet'), COLUMNS, clustered=True)
            _ = p | read | ba.GroupGenerations()
    with pytest.raises(BrokenPromiseError, match=r"a\.parquet is not clustered: the rows of instruction id 'i0000'"):
        list(ba.reading._whole_groups([canonical([*elements[:4], *elements[4:8], elements[0]])], 'a.parquet'))


# -- files


def test_a_giant_row_group_is_read_in_small_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(ba.reading, '_BATCH_BYTES', 10_000)
    pq.write_table(pa.Table.from_pylist(rows(500)), tmp_path / 'one.parquet', row_group_size=1 << 20)
    with pipeline() as p:
        tables = p | ba.ReadGenerations(str(tmp_path / 'one.parquet'), COLUMNS)
        assert_that(tables | beam.Map(lambda t: t.num_rows < 400), equal_to_all_true())
        assert_that(tables | beam.Map(lambda t: t.num_rows) | beam.CombineGlobally(sum), equal_to([2000]), 'sum')


def equal_to_all_true():
    def check(actual):
        assert len(actual) > 5
        assert all(actual)

    return check


def test_row_groups_are_read_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(ba.reading, '_SPLIT_BYTES', 1)
    pq.write_table(pa.Table.from_pylist(rows(25)), tmp_path / 'f.parquet', row_group_size=10)
    with pipeline() as p:
        tables = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), COLUMNS)
        assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([10] * 10))


def test_only_the_columns_that_are_needed_are_read(tmp_path):
    table = pa.Table.from_pylist(rows(2)).append_column('huge', pa.array([['x' * 100] * 3] * 8))
    pq.write_table(table, tmp_path / 'f.parquet')
    columns = ba.Columns(instruction_id='instruction_id', metadata=['topic'])
    with pipeline() as p:
        names = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), columns) | beam.Map(lambda t: t.column_names)
        assert_that(names, equal_to([[*ba.generations.COLUMNS, 'metadata.topic']]))


def test_dictionary_encoded_and_large_columns(tmp_path):
    table = pa.Table.from_pylist(rows(10))
    encoded = table.set_column(3, 'model_name', pc.dictionary_encode(table.column('model_name')))
    encoded = encoded.set_column(2, 'generation', table.column('generation').cast(pa.large_string()))
    pq.write_table(encoded, tmp_path / 'f.parquet')
    with pipeline() as p:
        groups = p | ba.ReadGenerations(str(tmp_path / 'f.parquet'), COLUMNS) | ba.GroupGenerations()
        assert_that(
            groups | beam.FlatMap(content), equal_to(content(arrange(canonical(rows(10)), ba.Policies()).table))
        )


def test_bad_files_fail_the_pipeline_by_name_or_are_refused(tmp_path):
    good = write(tmp_path, rows(3), 1)
    (tmp_path / 'broken.parquet').write_bytes(b'PAR1 this is not Parquet PAR1')
    pq.write_table(pa.table({'instruction': ['x'], 'answer': ['y']}), tmp_path / 'drifted.parquet')
    whole = (tmp_path / '0.parquet').read_bytes()
    (tmp_path / 'torn.parquet').write_bytes(whole[:50] + b'\0' * 200 + whole[250:])
    read = ba.ReadGenerations(good, COLUMNS, on_bad_file='refuse')
    p = beam.Pipeline(runner=FnApiRunner())
    with ErrorHandler(beam.Map(lambda f: (f.error, Path(json.loads(f.data)['file']).name))) as handler:
        tables = p | read.with_error_handler(handler)
    assert_that(handler.output(), equal_to([('BadFile', f'{n}.parquet') for n in ('broken', 'drifted', 'torn')]))
    assert_that(tables | beam.Map(lambda t: t.num_rows), equal_to([12]), 'good')
    result = p.run()
    result.wait_until_finish()
    assert counters(result)['failed_BadFile'] == 3
    for name in ('broken', 'drifted', 'torn'):
        (tmp_path / 'z').mkdir(exist_ok=True)
        (tmp_path / 'z' / 'a.parquet').write_bytes(whole)
        bad = tmp_path / 'z' / f'{name}.parquet'
        bad.write_bytes((tmp_path / f'{name}.parquet').read_bytes())
        with pytest.raises(InputError, match=rf'{name}\.parquet'), pipeline() as p:
            _ = p | ba.ReadGenerations(str(tmp_path / 'z' / '*.parquet'), COLUMNS)
        bad.unlink()


def test_empty_files_and_empty_tables(tmp_path):
    empty = pa.Table.from_pylist(rows(1)).slice(0, 0)
    pq.write_table(empty, tmp_path / 'empty.parquet')
    pq.write_table(pa.Table.from_pylist(rows(1)), tmp_path / 'full.parquet')
    with pipeline() as p:
        groups = p | ba.ReadGenerations(str(tmp_path / '*.parquet'), COLUMNS) | ba.GroupGenerations()
        assert_that(groups | beam.Map(lambda t: t.num_rows), equal_to([4]))
    with pipeline() as p:
        groups = p | beam.Create([empty]) | ba.FormatGenerations(COLUMNS) | ba.GroupGenerations()
        assert_that(groups, equal_to([]))


# -- input that never ends


def test_a_late_row_brings_its_whole_group_again():
    """An accumulating trigger: the record is made again with all rows, so its upsert updates it."""
    first, second, late, other = *rows(1)[:3], rows(2)[4]
    stream = (
        TestStream()
        .advance_watermark_to(0)
        .add_elements([window.TimestampedValue(r, 1) for r in (first, second, other)])
        .advance_watermark_to(20)
        .add_elements([window.TimestampedValue(late, 2)])
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as p:
        records = (
            p
            | stream
            | beam.WindowInto(
                window.FixedWindows(10),
                trigger=trigger.AfterWatermark(late=trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
                allowed_lateness=100,
            )
            | ba.FormatGenerations(COLUMNS)
            | ba.GroupGenerations(num_partitions=4)
            | ba.BuildRecords(ba.Preference(4))
        )
        seen = records | beam.Map(lambda r: (r.external_id, sum(f.startswith('generations-') for f in r.fields)))
        assert_that(seen, equal_to([('i0000', 2), ('i0001', 1), ('i0000', 3)]))
