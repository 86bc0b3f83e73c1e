"""Where argilla-server is another than the one that its faster ways were written for."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping

import pytest

from beam_argilla.local import speedups

FILES = {name for speedup in speedups.SPEEDUPS for name in speedup.rests_on}


@pytest.fixture
def package(tmp_path):
    """A copy of the files of argilla-server that matter."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(speedups.package() / name, tmp_path / name)
    return tmp_path


def misfits(package) -> Mapping[str, list[str]]:
    fitting, found = speedups.sort_out(speedups.SPEEDUPS, package)
    assert {one.name for one in fitting} | found.keys() == {one.name for one in speedups.SPEEDUPS}
    return found


def test_all_fit_the_server_that_is_installed(package):
    assert misfits(speedups.package()) == misfits(package) == {}


def test_what_rests_on_a_file_that_differs_gives_way(package):
    (package / 'contexts/distribution.py').write_text('another')
    assert misfits(package) == {'bulk requests': ['contexts/distribution.py']}


@pytest.mark.parametrize('name', sorted(FILES))
def test_every_file_is_looked_at(package, name):
    (package / name).unlink()
    assert {file for files in misfits(package).values() for file in files} == {name}


def test_the_log_says_in_one_line_what_gives_way(monkeypatch, caplog):
    done = []
    first, second = (dataclasses.replace(one, apply=lambda: done.append(1)) for one in speedups.SPEEDUPS[:2])
    monkeypatch.setattr(speedups, 'SPEEDUPS', [dataclasses.replace(first, rests_on={'app.py': 'another'}), second])
    speedups.apply()
    assert done == [1]
    (line,) = caplog.messages
    assert line.startswith('argilla-server 2.8')
    assert line.endswith('settings of questions and metadata (app.py)')
