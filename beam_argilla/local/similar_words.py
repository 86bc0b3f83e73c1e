"""The words that a fuzzy word (``nxt~1``) stands for: all in an index that are so many letters away from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import regex

# Elasticsearch's own limit. Two letters away is nearly anything of a short word.
MAX_EDITS = 2
# More than the ten for which argilla-server asks Elasticsearch: here an index is one of all datasets.
MAX_SIMILAR = 100


@dataclasses.dataclass(frozen=True)
class FuzzyWord:
    """A word, and how many letters may be put in, left out or replaced."""

    word: str
    edits: int

    @property
    def lengths(self) -> tuple[int, int]:
        """The fewest and the most characters that a similar word has."""
        return len(self.word) - self.edits, len(self.word) + self.edits

    def among(self, words: Iterable[str]) -> list[str]:
        """Those of some words that are similar: the nearest first, `MAX_SIMILAR` at most.

        A word of which nothing but its length would be left is not, as in Elasticsearch: of "a", "b" is no neighbour.

        >>> FuzzyWord('nxt', 1).among(['next', 'nxt', 'text', 'nx'])
        ['nxt', 'next', 'nx']
        """
        pattern = regex.compile(rf'(?b)(?:{regex.escape(self.word)}){{e<={self.edits}}}')
        found = []
        for word in words:
            if match := pattern.fullmatch(word):
                distance = sum(match.fuzzy_counts) / min(len(word), len(self.word))
                if distance < 1:
                    found.append((distance, word))
        return [word for _, word in sorted(found)[:MAX_SIMILAR]]
