"""The words of a text, for search: those that Elasticsearch's standard analyzer makes of it.

They are cut as Unicode's annex 29 says ("don't", "3.14", "example.com" and "a:b" are a word each), and put into lower
case; accents stay. What has neither letter nor digit and is no emoji is no word. Of scripts without spaces each Chinese
character and each hiragana is a word of its own, and what stands together in Thai, Lao, Khmer or Burmese is one.

The index and the queries must agree on it, so both get it from here.
"""

import re
from itertools import groupby

import regex

# Of FTS5's own tokenizers the simplest: a word is what has letters, digits, these and anything that is not ASCII.
TOKENIZER = "ascii tokenchars '_''.:,;'"


def _class(*names: str) -> str:
    """The inside of a regex's brackets: the characters with one of these values of Unicode's Word_Break."""
    return ''.join(rf'\p{{WB={name}}}' for name in names)


# Accents, joiners and the like belong to the character before them, whatever it is (rule WB4).
_MARK = _class('Extend', 'Format', 'ZWJ')
_LETTER, _HEBREW, _DIGIT = _class('ALetter', 'Hebrew_Letter'), _class('Hebrew_Letter'), _class('Numeric')
_KATAKANA, _LINE = _class('Katakana'), _class('ExtendNumLet')
_OF_BOTH = _class('MidNumLet', 'Single_Quote')
# What joins two letters, or two digits: looked at from the middle, since it is rare (WB6, WB7, WB11, WB12; WB7a to c).
_JOINT = rf"""(?:
    (?<=[{_LETTER}][{_MARK}]*)[{_OF_BOTH}{_class('MidLetter')}][{_MARK}]*+(?=[{_LETTER}])
  | (?<=[{_DIGIT}][{_MARK}]*)[{_OF_BOTH}{_class('MidNum')}][{_MARK}]*+(?=[{_DIGIT}])
  | (?<=[{_HEBREW}][{_MARK}]*)(?:'[{_MARK}]*+ | "[{_MARK}]*+(?=[{_HEBREW}]))
)"""
_RUN = rf"""(?:
    [{_LETTER}{_DIGIT}][{_LETTER}{_DIGIT}{_MARK}]*+ (?:{_JOINT}[{_LETTER}{_DIGIT}{_MARK}]*+)*+
  | [{_KATAKANA}][{_KATAKANA}{_MARK}]*+
)"""
_LINES = rf'[{_LINE}][{_LINE}{_MARK}]*+'
# Where a line of them begins. From each of a long one, all to its end would be read.
_FIRST_LINE = rf'(?=[{_LINE}])(?<![{_LINE}][{_MARK}]*)'
_WORD = regex.compile(
    rf"""
    (?:{_FIRST_LINE}{_LINES})?+ {_RUN} (?:{_LINES} (?:{_RUN})?+)*+
  | [\p{{Script=Han}}\p{{Script=Hiragana}}][{_MARK}]*+
  | \p{{Line_Break=Complex_Context}}[\p{{Line_Break=Complex_Context}}{_MARK}]*+
  | [\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}][{_MARK}]*+ (?:(?<=\u200d)\p{{Extended_Pictographic}}[{_MARK}]*+)*+
  | (?:\p{{WB=Regional_Indicator}}[{_MARK}]*+){{2}}
    """,
    regex.VERBOSE,
)

# In a text of ASCII alone: what `TOKENIZER` would take for a part of a word, and is none, as the stop of a sentence.
_LOOSE = re.compile(
    r"""['.:,;_](?:
        (?<!_)(?!(?<=[A-Za-z]['.:])[A-Za-z]|(?<=[0-9]['.,;])[0-9])
      | (?<=_)(?<![A-Za-z0-9_]_)_*(?![A-Za-z0-9_])
    )""",
    re.VERBOSE,
)
# The bulk of Chinese and Japanese: each of them is a word, but for one that a mark follows.
_ALONE = regex.compile(rf'([\u3041-\u3096\u4e00-\u9fff]+(?![{_MARK}]))')
_IN_A_WORD = re.compile(r"[A-Za-z0-9_'.:,;\x80-\ud7ff\ue000-\U0010ffff]*")


def words(text: str) -> list[str]:
    """The words of a text.

    >>> words("Don't re-use v2.5, 世界!")
    ["don't", 're', 'use', 'v2.5', '世', '界']
    """
    return [folded(word) for word in _WORD.findall(text)]


def folded(text: str) -> str:
    """A text with the characters that words of the index have: lower ones, each by itself as Elasticsearch does it."""
    # Python looks around a sigma, and makes two characters of a dotted I. A quote, which may be within a Hebrew word,
    # would end it for FTS5.
    return text.replace('Σ', 'σ').replace('İ', 'i').lower().replace('"', '״')


def may_begin_a_word(text: str) -> bool:
    """Whether FTS5 takes a text, as it is, for (the beginning of) one word."""
    return _IN_A_WORD.fullmatch(text) is not None


def spaced(text: str) -> str:
    """A text out of which `TOKENIZER` cuts the `words` of another.

    What stands between two spaces and is ASCII is left to it but for what is replaced by a space: that takes a tenth of
    the time.
    """
    return ' '.join(
        _LOOSE.sub(' ', ' '.join(parts)) if is_ascii else _cut(' '.join(parts))
        for is_ascii, parts in groupby(text.split(' '), str.isascii)
    )


def _cut(text: str) -> str:
    parts = _ALONE.split(text)
    parts[::2] = [folded(' '.join(_WORD.findall(part))) for part in parts[::2]]
    parts[1::2] = [' '.join(part) for part in parts[1::2]]
    return ' '.join(parts)
