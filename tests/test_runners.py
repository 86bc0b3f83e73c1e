"""Where workers run, and what becomes of what they spilled."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.runner import PipelineState
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

import beam_argilla as ba
from beam_argilla.errors import InputError, RefusedError
from beam_argilla.grouping.spilling import place_to_spill
from beam_argilla.runners import when_failed
from tests.samples import COLUMNS, pipeline, rows, write

HERE = [
    [],
    ['--runner=DirectRunner'],
    ['--runner=FnApiRunner'],
    ['--runner=BundleBasedDirectRunner'],
    ['--runner=PrismRunner'],
    ['--runner=PrismRunner', '--environment_type=LOOPBACK'],
    ['--direct_running_mode=multi_processing', '--direct_num_workers=2'],
    ['--runner=FlinkRunner'],
    ['--runner=FlinkRunner', '--flink_master=[local]', '--environment_type=PROCESS',
     '--environment_option=process_command=boot'],
    ['--runner=SparkRunner'],
    ['--runner=PortableRunner', '--job_endpoint=localhost:8099', '--environment_type=LOOPBACK'],
]  # fmt: skip
ELSEWHERE = [
    ['--runner=FlinkRunner', '--flink_master=flink:8081', '--environment_type=EXTERNAL',
     '--environment_config=localhost:50000'],  # the task managers' own localhost
    ['--runner=PrismRunner', '--environment_type=DOCKER'],
    ['--runner=FlinkRunner', '--flink_master=flink:8081'],
    ['--runner=FlinkRunner', '--flink_master=flink:8081', '--environment_type=PROCESS',
     '--environment_option=process_command=boot'],
    ['--runner=SparkRunner', '--spark_master_url=spark://spark:7077'],
    ['--runner=PortableRunner', '--job_endpoint=localhost:8099'],
    ['--runner=PortableRunner', '--job_endpoint=flink:8099', '--environment_type=EXTERNAL',
     '--environment_config=workers:50000'],
]  # fmt: skip


def a_pipeline(options: list[str]) -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(options))


@pytest.mark.parametrize('options', HERE, ids=' '.join)
def test_workers_that_run_here_spill_to_the_temporary_directory(options, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    p = a_pipeline([*options, '--temp_location=gs://bucket/tmp'])
    assert ba.workers_run_here(p)
    assert Path(place_to_spill(p)).parent == tmp_path


@pytest.mark.parametrize('options', ELSEWHERE, ids=' '.join)
def test_workers_elsewhere_spill_to_the_temp_location_if_there_is_one(options, tmp_path):
    p = a_pipeline(options)
    assert not ba.workers_run_here(p)
    assert place_to_spill(p) is None
    assert Path(place_to_spill(p, str(tmp_path))).parent == tmp_path
    p = a_pipeline([*options, f'--temp_location={tmp_path / "temp"}'])
    assert Path(place_to_spill(p)).parent == tmp_path / 'temp'


def test_a_runner_that_only_looks_like_a_local_one_is_none():
    """Beam's DaskRunner is a BundleBasedDirectRunner; its workers are those of a Dask cluster."""
    dask = type('DaskRunner', (BundleBasedDirectRunner,), {})
    assert not ba.workers_run_here(beam.Pipeline(runner=dask()))


def test_a_disk_of_this_machine_is_no_place_for_what_workers_on_dataflow_share(tmp_path):
    p = beam.Pipeline(runner=BundleBasedDirectRunner())
    p.runner = type('DataflowRunner', (BundleBasedDirectRunner,), {})()
    with pytest.raises(InputError, match=f'wait for their groups in {tmp_path}: workers on Dataflow share no disk'):
        place_to_spill(p, str(tmp_path))


@pytest.fixture
def spilled(monkeypatch, tmp_path) -> Path:
    """Where rows are spilled to by default."""
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    return folder


def look(table: object, folder: str) -> list[bool]:
    """Whether there are spilled rows, as a worker sees it."""
    return [any(Path(folder).glob('beam-argilla-spill-*/*.arrows'))]


def groups(p: beam.Pipeline, tmp_path: Path, elements: list[dict], **options) -> beam.PCollection:
    read = ba.ReadGenerations(write(tmp_path, elements, 2), COLUMNS)
    return p | read | ba.GroupGenerations(num_partitions=1, **options)


@pytest.mark.parametrize('options', [{}, {'spill': False}], ids=['by default', 'not'])
def test_rows_are_spilled_unless_the_user_says_no_and_nothing_is_left(tmp_path, spilled, options):
    with pipeline() as p:
        seen = groups(p, tmp_path, rows(3), **options) | beam.FlatMap(look, str(spilled))
        assert_that(seen, equal_to([not options]))
    assert list(spilled.iterdir()) == []


