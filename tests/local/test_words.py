"""Words: those of Unicode's annex 29, and the same ones in the index."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_argilla.local.words import TOKENIZER, folded, may_begin_a_word, spaced, words

# What people write, and each kind of character that the rules know.
CHARACTERS = (
    ' \t\n\0\x1f!#$%&()*+-/<=>?@[]\\^`{|}~\'.:,;_"aAzZ019éßΣς’·“—אב״דаЯअनुहिन्दीไทยลาວမြန်မာខ្មែរ아한국'
    '漢字々〆〇ひらがなカタカナｱーヶㄅ١٢٫٬。、﹒．：；＿‿𝟙ﬁİǅ\u0301\u200d\u200c\u00ad\ufe0f\u20e3👍🏽👩💻❤🇩🇪🇫㊗©™𠀀\U000e0067'
)
texts = st.text(alphabet=st.sampled_from(CHARACTERS) | st.characters(exclude_categories=['Cs']), max_size=40)
ascii_texts = st.text(alphabet=st.sampled_from('\'.:,;_aB1 "-\0') | st.characters(max_codepoint=127), max_size=40)


WORDS = [
    ("Don't re-use v2.5, 世界!", ["don't", 're', 'use', 'v2.5', '世', '界']),
    ('Say "yes", e.g. to a@x.org: a:b', ['say', 'yes', 'e.g', 'to', 'a', 'x.org', 'a:b']),
    ('1,000.50 or 3.14; not 5.', ['1,000.50', 'or', '3.14', 'not', '5']),
    ('snake_case __init__ _ a_ _1', ['snake_case', '__init__', 'a_', '_1']),
    ("rock'n'roll 'quoted' l’été o''clock", ["rock'n'roll", 'quoted', 'l’été', 'o', 'clock']),
    ('1.a a.1 1:2 12:30 a,b 1;2', ['1', 'a', 'a', '1', '1', '2', '12', '30', 'a', 'b', '1;2']),
    ('CAFÉ cafe\u0301 STRASSE Straße', ['café', 'cafe\u0301', 'strasse', 'straße']),
    ('ΣΑΣ ΟΔΟΣ İ', ['σασ', 'οδοσ', 'i']),
    ('हिन्दी भाषा', ['हिन्दी', 'भाषा']),
    ('ภาษาไทย 한국어 カタカナ ひら', ['ภาษาไทย', '한국어', 'カタカナ', 'ひ', 'ら']),
    ('צה"ל ד\'', ['צה״ל', "ד'"]),
    ('👍👍🏽 👩\u200d💻x 🇩🇪🇫🇷 ☺ →', ['👍', '👍🏽', '👩\u200d💻', 'x', '🇩🇪', '🇫🇷', '☺']),
    ('... !? — \0', []),
    ('_\u0301__a __\u0301 _b', ['_\u0301__a', '_b']),
    # In one go, and not from each of them to the end.
    ('_' * 300_000 + ' é ' + '_\u0301' * 300_000 + ' a', ['é', 'a']),
]


@pytest.mark.parametrize(('text', 'expected'), WORDS)
def test_words(text, expected):
    assert words(text) == expected


@pytest.fixture(scope='module')
def tokens():
    """What FTS5 takes for the words of a text that it is given."""
    connection = sqlite3.connect(':memory:')
    connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(body, tokenize="{TOKENIZER}")')
    connection.execute('CREATE VIRTUAL TABLE tokens USING fts5vocab(texts, instance)')

    def of(text):
        connection.execute('DELETE FROM texts')
        connection.execute('INSERT INTO texts VALUES (?)', (text,))
        return [token for (token,) in connection.execute('SELECT term FROM tokens ORDER BY "offset"')]

    yield of
    connection.close()


@settings(max_examples=1000)
@given(texts | ascii_texts)
def test_the_index_has_the_words_of_a_text(tokens, text):
    assert tokens(spaced(text)) == words(text)


@settings(max_examples=300)
@given(texts)
def test_a_beginning_of_a_word_is_one_word_to_the_index(tokens, text):
    for word in words(text):
        for end in range(1, len(word) + 1):
            assert may_begin_a_word(word[:end])
    if may_begin_a_word(folded(text)):
        assert tokens(folded(text)) == [folded(text)] * bool(text)
