"""What came of a job, in numbers and in lines."""

from __future__ import annotations

import apache_beam as beam
import pytest

import beam_argilla as ba
from beam_argilla.metrics import counted_here, timed
from tests.faults import FAULTS, FaultProxy, at
from tests.samples import COLUMNS, pipeline, rows, unique

COUNTS = {
    'rows_read': 1200,
    'read_again': 1,
    'groups': 300,
    'duplicate_generations': 2,
    'warnings': 1,
    'records_built': 298,
    'records_created': 200,
    'records_updated': 97,
    'records_repeated': 3,
    'records_adopted': 1,
    'records_unchanged': 1,
    'failed_NullGeneration': 4,
    'failed_Refused': 1,
    'retried_NullGeneration': 3,
    'retried_Refused': 1,
    'requests': 3,
    'retries_503': 2,
    'retries_ReadTimeout': 1,
    'microseconds_read': 40_000,
    'microseconds_build': 250_000,
    'microseconds_write': 1_234_567_000,
}
SHOWN = """\
1,200 rows read, 1 failed record read again, 300 groups
2 rows merged into their duplicates
1 suggestion or metadata left out
297 records written: 200 created, 97 updated
3 of those updated were made by this job itself, and then sent again: a part of its work was repeated
1 record of others was adopted
1 unchanged, so not sent
1 refused: NullGeneration 1
  read   1,200 rows                                           0.0 s of work
  build  298 records                                          0.2 s
  write  3 requests, 3 sent again (503 2, ReadTimeout 1)  1,234.6 s"""


def test_a_job_is_told_in_lines_and_by_name():
    summary = ba.JobSummary.of_counts(COUNTS)
    assert summary.shown() == SHOWN
    told = summary.to_dict()
    assert (told['records_written'], told['num_refused'], told['refused']) == (297, 1, {'NullGeneration': 1})
    assert told['seconds'] == {'read': 0.04, 'group': 0.0, 'build': 0.25, 'write': 1234.567}


def test_of_nothing_there_is_little_to_say():
    summary = ba.JobSummary.of_counts({})
    assert summary.shown() == '0 rows read, 0 groups\n0 records written: 0 created, 0 updated\n0 refused'
    assert '0 records would be written' in summary.shown(dry_run=True)


def test_it_is_printed_of_a_pipeline_of_ones_own(argilla_server, connection, capfd):
    with FaultProxy(argilla_server.api_url, at({0: FAULTS['503']})) as proxy, pipeline() as p:
        through = ba.ArgillaConnection(proxy.url, api_key=connection.api_key)
        elements = [*rows(6), {**rows(1)[0], 'generation': None}]
        result = (
            p
            | beam.Create(elements)
            | ba.WriteToArgilla(unique('printed'), task=ba.Preference(4), connection=through, columns=COLUMNS)
        )
        _ = result.failed | beam.Map(ba.FailedRecord.shown)
    ba.print_summary(p.result)
    out = capfd.readouterr().out.splitlines()
    assert out[0] == '25 rows read, 6 groups'
    assert out[1:3] == ['6 records written: 6 created, 0 updated', '1 refused: NullGeneration 1']
    assert '1 request, 1 sent again (503 1)' in out[-2]
    assert out[-1].startswith(f'The dataset: {proxy.url}/dataset/')
    assert set(ba.JobSummary.of(p.result).seconds) == {'read', 'group', 'build', 'write'}


def raising():
    yield 1
    raise ValueError


def test_time_is_counted_of_a_method_that_returns_nothing_and_what_it_raises_is_raised():
    before = counted_here()
    assert list(timed('nothing')(lambda: None)()) == []
    with pytest.raises(ValueError):
        list(timed('never')(raising)())
    assert (counted_here() - before).keys() <= {'microseconds_nothing'}
