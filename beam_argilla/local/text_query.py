"""Elasticsearch's ``simple_query_string``, as argilla-server uses it, translated to an expression of SQLite's FTS5.

    word another     both               "some words"     the phrase              word*     all that begin with it
    word + another   both               "some words"~2   near each other         -word     not
    word | another   one of them        (a | b) c        brackets                \\-word    a literal character

    wrod~1           one letter (or two) may be another one, missing, or too much

There is no precedence: ``a b | c`` is ``(a b) | c``. Every text is a valid query, what makes no sense is ignored. The
beginning of a word, and a fuzzy one, are taken as they are: ``re-u*`` finds nothing, since no word has a hyphen in it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Literal

from beam_argilla.local.similar_words import MAX_EDITS, FuzzyWord
from beam_argilla.local.words import folded, may_begin_a_word, words

# Elasticsearch has a limit too. Neither FTS5 nor Python bears any depth.
MAX_WORDS = 1024
# Each is compared with all words of the index, which takes a tenth of a second where there are 100,000.
MAX_FUZZY_WORDS = 32
MAX_DEPTH = 20

_SPACE = ' \t\n\r'
_MAX_SLOP = 1000
# What no word is, so FTS5 finds nothing.
_NOTHING = '"\'"'


class TextQueryError(ValueError):
    """A query that is too large. The message is fit for the user."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A query for FTS5.

    Attributes:
      expression: What the records match, in FTS5's language.
      negated: They must *not* match it. FTS5 can only say "this but not that"; a lone "not that" is left to the caller.
    """

    expression: str
    negated: bool = False


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of a query: a leaf (an expression of FTS5, or a fuzzy word), or a combination of parts."""

    kind: Literal['leaf', 'fuzzy', 'and', 'or', 'not']
    expression: str = ''
    fuzzy: FuzzyWord | None = None
    children: tuple['Node', ...] = ()
    depth: int = 0

    def fuzzy_words(self) -> Iterator[FuzzyWord]:
        """The fuzzy words in it, whose similar ones `match` must be told."""
        if self.fuzzy is not None:
            yield self.fuzzy
        for child in self.children:
            yield from child.fuzzy_words()


def parse(query: str) -> Node | None:
    """Reads a query.

    Returns:
      None if nothing is left of it, such as of ``'()'`` or ``'!'``. Such a query finds nothing.

    Raises:
      TextQueryError: It has too many words, or too many levels of brackets.
    """
    tree = _Parser(query).parse()
    if tree is not None and len(set(tree.fuzzy_words())) > MAX_FUZZY_WORDS:
        raise TextQueryError(f'The text query has more than {MAX_FUZZY_WORDS} different fuzzy words')
    return tree


@dataclasses.dataclass
class _Group:
    """The state of the parser within one pair of brackets."""

    end: int
    top: Node | None = None
    operation: Literal['and', 'or'] | None = None
    negations: int = 0

    def add(self, node: Node | None) -> None:
        """Combines a node with what has been read so far, with the operator before it."""
        negated, self.negations = self.negations % 2 == 1, 0
        if node is None:
            return
        if negated:
            node = _not(node)
        self.top = node if self.top is None else _combined(self.operation or 'and', self.top, node)
        self.operation = None


