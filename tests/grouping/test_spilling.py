"""Slices in files: the same groups as without, and nothing left behind."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.errors import JobError
from beam_argilla.grouping import group_generations, spilling
from beam_argilla.grouping.arrange import arrange
from beam_argilla.grouping.group_generations import partitions_for
from tests.object_store import OBJECTS, ObjectStore
from tests.samples import COLUMNS, canonical, content, pipeline, rows, write


def there(_: pa.Table, place: str) -> list[bool]:
    """Whether there is something below the place, as a worker sees it."""
    return [bool(FileSystems.match([f'{place}/**'])[0].metadata_list)]


@pytest.mark.parametrize('buffer_bytes', [1, 1 << 30])
@pytest.mark.parametrize('small_part_bytes', [0, 1 << 30], ids=['as they are', 'joined'])
@pytest.mark.parametrize('kind', ['memory', 'disk', 'object store'])
def test_spilled_or_not_the_groups_are_the_same_and_nothing_is_left(
    tmp_path, monkeypatch, buffer_bytes, small_part_bytes, kind
):
    monkeypatch.setattr(group_generations, '_BUFFER_BYTES', buffer_bytes)
    monkeypatch.setattr(spilling, '_SMALL_PART_BYTES', small_part_bytes)
    elements = rows(200)
    random.Random(5).shuffle(elements)
    pattern = write(tmp_path, elements, files=5, row_group_size=30)
    place = {'disk': str(tmp_path / 'spill' / 'here'), 'object store': f'{ObjectStore.scheme()}://bucket/temp'}.get(
        kind
    )
    expected = content(arrange(canonical(rows(200)), ba.Policies()).table)
    option = {'spill': False} if place is None else {'spill_location': place}
    with pipeline() as p:
        groups = p | ba.ReadGenerations(pattern, COLUMNS) | ba.GroupGenerations(num_partitions=8, **option)
        assert_that(groups | beam.FlatMap(content), equal_to(expected))
        if place is not None:
            seen = groups | 'See' >> beam.FlatMap(there, place) | beam.Distinct()
            assert_that(seen, equal_to([True]), 'spilled')
    assert not list(tmp_path.glob('spill/here/*'))
    assert OBJECTS == {}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.text('ab', max_size=2), st.sampled_from(['m', 'n', None])), min_size=1),
    st.integers(1, 7),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_into_files_and_any_partition_count_gives_the_same_groups(tmp_path, elements, partitions, files, rng):
    given_rows = [
        {'instruction_id': i, 'instruction': 'x', 'generation': g, 'model_name': m, 'rating': 1} for i, g, m in elements
    ]
    rng.shuffle(given_rows)
    for old in tmp_path.glob('*.parquet'):
        old.unlink()
    pattern = write(tmp_path, given_rows, min(files, len(given_rows)), row_group_size=3)
    expected = {(str(i), m, g, '1') for i, g, m in elements}
    for spill in (True, False):
        with pipeline() as p:
            grouping = ba.GroupGenerations(num_partitions=partitions, spill=spill)
            groups = p | ba.ReadGenerations(pattern, COLUMNS) | grouping
            assert_that(groups | beam.FlatMap(content), equal_to(sorted(expected, key=str)))


def test_a_repeated_bundle_writes_a_new_file(tmp_path):
    parts = [(0, canonical(rows(1)))]
    first, second = (list(spilling.write_segments(str(tmp_path), parts)) for _ in range(2))
    assert first[0][1].path != second[0][1].path
    assert spilling.read_segment(first[0][1]).equals(spilling.read_segment(second[0][1]))


def test_a_full_disk_a_vanished_file_and_a_damaged_one_are_told_apart(tmp_path, monkeypatch):
    ((_, segment),) = spilling.write_segments(str(tmp_path), [(0, canonical(rows(50)))])
    whole = Path(segment.path).read_bytes()
    Path(segment.path).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match=r'is damaged at byte 0 .*bytes are there.*Run the job again'):
        spilling.read_segment(segment)
    Path(segment.path).write_bytes(b'x' * len(whole))
    with pytest.raises(JobError, match='is damaged at byte 0'):
        spilling.read_segment(segment)
    Path(segment.path).unlink()
    with pytest.raises(JobError, match=r'cannot be read .*cleaned up while the job ran'):
        spilling.read_segment(segment)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(spilling.FileSystems, 'create', full)
    with pytest.raises(JobError, match=r'has no room left.*--spill_location'):
        list(spilling.write_segments(str(tmp_path), [(0, canonical(rows(1)))]))


def test_a_spill_location_that_cannot_be_made_fails_the_pipeline_with_its_name(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    pattern = write(tmp_path, rows(3), 1)
    with pytest.raises(JobError, match=r'spill location .*file/below\S* cannot be written to'), pipeline() as p:
        grouping = ba.GroupGenerations(spill_location=str(tmp_path / 'file' / 'below'))
        _ = p | ba.ReadGenerations(pattern, COLUMNS) | grouping


def test_the_number_of_partitions_follows_the_size_of_the_input():
    assert [partitions_for(n) for n in (None, 0, 1 << 20, 1 << 30, 1 << 50)] == [64, 16, 16, 128, 4096]
