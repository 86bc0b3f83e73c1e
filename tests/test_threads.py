"""Work beside Beam's own threads."""

from __future__ import annotations

import threading

from beam_argilla import threads
from beam_argilla.threads import Latest


def test_who_does_not_answer_keeps_nobody_waiting(monkeypatch):
    answers: list[int | Exception] = [1, ValueError('none'), 2]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(threads, '_MOMENT', 30.0)
    latest = Latest(ask)
    assert [latest(waiting=True) for _ in range(3)] == [1, 1, 2]
    assert latest() == 2  # who was asked just now has some rest

    monkeypatch.setattr(threads, '_MOMENT', 0.0)
    never = Latest(lambda: threading.Event().wait())
    assert [never(), never(), never(waiting=True)] == [None, None, None]
