"""Files of what was refused: written as the job goes, replaced as a whole, read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window
from apache_beam.transforms.error_handling import CollectingErrorHandler

import beam_argilla as ba
from beam_argilla import failed_files
from beam_argilla.failures import failed_rows
from beam_argilla.files import write
from beam_argilla.writing import write_failed
from tests.object_store import OBJECTS
from tests.samples import pipeline


@pytest.fixture(params=['local', 'objects'])
def folder(request, tmp_path) -> Iterator[str]:
    """A folder that is not there yet, of this machine and of an object store."""
    yield f'{tmp_path}/new/' if request.param == 'local' else 'objects://bucket/new/'
    OBJECTS.clear()


def files(folder: str) -> dict[str, list[dict]]:
    """Name → lines of all that is in the folder."""
    found = {}
    for file in FileSystems.match([f'{folder}**'])[0].metadata_list:
        with FileSystems.open(file.path) as opened:
            found[file.path.removeprefix(folder)] = [json.loads(line) for line in opened.read().splitlines()]
    return found


def ids(folder: str) -> list[str]:
    return sorted(line['external_id'] for lines in files(folder).values() for line in lines)


def put(path: str, *external_ids: str) -> None:
    """A file as jobs write them."""
    lines = [refused(external_id).to_json() + '\n' for external_id in external_ids]
    write(path, ''.join(lines).encode())


def refused(external_id: str, **origin) -> ba.FailedRecord:
    row = {'instruction': f'What is {external_id}?', 'generation': 'A letter.'}
    return failed_rows([row], 'format', 'Why', 'because', external_id, 'input', **origin)


def job(place: str, *external_ids: str) -> None:
    with pipeline() as p:
        _ = p | beam.Create([refused(external_id) for external_id in external_ids]) | ba.WriteFailed(place)


@pytest.mark.parametrize('name', ['', 'bad'], ids=['folder', 'prefix'])
def test_there_is_nothing_but_the_files_and_none_if_nothing_was_refused(folder, name):
    job(folder + name)
    assert files(folder) == {}
    job(folder + name, 'a', 'b')
    assert ids(folder) == ['a', 'b']
    assert all(file.startswith(f'{name or "failed"}-') for file in files(folder))


def test_a_directory_is_a_folder_with_or_without_a_slash(tmp_path):
    job(str(tmp_path), 'a')
    assert [path.name.partition('-')[0] for path in tmp_path.iterdir()] == ['failed']


def test_files_of_earlier_runs_are_replaced_once_the_job_runs_and_no_others(folder):
    job(folder, 'first')
    others = ['failed-mine.jsonl', 'failed-2-20260101T000000000000-0a0a0a0a.jsonl', 'failed.jsonl']
    others += ['failed-00000-of-00001.jsonl']  # as Beam and Hugging Face call theirs
    for name in others:
        put(folder + name, 'mine')
    before = files(folder)
    p = beam.Pipeline(runner='FnApiRunner')
    _ = p | beam.Create([refused('second')]) | ba.WriteFailed(folder)
    assert files(folder) == before
    p.run()
    assert ids(folder) == ['mine'] * 4 + ['second']
    assert files(folder).keys() > set(others)


class _Dies(beam.DoFn):
    """Refuses what it is given, until it is told to die."""

    def process(self, element: str) -> Iterator[ba.FailedRecord]:
        if element == 'die':
            raise RuntimeError('the job dies')
        yield refused(element)


def test_a_job_that_dies_has_left_what_it_refused(folder):
    def run() -> None:
        with pipeline() as p:
            some = p | beam.Create(['a', 'b', 'die'], reshuffle=False) | beam.ParDo(_Dies())
            more = p | 'More' >> beam.Create([refused('c')])
            _ = (some, more) | beam.Flatten() | ba.WriteFailed(folder)

    with pytest.raises(RuntimeError, match='the job dies'):
        run()
    assert {'a', 'b'} <= set(ids(folder)) <= {'a', 'b', 'c'}


def test_what_a_repeated_bundle_wrote_is_there_once(folder):
    prefix = failed_files.prefix_of(folder)
    run = write_failed._Run(prefix, failed_files.new_run(), frozenset())
    paths = []
    for attempt in range(2):
        bundle = write_failed._Write(run)
        bundle.setup()
        bundle.start_bundle()
        bundle.process(refused('a'))
        paths = [path.value for path in bundle.finish_bundle()]
        assert len(files(folder)) == attempt + 1
    write_failed._End(run).process(None, paths)
    assert ids(folder) == ['a']


class _Disturbed(beam.DoFn):
    """Refuses what it is given; before the last, another job begins at the same place."""

    def __init__(self, prefix: str):
        self._prefix = prefix

    def process(self, element: str) -> Iterator[ba.FailedRecord]:
        if element == 'last':
            write_failed._Write(write_failed._Run(self._prefix, failed_files.new_run(), frozenset())).setup()
        yield refused(element)


def test_a_job_whose_files_another_one_removes_fails_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(write_failed, '_OBJECT_BYTES', 0)  # an object of each line
    p = beam.Pipeline(runner=FnApiRunner())
    some = p | beam.Create(['first', 'last'], reshuffle=False) | beam.ParDo(_Disturbed(f'{folder}failed'))
    _ = some | ba.WriteFailed(folder)
    with pytest.raises(ba.errors.JobError, match=r'not all there any more: failed-.*another job'):
        p.run()


def test_files_that_two_jobs_remove_at_once_are_no_trouble(folder, monkeypatch):
    put(f'{folder}failed-20260101T000000000000-0a0a0a0a.jsonl', 'a')
    found = failed_files.shards(f'{folder}failed')
    write_failed._remove(f'{folder}failed', found)
    write_failed._remove(f'{folder}failed', found)
    assert files(folder) == {}


def test_windows(folder):
    with pipeline() as p:
        stamped = p | beam.Create([0, 10, 20]) | beam.Map(lambda n: window.TimestampedValue(refused(f'n{n}'), n))
        _ = stamped | beam.WindowInto(window.FixedWindows(5)) | ba.WriteFailed(folder)
    assert ids(folder) == ['n0', 'n10', 'n20']


def test_a_place_that_cannot_be_written_is_told_before_the_job(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    with pytest.raises(ba.errors.JobError, match=r'cannot be written to .*file/failed-\*\.jsonl.*--failed'):
        beam.Pipeline() | beam.Create([refused('a')]) | ba.WriteFailed(f'{tmp_path}/file/')
    assert [path.name for path in tmp_path.iterdir()] == ['file']


# -- read again


def instructions(again: dict) -> beam.PCollection:
    return again['tables'] | beam.FlatMap(lambda table: table.column('instruction').to_pylist())


def test_what_is_read_and_written_at_one_place_is_lost_by_no_death_and_replaced_at_the_end(folder):
    job(folder, 'a', 'b')
    first = files(folder)

    def retry(*more: str) -> None:
        with pipeline() as p:
            again = p | ba.ReadFailed(folder, ba.Columns(), groups_are_whole=True)
            sent = instructions(again) | 'Still' >> beam.Map(lambda text: text.removeprefix('What is ')[0])
            _ = (sent, p | beam.Create(more)) | beam.Flatten() | beam.ParDo(_Dies()) | ba.WriteFailed(folder)

    with pytest.raises(RuntimeError, match='the job dies'):
        retry('die')
    assert files(folder).items() >= first.items()
    retry()  # what stands in the files of both is sent once
    assert ids(folder) == ['a', 'b']
    assert not files(folder).keys() & first.keys()


def test_files_of_several_runs_are_all_read_and_no_others_removed(folder):
    names = [f'{folder}failed-2026010{day}T000000000000-0a0a0a0a.jsonl' for day in (1, 2, 3)]
    put(names[0], 'a')
    put(names[1], 'b')
    with pipeline() as p:
        again = p | ba.ReadFailed(folder, ba.Columns(), groups_are_whole=True)
        put(names[2], 'late')  # of a job beside this one
        texts = instructions(again)
        assert_that(texts, equal_to(['What is a?', 'What is b?']))
        _ = texts | 'Still' >> beam.Map(lambda _: refused('c')) | ba.WriteFailed(folder)
    assert ids(folder) == ['c', 'c', 'late']


def test_however_the_path_is_written_what_is_read_is_not_removed_before_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job('f', 'a')

    def retry(*more: str) -> None:
        with pipeline() as p:
            again = p | ba.ReadFailed(f'{tmp_path}/f', ba.Columns(), groups_are_whole=True)
            sent = instructions(again) | 'Still' >> beam.Map(lambda _: 'b')
            _ = (sent, p | beam.Create(more)) | beam.Flatten() | beam.ParDo(_Dies()) | ba.WriteFailed('./f')

    with pytest.raises(RuntimeError, match='the job dies'):
        retry('die')
    assert 'a' in ids(f'{tmp_path}/')
    retry()
    assert set(ids(f'{tmp_path}/')) == {'b'}


@pytest.mark.parametrize('place', ['f.jsonl', 'f'])
def test_what_was_written_under_a_name_is_read_under_it(folder, place):
    job(folder + place, 'a')
    assert [name.partition('-')[0] for name in files(folder)] == ['f']
    with pipeline() as p:
        again = p | ba.ReadFailed(folder + place, ba.Columns(), groups_are_whole=True)
        assert_that(instructions(again), equal_to(['What is a?']))


@pytest.mark.parametrize('make', [ba.WriteFailed, lambda place: ba.ReadFailed(place, ba.Columns(), True)])
def test_an_empty_place_is_an_error(make):
    with pytest.raises(ValueError, match='is empty: name a prefix of files or a folder'):
        make('')


def test_of_what_is_there_only_the_files_that_are_named_are_sent_again_and_removed(folder):
    for external_id in 'ab':
        put(f'{folder}failed-20260101T000000000000-{external_id * 8}.jsonl', external_id)
    first = f'{folder}failed-20260101T000000000000-aaaaaaaa.jsonl'
    with pipeline() as p:
        again = p | ba.ReadFailed(first, ba.Columns(), groups_are_whole=True)
        _ = instructions(again) | 'Still' >> beam.Map(lambda _: refused('c')) | ba.WriteFailed(folder)
    assert ids(folder) == ['b', 'c']


def test_files_made_by_hand_are_read_where_there_are_no_others(folder):
    put(f'{folder}repaired.jsonl', 'a')
    with pipeline() as p:
        again = p | ba.ReadFailed(folder, ba.Columns(), groups_are_whole=True)
        assert_that(instructions(again), equal_to(['What is a?']))
    job(folder, 'b')
    assert len(failed_files.files_to_read(folder)) == 1


@pytest.mark.parametrize('bad', [b'not json', b'\xff\xfe', b'{"data": {"input": [1]}}', b'[]'], ids=repr)
def test_a_line_of_another_kind_is_refused_and_says_so(tmp_path, bad):
    (tmp_path / 'f.jsonl').write_bytes(refused('a').to_json().encode() + b'\n\n' + bad + b'\n')
    with pipeline() as p:
        handler = CollectingErrorHandler()
        read = ba.ReadFailed(f'{tmp_path}/f.jsonl', ba.Columns(), groups_are_whole=True)
        assert_that(instructions(p | read.with_error_handler(handler)), equal_to(['What is a?']))
        handler.close()
        assert_that(handler.output() | 'Errors' >> beam.Map(lambda f: f.error), equal_to(['NotAFailedRecord']), 'Bad')


WIDE = {'instruction': 'q', 'generations': ['a', 'b']}
LONG = {'instruction': 'q', 'generation': 'a'}


@pytest.mark.parametrize(
    ('row', 'options', 'whole'),
    [
        (WIDE, {}, True),
        (WIDE, {'shuffle': True}, False),
        (LONG, {}, False),
        (LONG, {'groups_are_whole': True}, True),
    ],
    ids=['wide', 'wide with repeated ids', 'long', 'long with the input'],
)
def test_a_wide_row_is_a_whole_group_and_goes_in_alone(tmp_path, row, options, whole):
    failed = failed_rows([row], 'format', 'UnequalLists', 'm', key='input', source='in.parquet', row=7)
    (tmp_path / 'f.jsonl').write_text(failed.to_json())
    with pipeline() as p:
        handler = CollectingErrorHandler()
        read = ba.ReadFailed(f'{tmp_path}/f.jsonl', ba.Columns(), **{'groups_are_whole': False, **options})
        again = p | read.with_error_handler(handler)
        assert_that(instructions(again), equal_to(['q'] * len(row.get('generations', ['a'])) if whole else []))
        handler.close()
        parts = [] if whole else [('PartOfGroup', 'in.parquet', 7)]
        assert_that(
            handler.output() | 'Parts' >> beam.Map(lambda f: (f.error, f.source, f.row)), equal_to(parts), 'Refused'
        )


def test_rows_that_come_in_again_are_left_out_of_what_is_refused_of_the_input(tmp_path):
    """The repaired row 1 takes the place of the bad one; row 2 was not repaired, and is refused once, not twice."""
    source = str(tmp_path / 'in.parquet')
    repaired = refused('a', source=source, row=1)
    unrepaired = failed_rows([{'instruction': None, 'generation': 'x'}], 'format', 'E', 'm', None, 'input', source, 2)
    before = {name: value for name, value in refused('before 0.1')._asdict().items() if name not in ('source', 'row')}
    lines = [repaired.to_json(), unrepaired.to_json(), json.dumps({**before, 'data': json.loads(before['data'])})]
    put(str(tmp_path / 'f.jsonl'))
    Path(tmp_path / 'f.jsonl').write_text('\n'.join(lines))
    with pipeline() as p:
        handler = CollectingErrorHandler()
        read = ba.ReadFailed(f'{tmp_path}/f.jsonl', ba.Columns(), groups_are_whole=True)
        again = p | read.with_error_handler(handler)
        of_input = [refused(f'row {n}', source=source, row=n) for n in range(4)] + [refused('no file')]
        left_out = ba.LeaveOutRetried(again['origins']).with_error_handler(handler)
        _ = p | 'Read' >> beam.Create(of_input) | left_out
        handler.close()
        assert_that(instructions(again), equal_to(['What is a?', 'What is before 0.1?']))
        seen = handler.output() | 'Seen' >> beam.Map(lambda f: (f.external_id, f.error, f.row))
        expected = [('row 0', 'Why', 0), ('row 3', 'Why', 3), ('no file', 'Why', None)]
        assert_that(seen | beam.Filter(lambda s: s[1] == 'Why'), equal_to(expected), 'Of the input')
        assert_that(
            seen | 'Other' >> beam.Filter(lambda s: s[1] != 'Why') | beam.Map(lambda s: s[2]), equal_to([2]), 'Again'
        )
    assert ba.counters(p.result)['retried_Why'] == 2
