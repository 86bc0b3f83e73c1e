"""How far a job is: by what it has counted, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time
from typing import TextIO

import pytest

from pipelines import screen
from pipelines.progress import Progress, of_export, of_load
from pipelines.watching import watched
from tests.terminals import terminal

READ = {'rows_read': 4000, 'rows_found': 4000, 'rows_spread': 4000}
HALF = {**READ, 'rows_gathered': 2000, 'groups_whole': 500, 'generations_whole': 2000}


@pytest.mark.parametrize(
    ('counts', 'arrived', 'expected'),
    [
        ({}, None, Progress('Running', '', 0, None)),
        ({'microseconds_read': 1}, None, Progress('Reading', 'rows', 0, None)),
        ({'rows_read': 1000, 'rows_found': 4000}, 0, Progress('Reading', 'rows', 1000, 4000)),
        ({'rows_read': 1000}, None, Progress('Reading', 'rows', 1000, None)),
        # Of long rows, half of the partitions are merged: there will be about as many groups in the others.
        (HALF, 0, Progress('Writing', 'records', 0, 1000)),
        # Of wide rows, a quarter is read, and as much is grouped.
        ({'rows_read': 1000, 'rows_found': 4000, 'groups_whole': 1000}, 300, Progress('Writing', 'records', 300, 4000)),
        # Who counts more is right: the others have not heard of it yet.
        ({**HALF, 'records_created': 100, 'records_updated': 50}, 120, Progress('Writing', 'records', 150, 1000)),
        ({**HALF, 'records_created': 100}, 120, Progress('Writing', 'records', 120, 1000)),
        (
            {**HALF, 'records_unchanged': 1200, 'failed_Refused': 3, 'retried_Refused': 1},
            0,
            Progress('Writing', 'records', 1200, 1200, '1,200 unchanged, 2 refused'),
        ),
        ({**HALF, 'records_checked': 7}, None, Progress('Checking', 'records', 7, 1000)),
        # A runner that tells nothing before the end: the server does.
        ({}, 80, Progress('Writing', 'records', 80, None)),
    ],
)
def test_how_far_a_load_is(counts, arrived, expected):
    assert of_load(counts, arrived) == expected


def test_how_far_a_load_of_generations_and_an_export_are():
    assert of_load(HALF, 0, one_of_each_generation=True) == Progress('Writing', 'records', 0, 4000)
    assert of_load(HALF, 0, one_of_each_generation=True, limit=10) == Progress('Writing', 'records', 0, 40)
    assert of_load(HALF, 0, limit=10) == Progress('Writing', 'records', 0, 10)
    assert of_load(HALF, 0, limit=5000) == Progress('Writing', 'records', 0, 1000)
    assert of_export({'records_answered': 3, 'failed_X': 1}) == Progress('Reading', 'records', 3, None, '1 refused')


def test_a_line_of_it():
    progress = Progress('Writing', 'records', 1500, 9000, '2 refused')
    assert screen.line(progress, 61.2, 60.0) == (
        'Writing: 1,500 of about 9,000 records in 1:01, 60.0 a second, about 2:05 left, 2 refused'
    )
    assert screen.line(progress, 4000, 0.0).startswith('Writing: 1,500 of about 9,000 records in 1:06:40, 0.0 a second')
    assert screen.line(Progress('Reading', 'rows', 7, None), 3, 2.0) == 'Reading: 7 rows in 0:03, 2.0 a second'
    assert screen.line(Progress('Running', '', 0, None), 75, 0.0) == 'Running for 1:15'


def test_elsewhere_than_on_a_terminal_a_line_is_written_once_in_a_while(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(screen.time, 'monotonic', lambda: now[0])
    file = io.StringIO()
    lines = screen.screen_for(file)
    assert isinstance(lines, screen.Lines)
    for now[0], done in ((30.0, 100), (45.0, 200), (60.0, 1600), (61.0, 1700), (119.0, 1800), (120.0, 1900)):
        lines.show(Progress('Writing', 'records', done, 2000))
    assert file.getvalue().splitlines() == [
        'Writing: 1,600 of about 2,000 records in 1:00, 50.0 a second, about 0:08 left',
        'Writing: 1,900 of about 2,000 records in 2:00, 5.0 a second, about 0:20 left',
    ]
    lines.say('The job: here')
    assert capsys.readouterr().out == 'The job: here\n'
    lines.close()
    now[0] = 999.0
    lines.show(Progress('Writing', 'records', 2000, 2000))
    assert len(file.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ('columns', 'expected'),
    [(100, 'Writing:  25% .* 500/2,000 records .*, 1 refused]'), (40, r'Writing:  25% .* 500/2,000 \[')],
)
def test_on_a_terminal_there_is_a_bar_with_warnings_above_it_and_nothing_is_left_of_it(monkeypatch, columns, expected):
    monkeypatch.setenv('TERM', 'xterm')
    with terminal(columns) as drawn_on, os.fdopen(drawn_on.descriptor, 'w', buffering=1) as file:
        draw(file)
    drawn = drawn_on.drawings
    assert max(map(len, drawn)) < columns
    assert drawn[1] == 'Running [00:00]'
    assert any(drawing.startswith('Reading: 10 rows [') for drawing in drawn)
    warned = drawn.index('The server is slow.')
    for part in (drawn[:warned], drawn[warned:]):
        assert any(re.match(expected, drawing) for drawing in part), part
    assert drawn[-2:] == ['It is over.', '']
    assert drawn[-3].strip() == ''


def draw(file: TextIO) -> None:
    """A bar, and what is logged meanwhile."""
    bar = screen.screen_for(file)
    assert isinstance(bar, screen.Bar)
    logger = logging.getLogger()
    handler = logging.StreamHandler(file)
    logger.addHandler(handler)
    half = Progress('Writing', 'records', 500, 2000, '1 refused')
    try:
        bar.show(Progress('Running', '', 0, None))
        bar.show(Progress('Reading', 'rows', 10, None))
        bar.show(Progress('Writing', 'records', 0, 2000))
        bar.show(half)
        logger.warning('The server is slow.')
        bar.show(half)
        bar.close()
        logger.warning('It is over.')
        bar.show(Progress('Writing', 'records', 2000, 2000))
    finally:
        logger.removeHandler(handler)


def test_a_dumb_terminal_has_lines(monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    with terminal() as drawn_on, os.fdopen(drawn_on.descriptor, 'w') as file:
        assert isinstance(screen.screen_for(file), screen.Lines)


def test_a_look_that_fails_does_not_harm_what_is_watched(monkeypatch):
    looked = threading.Event()

    def look() -> Progress:
        looked.set()
        raise ValueError

    monkeypatch.setattr(screen.Lines, 'patience', 0.0)
    with watched(look, io.StringIO()) as say:
        assert looked.wait(10)
        say('It goes on.')


def test_nobody_looks_if_nobody_wants_to():
    looks: list[int] = []
    for file, wanted in ((io.StringIO(), False), (None, True)):
        with watched(lambda: looks.append(1), file, wanted):
            time.sleep(0.01)
    assert looks == []
