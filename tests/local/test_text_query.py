"""Text queries: translated, run by FTS5, and compared with the same condition evaluated in Python."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_argilla.local import text_index
from beam_argilla.local.text import indexed_text
from beam_argilla.local.text_query import MAX_DEPTH, MAX_FUZZY_WORDS, MAX_WORDS, Match, TextQueryError, match, parse
from beam_argilla.local.words import TOKENIZER

TEXTS = [
    'the quick brown fox',
    'the lazy dog, and the quick cat',
    'quick-witted foxes',
    "Don't panic: version 2.5 of example.com costs 1,000",
    'naïve CAFÉ',
    'cafe au lait',
    '你好世界 hello',
    'हिन्दी भाषा',
    'great 👍👍 job',
    'snake_case and re-use',
    'AND OR NOT NEAR',
    'Mail a@x.org, e.g. with the ratio a:b, or 3.14',
    '',
]


@pytest.fixture(scope='module')
def index():
    connection = sqlite3.connect(':memory:')
    connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(body, extra, tokenize="{TOKENIZER}")')
    connection.execute('CREATE VIRTUAL TABLE words USING fts5vocab(texts, row)')
    for number, text in enumerate(TEXTS):
        connection.execute(
            'INSERT INTO texts (rowid, body, extra) VALUES (?, ?, ?)',
            (number, indexed_text(text.encode(), 'text'), f'number{number}'),
        )
    yield connection
    connection.close()


def found(index, query):
    """The texts that a query finds."""
    tree = parse(query)
    if tree is None:
        return []
    known = [word for (word,) in index.execute('SELECT term FROM words')]
    matched = match(tree, {word: word.among(known) for word in tree.fuzzy_words()})
    rows = index.execute('SELECT rowid FROM texts WHERE texts MATCH ?', (matched.expression,))
    numbers = {number for (number,) in rows}
    return [text for number, text in enumerate(TEXTS) if (number in numbers) != matched.negated]


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('quick', [0, 1, 2]),
        ('QUICK', [0, 1, 2]),
        ('quick fox', [0]),
        ('fox quick', [0]),
        ('quick + fox', [0]),
        ('fox | dog', [0, 1]),
        ('fox|dog', [0, 1]),
        ('fox*', [0, 2]),
        ('FOX*', [0, 2]),
        ('"quick brown"', [0]),
        ('"brown quick"', []),
        ('"brown quick"~3', [0]),
        ('"the fox"~1', []),
        ('"the fox"~2', [0]),
        ('quick -fox', [1, 2]),
        ('quick -"brown fox"', [1, 2]),
        ('-quick', [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ('--quick', [0, 1, 2]),
        ('- quick', [0, 1, 2]),
        ('-(fox | dog) the', [11]),
        ('quick -(fox | dog)', [2]),
        ('-(-quick)', [0, 1, 2]),
        ('lait | -quick', [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ('dog | -the', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]),
        # No precedence: (quick AND brown) OR lait, then AND the.
        ('quick brown | lait', [0, 5]),
        ('lait | quick brown', [0]),
        ('lait | (quick brown)', [0, 5]),
        ('lait | quick + (dog | brown)', [0, 1]),
        # The words may be in different fields, a phrase may not.
        ('fox number0', [0]),
        ('"fox number0"', []),
        # What belongs to a word and what does not: a part is not the whole.
        ("don't", [3]),
        ("DON'T", [3]),
        ('t', []),
        ('don', []),
        ('t*', [0, 1, 11]),
        ('don*', [3]),
        ("don'*", [3]),
        ('quick -t*', [2]),
        ('2.5', [3]),
        ('5.2', []),
        ('5', []),
        ('3.14', [11]),
        ('3 | 14', []),
        ('example.com', [3]),
        ('example', []),
        ('example.*', [3]),
        ('1,000', [3]),
        ('000', []),
        ('x.org', [11]),
        ('org', []),
        ('a@x.org', [11]),
        ('e.g.', [11]),
        ('g*', [8]),
        ('a:b', [11]),
        ('b', []),
        # A beginning is taken as it is.
        ('quick-w*', []),
        ('dog -quick-w*', [1]),
        # Fuzzy words.
        ('quikc~1', []),
        ('quikc~2', [0, 1, 2]),
        ('QUIK~1', [0, 1, 2]),
        ('qick~1 fax~1', [0]),
        ('brwn~1 -dog', [0]),
        ('quick -lazi~1', [0, 2]),
        ('fox~', [0]),
        ('fox~0', [0]),
        ('dont~1', [3]),
        ('no-one-is-near~2', []),
        ('witted-quick', [2]),
        ('snake_case', [9]),
        ('snake', []),
        ('café', [4]),
        ('cafe', [5]),
        ('naïve', [4]),
        ('世界', [6]),
        ('"好世"', [6]),
        ('"世好"', []),
        ('हिन्दी', [7]),
        ('हि', []),
        ('👍', [8]),
        ('job | 👎', [8]),
        # What would mean something to FTS5.
        ('AND', [1, 9, 10]),
        ('OR', [10, 11]),
        ('NOT NEAR', [10]),
        ('NEAR(quick', []),
        ('NEAR(OR', [10]),
        ('body:quick', []),
        ('body:fox', []),
        ('^quick', [0, 1, 2]),
        ("quick'", [0, 1, 2]),
        ('quick;', [0, 1, 2]),
        ('{quick}', [0, 1, 2]),
        # Nonsense is ignored, as Lucene's parser does.
        ('"quick', [0, 1, 2]),
        ('quick"', [0, 1, 2]),
        ('(quick', [0, 1, 2]),
        ('quick)', [0, 1, 2]),
        (')quick(', [0, 1, 2]),
        ('quick |', [0, 1, 2]),
        ('| quick', [0, 1, 2]),
        ('quick | | fox', [0, 1, 2]),
        ('quick ()', [0, 1, 2]),
        ('quick !!! ...', [0, 1, 2]),
        ('quick ""', [0, 1, 2]),
        ('quick\\', [0, 1, 2]),
        ('', []),
        ('   ', []),
        ('()', []),
        ('-', []),
        ('*', []),
        ('"', []),
        ('!?', []),
        ('\x00', []),
        ('\ud800', []),
        # Escapes.
        ('\\-quick', [0, 1, 2]),
        ('fo\\*', []),
        ('fo\\\\*', []),
        ('"qu\\"ick"', []),
        ('\\(fox\\)', [0]),
    ],
)
def test_query(index, query, expected):
    assert found(index, query) == [TEXTS[number] for number in expected]


def test_column_of_fts5_is_not_reachable(index):
    """A colon restricts an FTS5 query to a column: here it must be a part of the word."""
    assert found(index, 'extra:number0') == []


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='ab"()+|-*~\\ \t:^{}\'.,你é👍\x00\ud800', max_size=40))
def test_every_string_is_a_query(query):
    connection = sqlite3.connect(':memory:')
    connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(body, tokenize="{TOKENIZER}")')
    tree = parse(query)
    if tree is not None:
        matched = match(tree, {word: word.among(['a', 'b', 'ab', "a'b"]) for word in tree.fuzzy_words()})
        connection.execute('SELECT rowid FROM texts WHERE texts MATCH ?', (matched.expression,)).fetchall()
    connection.close()


WORDS = ['alpha', 'beta', 'gamma', 'delta']


def trees():
    leaf = st.sampled_from(WORDS).map(lambda word: (word, lambda text, word=word: word in text))
    return st.recursive(leaf, lambda inner: st.one_of(negated(inner), combined(inner)), max_leaves=8)


def negated(inner):
    return inner.map(lambda node: (f'-({node[0]})', lambda text, test=node[1]: not test(text)))


def combined(inner):
    def combine(args):
        (left, test_left), operator, (right, test_right) = args
        if operator == '|':
            return f'(({left}) | ({right}))', lambda text: test_left(text) or test_right(text)
        return f'(({left}){operator}({right}))', lambda text: test_left(text) and test_right(text)

    return st.tuples(inner, st.sampled_from(['|', '+', ' ']), inner).map(combine)


@pytest.fixture(scope='module')
def combinations():
    """All 16 texts that hold some of four words."""
    connection = sqlite3.connect(':memory:')
    connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(body, tokenize="{TOKENIZER}")')
    for number in range(16):
        text = ' '.join(word for bit, word in enumerate(WORDS) if number >> bit & 1)
        connection.execute('INSERT INTO texts (rowid, body) VALUES (?, ?)', (number, text))
    yield connection
    connection.close()


@settings(max_examples=200, deadline=None)
@given(trees())
def test_boolean_queries_mean_what_python_means(combinations, tree):
    query, test = tree
    matched = match(parse(query), {})
    rows = combinations.execute('SELECT rowid FROM texts WHERE texts MATCH ?', (matched.expression,))
    numbers = {number for (number,) in rows}
    for number in range(16):
        text = [word for bit, word in enumerate(WORDS) if number >> bit & 1]
        assert ((number in numbers) != matched.negated) == test(text), query


def test_brackets_of_any_depth(index):
    assert found(index, '(' * 100_000 + 'fox' + ')' * 100_000) == [TEXTS[0]]
    assert found(index, '(' * 100_000 + 'fox') == [TEXTS[0]]
    assert found(index, '-(' * 5_001 + 'fox' + ')' * 5_001) == [text for text in TEXTS if 'fox' not in text.split()]


def test_levels_up_to_the_limit(index):
    def nested(levels):
        query = 'fox'
        for level in range(levels):
            query = f'(nothing | {query})' if level % 2 else f'(the {query})'
        return query

    assert found(index, nested(MAX_DEPTH)) == [TEXTS[0]]
    with pytest.raises(TextQueryError, match='levels'):
        parse(nested(MAX_DEPTH + 1))


def test_words_up_to_the_limit(index):
    assert found(index, 'fox ' * MAX_WORDS) == [TEXTS[0]]
    assert found(index, 'fox ' + '| nothing ' * (MAX_WORDS - 1)) == [TEXTS[0]]
    assert found(index, '"' + 'fox ' * MAX_WORDS + '"') == []
    with pytest.raises(TextQueryError, match='words'):
        parse('fox ' * (MAX_WORDS + 1))


def test_fuzzy_words_up_to_the_limit():
    words = [f'fox{number}~1 ' for number in range(MAX_FUZZY_WORDS)]
    assert len(set(parse(''.join(words * 2)).fuzzy_words())) == MAX_FUZZY_WORDS
    with pytest.raises(TextQueryError, match='fuzzy words'):
        parse(''.join(words) + 'another~1')


def test_a_lone_negation_is_left_to_the_caller():
    assert match(parse('-a'), {}) == Match('"a"', negated=True)
    assert match(parse('b -a'), {}) == Match('("b" NOT "a")')


@pytest.mark.parametrize(
    ('value', 'field_type', 'expected'),
    [
        ('plain {"text"}. e.g.', 'text', ['plain', '{"text"}', 'e.g']),
        ('good👍世界', 'text', ['good', '👍', '世', '界']),
        ('[{"role": "user", "content": "Hi \\u00e9"}]', 'chat', ['user', 'Hi', 'é']),
        ('{"key": ["a", 1, null, {"b": true}]}', 'custom', ['key', 'a', '1', 'None', 'b', 'True']),
        ('{"key": null}', 'chat', []),
        ('no json', 'custom', ['no', 'json']),
        ('"\\ud800 x"', 'chat', ['?', 'x']),
    ],
)
def test_indexed_text(value, field_type, expected):
    assert indexed_text(value.encode(), field_type).split() == expected


def test_indexed_text_of_broken_utf8():
    assert indexed_text(b'caf\xff fox', 'text').endswith('fox')


def test_index_is_made_anew_if_a_part_of_it_is_gone():
    """As after a migration that replaces the table of the records, and its triggers with it."""
    connection = sqlite3.connect(':memory:')
    text_index.add_functions(connection)
    connection.execute('CREATE TABLE fields (id, name, settings, dataset_id, inserted_at)')
    connection.execute('CREATE TABLE records (id, fields, dataset_id)')
    connection.execute("""INSERT INTO fields VALUES (1, 'a', '{"type": "text"}', 1, 0)""")
    connection.commit()

    def insert(record_id, fields):
        connection.execute('INSERT INTO records VALUES (?, ?, 1)', (record_id, fields))
        connection.commit()

    def hits():
        index, texts = text_index.INDEX_TABLE, text_index.TEXT_TABLE
        query = f"SELECT record_id FROM {index} JOIN {texts} ON id = {index}.rowid WHERE {index} MATCH 'fox'"
        return [record_id for (record_id,) in connection.execute(query)]

    told = []
    text_index.ensure_index(connection, told.append)
    text_index.ensure_index(connection, told.append)
    assert told == []
    connection.execute(f'DROP TABLE {text_index.WORDS_TABLE}')
    insert('before', '{"a": "fox"}')
    text_index.ensure_index(connection, told.append)
    assert told == ['its records (1) are indexed for the search again, once.']
    assert hits() == ['before']
    insert('kept by the trigger', '{"a": "fox"}')
    insert('not valid JSON', '{"a": NaN}')
    assert hits() == ['before', 'kept by the trigger']
    (trigger,) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'beam_argilla_records_insert%'")
    connection.execute(f'DROP TRIGGER {trigger[0]}')
    insert('missed', '{"a": "fox"}')
    assert hits() == ['before', 'kept by the trigger']
    text_index.ensure_index(connection, told.append)
    assert hits() == ['before', 'kept by the trigger', 'missed']
    connection.close()