def test_nothing_is_left_of_a_job_that_failed(tmp_path, spilled):
    conflict = [*rows(3), {**rows(1)[0], 'instruction': 'other', 'generation': 'o'}]
    with pytest.raises(RefusedError), pipeline() as p:
        groups(p, tmp_path, conflict)
    assert list(spilled.iterdir()) == []


class Result:
    """Of a job that goes on until it is waited for without a limit, as engines behind a job server give one."""

    def __init__(self, end: str):
        self.state = PipelineState.RUNNING
        self._end = end

    def wait_until_finish(self, duration: int | None = None) -> None:
        if duration is None:
            self.state = self._end
        if self.state == PipelineState.FAILED:
            raise RuntimeError('the job failed')


def spilling(end: str) -> tuple[beam.Pipeline, Path]:
    """A pipeline whose jobs end like that, and where its rows wait."""
    p = beam.Pipeline(runner='FnApiRunner')
    place = Path(place_to_spill(p))
    place.mkdir()
    p.runner.run_pipeline = lambda pipeline, options: Result(end)
    return p, place


def test_nothing_is_left_by_a_result_that_is_waited_for(spilled):
    p, place = spilling(PipelineState.FAILED)
    result = p.run()
    result.wait_until_finish(1)
    del p
    gc.collect()
    assert place.exists()  # the job goes on, though nobody remembers the pipeline
    with pytest.raises(RuntimeError, match='the job failed'):
        result.wait_until_finish()
    assert not place.exists()


def test_a_pipeline_that_is_run_again_while_it_runs_keeps_its_files(spilled):
    p, place = spilling(PipelineState.DONE)
    first, second = p.run(), p.run()
    first.wait_until_finish()
    assert place.exists()
    second.wait_until_finish()
    assert not place.exists()


def test_nothing_is_left_by_a_pipeline_that_never_runs(spilled):
    p = beam.Pipeline(runner='FnApiRunner')
    place = Path(place_to_spill(p))
    place.mkdir()
    del p
    gc.collect()
    assert not place.exists()


@pytest.mark.parametrize(
    ('ends', 'calls'),
    [
        (['FAILED'], 1),
        (['CANCELLED'], 1),
        (['DONE'], 0),
        (['DRAINED'], 0),
        (['UPDATED'], 0),  # another job has taken its place
        (['FAILED', 'FAILED'], 2),
        (['DONE', 'FAILED'], 0),
        (['FAILED', 'DONE'], 1),
    ],
    ids=str,
)
def test_a_failure_is_told_unless_a_job_of_the_pipeline_has_ended_well(ends, calls):
    told = []
    p = beam.Pipeline(runner='FnApiRunner')
    coming = iter(ends)
    p.runner.run_pipeline = lambda pipeline, options: Result(next(coming))
    when_failed(p, lambda: told.append(1))
    for _ in ends:
        with contextlib.suppress(RuntimeError):
            p.run().wait_until_finish()
    assert len(told) == calls


def test_a_failure_is_not_told_while_another_job_of_the_pipeline_runs():
    told = []
    p = beam.Pipeline(runner='FnApiRunner')
    coming = iter(['FAILED', 'DONE'])
    p.runner.run_pipeline = lambda pipeline, options: Result(next(coming))
    when_failed(p, lambda: told.append(1))
    first, second = p.run(), p.run()
    with pytest.raises(RuntimeError):
        first.wait_until_finish()
    second.wait_until_finish()
    assert told == []


def test_a_pipeline_that_cannot_even_start_has_failed():
    told = []
    p = beam.Pipeline(runner='FnApiRunner')
    p.runner.run_pipeline = lambda pipeline, options: 1 / 0
    when_failed(p, lambda: told.append(1))
    with pytest.raises(ZeroDivisionError):
        p.run()
    assert told == [1]


def test_a_place_and_no_spilling_contradict_each_other():
    with pytest.raises(ValueError, match="spill=False and spill_location='here' contradict each other"):
        ba.GroupGenerations(spill_location='here', spill=False)


def test_windows_of_a_bounded_input_are_spilled_apart(spilled):
    elements = [{**row, 'at': i % 2} for i, row in enumerate(rows(4))]
    with pipeline() as p:
        grouped = (
            p
            | beam.Create(elements)
            | beam.Map(lambda row: window.TimestampedValue(row, row['at'] * 100))
            | beam.WindowInto(window.FixedWindows(10))
            | ba.FormatGenerations(COLUMNS)
            | ba.GroupGenerations()
        )
        assert_that(
            grouped | beam.FlatMap(lambda t: [r['generation'] for r in t.to_pylist()]),
            equal_to([row['generation'] for row in elements]),
        )
    assert list(spilled.iterdir()) == []
