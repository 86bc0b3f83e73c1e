"""Records to measure with."""

from __future__ import annotations

import functools

import beam_argilla as ba

GENERATIONS = 4
TASK = ba.Preference(GENERATIONS)
_WORDS = 'the quick brown fox jumps over a lazy dog and then a few more words follow in this sentence '


@functools.cache
def records(count: int, first: int = 0) -> list[ba.Record]:
    """Preference records of about 4 kB, with 8 suggestions, that are numbered from `first` on."""
    out = []
    for i in range(first, first + count):
        fields = {'id': f'i{i}', 'instruction': f'Instruction {i}: {_WORDS}'}
        fields |= {f'generations-{g}': f'Answer {g} to {i}: {_WORDS * 8}' for g in range(GENERATIONS)}
        suggestions = []
        for g in range(GENERATIONS):
            suggestions.append(ba.Suggestion(f'generations-{g}-rating', 1 + (i + g) % 5))
            suggestions.append(ba.Suggestion(f'generations-{g}-rationale', f'Because of {i} and {g}: {_WORDS}'))
        out.append(ba.Record(f'i{i}', fields, suggestions))
    return out
