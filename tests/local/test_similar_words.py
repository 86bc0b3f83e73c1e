"""Fuzzy words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from beam_argilla.local.similar_words import MAX_SIMILAR, FuzzyWord

short = st.text(alphabet='abc.', min_size=1, max_size=6)


def distance(a, b):
    """Levenshtein's, by its definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return distance(a[1:], b[1:])
    return 1 + min(distance(a[1:], b), distance(a, b[1:]), distance(a[1:], b[1:]))


@settings(max_examples=300)
@given(short, st.integers(1, 2), st.sets(short, max_size=10))
def test_similar_words_are_so_many_letters_away(word, edits, others):
    expected = {o for o in others if distance(word, o) <= edits and distance(word, o) < min(len(word), len(o))}
    similar = FuzzyWord(word, edits).among(others)
    assert set(similar) == expected
    assert all(FuzzyWord(word, edits).lengths[0] <= len(o) <= FuzzyWord(word, edits).lengths[1] for o in similar)


def test_the_nearest_come_first_and_there_is_an_end():
    words = [f'ab{chr(code)}' for code in range(0x4E00, 0x4E00 + 2 * MAX_SIMILAR)]
    similar = FuzzyWord('abcd', 2).among([*words, 'abcde', 'abcd', 'abxcd'])
    assert similar[:3] == ['abcd', 'abcde', 'abxcd']
    assert len(similar) == MAX_SIMILAR