class _Parser:
    """Follows Lucene's SimpleQueryParser, with a stack in place of its recursion."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._index = 0
        self._words = 0
        self._closing = _matching_brackets(query)

    def parse(self) -> Node | None:
        groups = [_Group(len(self._query))]
        while True:
            group = groups[-1]
            if self._index >= group.end:
                if len(groups) == 1:
                    return group.top
                groups.pop()
                self._index = group.end + 1
                groups[-1].add(group.top)
                continue
            character = self._query[self._index]
            if character == '-':
                # Two of them cancel each other out; a space after them makes them void.
                group.negations += 1
                self._index += 1
                continue
            if character == '(':
                end = self._closing.get(self._index)
                self._index += 1
                if end is None:
                    group.negations = 0
                elif end == self._index:
                    group.operation, group.negations = None, 0
                    self._index += 1
                else:
                    groups.append(_Group(end))
                continue
            if character == '"':
                self._phrase(group)
            elif character in '+|':
                if group.operation is None and group.top is not None:
                    group.operation = 'and' if character == '+' else 'or'
                self._index += 1
            elif character == ')' or character in _SPACE:
                self._index += 1
            else:
                group.add(self._word(group.end))
            group.negations = 0

    def _phrase(self, group: _Group) -> None:
        text, index = self._read(self._index + 1, group.end, '"')
        if index == group.end:
            self._index += 1
        elif not text:
            group.operation = None
            self._index = index + 1
        else:
            self._index = index + 1
            slop = self._distance(group.end)
            found = words(text)
            self._count(len(found))
            if slop and len(found) > 1:
                near = ' '.join(_quoted(word) for word in found)
                group.add(Node('leaf', f'NEAR({near}, {min(slop, _MAX_SLOP)})'))
            elif found:
                group.add(Node('leaf', _quoted(*found)))
            else:
                group.add(None)

    def _word(self, end: int) -> Node | None:
        start = self._index
        text, self._index = self._read(start, end, f'"|+(){_SPACE}', fuzzy=True)
        is_prefix = len(text) > 1 and self._query[start : self._index].endswith('*') and not self._is_escaped(start)
        if edits := min(self._distance(end), MAX_EDITS):
            self._count(1)
            return Node('fuzzy', fuzzy=FuzzyWord(folded(text), edits))
        if is_prefix:
            self._count(1)
            beginning = folded(text[:-1])
            return Node('leaf', f'{_quoted(beginning)} *' if may_begin_a_word(beginning) else _NOTHING)
        found = [Node('leaf', _quoted(word)) for word in words(text)]
        self._count(len(found))
        return reduce(partial(_combined, 'and'), found) if found else None

    def _is_escaped(self, start: int) -> bool:
        """Whether the last character that was read has a backslash before it that counts."""
        before = self._query[start : self._index - 1]
        return (len(before) - len(before.rstrip('\\'))) % 2 == 1

    def _read(self, index: int, end: int, stops: str, fuzzy: bool = False) -> tuple[str, int]:
        """Reads up to one of some characters, or a "~" if `fuzzy`; a backslash takes its meaning from what follows."""
        text: list[str] = []
        while index < end and self._query[index] not in stops and not (fuzzy and text and self._query[index] == '~'):
            if self._query[index] == '\\':
                index += 1
                if index == end:
                    break
            text.append(self._query[index])
            index += 1
        return ''.join(text), index

    def _distance(self, end: int) -> int:
        """Reads a "~2" behind a phrase or a word."""
        if self._index >= end or self._query[self._index] != '~':
            return 0
        text, self._index = self._read(self._index + 1, end, f'"|+(){_SPACE}')
        return int(text[:9]) if text.isascii() and text.isdigit() else 0

    def _count(self, number: int) -> None:
        self._words += number
        if self._words > MAX_WORDS:
            raise TextQueryError(f'The text query has more than {MAX_WORDS} words')


def _matching_brackets(query: str) -> dict[int, int]:
    """The position of the closing bracket of each opening one that has one."""
    opening: list[int] = []
    closing: dict[int, int] = {}
    escaped = False
    for index, character in enumerate(query):
        if escaped:
            escaped = False
        elif character == '\\':
            escaped = True
        elif character == '(':
            opening.append(index)
        elif character == ')' and opening:
            closing[opening.pop()] = index
    return closing


def _quoted(*phrase: str) -> str:
    # Words hold no quotes, see `folded`, and nothing else means something to FTS5 within these.
    return f'"{" ".join(phrase)}"'


def _not(node: Node) -> Node:
    return node.children[0] if node.kind == 'not' else Node('not', children=(node,), depth=node.depth)


def _combined(kind: Literal['and', 'or'], left: Node, right: Node) -> Node:
    children = (
        *(left.children if left.kind == kind else (left,)),
        *(right.children if right.kind == kind else (right,)),
    )
    depth = 1 + max(child.depth for child in children)
    if depth > MAX_DEPTH:
        raise TextQueryError(f'The text query has more than {MAX_DEPTH} levels')
    return Node(kind, children=children, depth=depth)


def match(node: Node, similar: Mapping[FuzzyWord, Sequence[str]]) -> Match:
    """Translates a query, of which the negations move outwards: each to a "but not", or to the only one of the whole.

    Args:
      node: The query, or a part of it.
      similar: The words in the index that each of its fuzzy words stands for.
    """
    if node.fuzzy is not None:
        return Match(_joined('OR', [_quoted(word) for word in similar[node.fuzzy]]) or _NOTHING)
    if node.kind == 'leaf':
        return Match(node.expression)
    if node.kind == 'not':
        inner = match(node.children[0], similar)
        return Match(inner.expression, not inner.negated)
    matches = [match(child, similar) for child in node.children]
    wanted = [m.expression for m in matches if not m.negated]
    unwanted = [m.expression for m in matches if m.negated]
    if node.kind == 'and':
        if not wanted:
            return Match(_joined('OR', unwanted), negated=True)
        return Match(_but_not(_joined('AND', wanted), _joined('OR', unwanted)))
    if not unwanted:
        return Match(_joined('OR', wanted))
    # a | -b is the same as -(b -a)
    return Match(_but_not(_joined('AND', unwanted), _joined('OR', wanted)), negated=True)


def _joined(operator: str, expressions: list[str]) -> str:
    if len(expressions) < 2:
        return ''.join(expressions)
    return f'({f" {operator} ".join(expressions)})'


def _but_not(wanted: str, unwanted: str) -> str:
    return f'({wanted} NOT {unwanted})' if unwanted else wanted
