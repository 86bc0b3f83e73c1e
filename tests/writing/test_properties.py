"""Any mix of good and bad records: each comes out once, and the good ones are on the server to the letter.

What is good is decided here (`fault_of`), from the documentation of `ba.Record` and the dataset's settings, and not by
the code under test.
"""

from __future__ import annotations

import math
import re
from typing import Any

import apache_beam as beam
import httpx
from apache_beam.testing.util import assert_that
from apache_beam.utils.secret import RawSecret
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import beam_argilla as ba
from beam_argilla.server.settings import label_question, metadata_property, rating_question, text_field, text_question
from tests.samples import pipeline, unique

LABELS = ['yes', 'no', 'ни то ни сё', '🤷']
MULTI_LABEL = {
    'name': 'many',
    'title': 'many',
    'required': False,
    'settings': {'type': 'multi_label_selection', 'options': [{'value': v, 'text': v} for v in LABELS]},
}
SETTINGS = ba.DatasetSettings(
    fields=[text_field('text'), text_field('more', required=False)],
    questions=[
        rating_question('stars', 'stars', [0, 1, 2, 10]),
        text_question('why', 'why', required=False),
        label_question('one', 'one', {v: v for v in LABELS}, required=False),
        MULTI_LABEL,
    ],
    metadata=[metadata_property('t', 'terms'), metadata_property('i', 'integer'), metadata_property('f', 'float')],
    allow_extra_metadata=True,
)
CLOSED = ba.DatasetSettings(SETTINGS.fields, SETTINGS.questions, SETTINGS.metadata)
LUCENE_TERM_BYTES = 32_766
FLOAT32 = float.fromhex('0x1.fffffep+127')


# -- what is good


def has_utf8(value: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in value)


def is_text(value: Any) -> bool:
    return type(value) is str and has_utf8(value)


def fits_term(value: str) -> bool:
    return len(value.encode()) <= LUCENE_TERM_BYTES


def is_json(value: Any) -> bool:
    """Whether JSON can carry the value so that it comes back the same."""
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return -(2**63) <= value < 2**64
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is str:
        return has_utf8(value)
    if type(value) is list:
        return all(map(is_json, value))
    return type(value) is dict and all(type(k) is str and has_utf8(k) and is_json(v) for k, v in value.items())


def is_metadata(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == 't':
        terms = value if type(value) in (list, tuple) else [value]
        return all(is_text(term) and fits_term(term) for term in terms)
    if name == 'i':
        return type(value) is int and -(2**63) <= value < 2**63
    if name == 'f':
        return type(value) is float and math.isfinite(value) and abs(value) <= FLOAT32
    return has_utf8(name) and is_json(value)


def is_agent(agent: Any) -> bool:
    if agent is None:
        return True
    return (
        type(agent) is str
        and 1 <= len(agent) <= 200
        and re.fullmatch(r'[-a-zA-Z0-9_:./ \t\n]*', agent) is not None
        and any(c.isalnum() for c in agent)
    )


def is_number_up_to_1(score: Any) -> bool:
    return type(score) in (int, float) and 0 <= score <= 1


def is_suggestion(suggestion: ba.Suggestion) -> bool:
    question, value, agent, score, kind = suggestion
    several = isinstance(value, list)
    if question == 'stars':
        fits = type(value) is int and value in (0, 1, 2, 10)
    elif question == 'why':
        fits = is_text(value)
    elif question == 'one':
        fits = type(value) is str and value in LABELS
    elif question == 'many':
        fits = several and bool(value) and all(v in LABELS and value.count(v) == 1 for v in value)
    else:
        fits = False
    if isinstance(score, list):
        scored = several and len(score) == len(value) and bool(score) and all(map(is_number_up_to_1, score))
    else:
        scored = score is None or (is_number_up_to_1(score) and not several)
    return fits and scored and is_agent(agent) and kind in (None, 'model', 'human')


def fault_of(record: ba.Record) -> str | None:
    """What is wrong with a record, None if it can be written."""
    identity = record.external_id
    if not (is_text(identity) and identity and '\0' not in identity and fits_term(identity)):
        return 'external id'
    if not is_text(record.fields.get('text')) or not all(
        name in ('text', 'more') and (value is None or is_text(value)) for name, value in record.fields.items()
    ):
        return 'fields'
    if not all(is_metadata(name, value) for name, value in record.metadata.items()):
        return 'metadata'
    questions = [s.question for s in record.suggestions]
    if len(questions) != len(set(questions)) or not all(map(is_suggestion, record.suggestions)):
        return 'suggestions'
    return None


# -- records, mostly good


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    # One part in 24: with some ten parts a record, both good and bad records are common.
    return st.integers(0, 23).flatmap(lambda n: bad if n == 0 else good)


ALL = st.characters(codec=None, exclude_categories=())  # lone surrogates and NUL included
GOOD_TEXTS = st.text(st.characters(exclude_categories=['Cs']), max_size=60) | st.sampled_from(
    [
        '\0',
        'a\0b',
        '\r\n',
        '\u2028',
        '\ufeff',
        '\uffff',
        '👩‍👩‍👧',
        'e\u0301',
        '\x85',
        '\u202e',
        '"\\',
        '\U0010ffff',
        ' ',
    ]
)
TEXTS = mostly(GOOD_TEXTS, st.text(ALL, max_size=20) | st.just('x\udc80') | st.sampled_from([7, 1.5, b'x', ['x'], {}]))
INTS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
HUGE = st.sampled_from([2**64, -(2**63) - 1, 2**70, 10**30])
FLOATS = st.floats(-FLOAT32, FLOAT32) | st.sampled_from([0.0, -0.0, 5e-324, FLOAT32, -FLOAT32, 1e16, 0.1])
NO_FLOATS = st.sampled_from([math.nan, math.inf, -math.inf, 3.5e38, 1.7e308])
JSON = st.recursive(
    st.none() | st.booleans() | INTS | st.floats(allow_nan=False, allow_infinity=False) | GOOD_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(GOOD_TEXTS, inner, max_size=3),
    max_leaves=6,
)
NO_JSON = HUGE | NO_FLOATS.filter(lambda f: not math.isfinite(f)) | st.sampled_from(
    [[1, math.nan], {'deep': [math.inf]}, {1: 'one'}, 'x\udfff', {'\ud800': 1}, {1, 2}, b'bytes', [2**70]]
)  # fmt: skip
AGENTS = mostly(
    st.none() | st.from_regex(r'[-a-zA-Z0-9_:./ ]{0,20}[a-zA-Z0-9][-a-zA-Z0-9_:./ \t\n]{0,20}', fullmatch=True),
    st.sampled_from(['', ' ', '--', 'a' * 201, 'gpt@4', 'modèle', 'x\0', 'ＧＰＴ', 7, 'a\ud800', '１']),
)
SCORES = mostly(
    st.none() | st.floats(0, 1) | st.sampled_from([0, 1]),
    st.sampled_from([-0.1, 1.1, math.nan, math.inf, True, 'high', 10**400, 2, [0.5], [], [2.0]]),
)
KINDS = mostly(st.sampled_from([None, 'model', 'human']), st.sampled_from(['', 'robot', 1]))


@st.composite
def suggestions(draw: Any) -> list[ba.Suggestion]:
    chosen = draw(st.lists(st.sampled_from(['stars', 'why', 'one', 'many']), max_size=4, unique=True))
    if draw(st.integers(0, 30)) == 0:
        chosen.append(draw(st.sampled_from(['stars', 'why', 'none such', ''])))
    out = []
    for question in chosen:
        score = draw(SCORES)
        if question == 'many':
            good = st.lists(st.sampled_from(LABELS), min_size=1, unique=True)
            value = draw(mostly(good, st.sampled_from([[], ['yes', 'yes'], ['maybe'], 'yes', [1], [['yes']], [None]])))
            if type(score) is float:  # the server wants a score for each label
                score = [score] * len(value)
        elif question == 'stars':
            value = draw(mostly(st.sampled_from([0, 1, 2, 10]), st.sampled_from([3, -1, 1.0, '1', True, None, [1]])))
        elif question == 'one':
            value = draw(mostly(st.sampled_from(LABELS), st.sampled_from(['', 'YES', 'yes ', 1, None, ['yes']])))
        else:
            value = draw(TEXTS)
        out.append(ba.Suggestion(question, value, draw(AGENTS), score, draw(KINDS)))
    return out


METADATA = st.fixed_dictionaries(
    {},
    optional={
        't': mostly(
            st.none() | GOOD_TEXTS | st.lists(GOOD_TEXTS, max_size=3),
            st.sampled_from([1, True, ['a', None], ['a', 1], 'x\udfff', 'é' * 16_384, ['a' * 32_767], {'a': 1}]),
        ),
        'i': mostly(st.none() | INTS, HUGE | st.sampled_from([True, 1.0, '1', math.nan, [1]])),
        'f': mostly(st.none() | FLOATS, NO_FLOATS | st.sampled_from([True, 1, '1.0', [1.0]])),
        'extra': mostly(JSON, NO_JSON),
    },
)
FIELDS = st.fixed_dictionaries(
    {'text': mostly(GOOD_TEXTS, st.none() | TEXTS)}, optional={'more': st.none() | TEXTS}
) | mostly(st.just({'text': 'x'}), st.sampled_from([{}, {'more': 'x'}, {'text': 'x', 'none such': 'x'}]))
IDS = mostly(
    st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1, max_size=30)
    | st.sampled_from([' ', '\n', '0', 'null', 'a' * 32_766, 'é' * 16_383, '🤷' * 8_191, '\ufeff', 'A', 'a']),
    st.sampled_from(['', 'a\0b', 'x\ud800', 'a' * 32_767, 'é' * 16_384, '🤷' * 8_192, 7, None, b'x']),
)
RECORDS = st.builds(ba.Record, IDS, FIELDS, suggestions(), METADATA, vectors=st.just({}), record_id=st.none())

MEGABYTE = 'x\U0001f937é\0' * (1 << 17)
LONG = [
    ba.Record('megabyte', {'text': MEGABYTE, 'more': MEGABYTE[::-1]}, [ba.Suggestion('why', MEGABYTE)]),
    ba.Record('bad megabyte', {'text': MEGABYTE + '\udc80'}),
    ba.Record('line', {'text': 'word ' * 200_000}, metadata={'extra': MEGABYTE}),
]


def deep(levels: int) -> list[Any]:
    return [deep(levels - 1)] if levels else []


def edges(name: str, *records: dict[str, Any]) -> list[ba.Record]:
    return [ba.Record(f'{name} {n}', **{'fields': {'text': 'x'}, **record}) for n, record in enumerate(records)]


def with_metadata(name: str, *values: Any) -> list[ba.Record]:
    return edges(name, *[{'metadata': {name: value}} for value in values])


def with_labels(name: str, *values_and_scores: Any) -> list[ba.Record]:
    return edges(name, *[{'suggestions': [ba.Suggestion('many', v, None, s)]} for v, s in values_and_scores])


NESTED = [
    [1, math.nan],
    {'deep': [math.inf]},
    [[[-math.inf]]],
    {1: 'one'},
    {'\ud800': 1},
    ['\udfff'],
    [2**64],
    {'a': {1}},
]
TWO = ['yes', 'no']
EDGES = [
    *with_metadata('i', 2**63 - 1, 2**63, -(2**63), 2**64, True, 0),
    *with_metadata('f', FLOAT32, 3.4028235e38, -FLOAT32, 5e-324, 1, True, math.nan),
    *with_metadata('t', ['a' * 32_766, '', '\0'], [], '', ('a', 'b'), ['a' * 32_767], [None]),
    *with_metadata('extra', 2**63, 2**64 - 1, 2**64, *NESTED, {}, [], {'a': {'b': [None, True, 1.5, 'x']}}),
    *with_metadata('\ud800', 1),
    *with_metadata('\0', 1),
    *with_metadata('', 1),
    *with_labels('value', ([['yes']], None), ([{}], None), ([None], None), (['yes'], None), (('yes',), None)),
    *with_labels('scores', (TWO, []), (TWO, [0.5]), (TWO, [0.5, 2]), (TWO, [0.5, math.nan]), (TWO, [0.5, 'x'])),
    *with_labels('more', (TWO, [0.5, None]), (TWO, 0.5), (TWO, [0, 1]), (TWO, [1.0, 0.5]), (TWO, [-0.1, 0.5])),
    # Equal for Python, but not for the server: what was right as 1 is not right as 1.0 or True.
    *edges('equal', *[{'suggestions': [ba.Suggestion('stars', value)]} for value in (1, 1.0, True, 1, 0, 0.0, False)]),
    *edges('score', *[{'suggestions': [ba.Suggestion('stars', 1, 'a', score)]} for score in (1, True, 1.0, False, 0)]),
    *edges('agent', *[{'suggestions': [ba.Suggestion('stars', 1, agent)]} for agent in (['a'], {}, 1, True, 'a')]),
    *edges('kind', *[{'suggestions': [ba.Suggestion('stars', 1, 'a', None, k)]} for k in (['model'], {}, 1, 'model')]),
    ba.Record('score of one', {'text': 'x'}, [ba.Suggestion('why', 'x', None, [0.5])]),
    ba.Record('empty', {'text': ''}, [ba.Suggestion('why', '')], {'t': '', 'extra': {}}),
    ba.Record('nothing', {'text': 'x'}, (), {}),
]  # fmt: skip


# -- the property


def make_unique(records: list[ba.Record]) -> list[ba.Record]:
    """The records without those whose id another one has."""
    return list({repr(r.external_id): r for r in records}.values())


def as_stored(record: ba.Record) -> dict[str, Any]:
    return {
        'fields': dict(record.fields),
        'metadata': {name: list(v) if type(v) is tuple else v for name, v in record.metadata.items()},
        'suggestions': {s.question: (s.value, s.agent, s.score, s.type) for s in record.suggestions},
    }


def stored(api: httpx.Client, name: str) -> dict[str, dict[str, Any]]:
    (dataset,) = [d for d in api.get('/me/datasets').json()['items'] if d['name'] == name]
    questions = {q['id']: q['name'] for q in api.get(f'/datasets/{dataset["id"]}/questions').json()['items']}
    params = {'limit': 1000, 'include': 'suggestions'}
    items = api.get(f'/datasets/{dataset["id"]}/records', params=params).json()['items']
    assert len({r['external_id'] for r in items}) == len(items)
    return {
        r['external_id']: {
            'fields': r['fields'],
            'metadata': r['metadata'],
            'suggestions': {
                questions[s['question_id']]: (s['value'], s['agent'], s['score'], s['type']) for s in r['suggestions']
            },
        }
        for r in items
    }


def printable(identity: Any) -> str:
    return str(identity).encode('utf-8', 'backslashreplace').decode()


def check(argilla_server: Any, api: httpx.Client, records: list[ba.Record]) -> None:
    """Writes the records and looks at all that came of it."""
    name = unique('property')
    connection = ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))
    good = [r for r in records if fault_of(r) is None]
    bad = {printable(r.external_id): fault_of(r) for r in records if fault_of(r) is not None}
    good_ids = sorted(r.external_id for r in good)

    def same(expected: list[str]) -> Any:
        def compare(actual: list[str]) -> None:
            assert sorted(actual) == expected, (
                f'too many: {sorted(set(actual) - set(expected))!r}, too few: {sorted(set(expected) - set(actual))!r}'
            )

        return compare

    with pipeline() as p:
        write = ba.WriteRecords(
            name, connection=connection, settings=SETTINGS, max_records=7, retry=ba.RetryPolicy(limit=30)
        )
        result = p | beam.Create(records) | write
        assert_that(result.written | beam.Map(lambda w: w.external_id), same(good_ids), 'written')
        refused = result.failed | beam.Map(lambda f: (ba.FailedRecord.to_json(f), f.external_id)[1])
        assert_that(refused, same(sorted(bad)), 'failed')
    found = stored(api, name)
    assert sorted(found) == good_ids
    for record in good:
        assert found[record.external_id] == as_stored(record), record.external_id[:40]


# Each example is a pipeline, so nothing is shrunk: what failed names the record anyway.
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(st.lists(RECORDS, min_size=15, max_size=30).map(make_unique))
@example(LONG)
def test_each_record_is_written_to_the_letter_or_refused(argilla_server, api, records):
    check(argilla_server, api, records)


def test_edges(argilla_server, api):
    check(argilla_server, api, EDGES)


def test_metadata_without_a_property_is_refused_where_the_dataset_wants_none(argilla_server, api):
    records = [
        ba.Record(f'r{n}', {'text': 'x'}, metadata={'i': n, **({'extra': 1} if n % 2 else {})}) for n in range(6)
    ]
    name = unique('closed')
    connection = ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=CLOSED)
        _ = result.failed
    assert sorted(stored(api, name)) == ['r0', 'r2', 'r4']


def test_a_number_that_python_does_not_even_print_is_refused_and_reported(argilla_server, api):
    """Python stops at 4,300 digits; that must cost the record, not the job."""
    numbers = with_metadata('i', 10**5_000, 1), with_metadata('f', 10**5_000, 1.0), with_metadata('extra', 10**5_000, 1)
    records = [record for pair in numbers for record in pair]
    records += edges('stars', *[{'suggestions': [ba.Suggestion('stars', value)]} for value in (10**5_000, 1)])
    records += edges('score', *[{'suggestions': [ba.Suggestion('stars', 1, None, score)]} for score in (10**5_000, 1)])
    name = unique('huge')
    connection = ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
        _ = result.failed | beam.Map(ba.FailedRecord.to_json)
    assert sorted(stored(api, name)) == ['extra 1', 'f 1', 'i 1', 'score 1', 'stars 1']


def test_metadata_that_is_nested_too_deeply_is_refused_and_reported(argilla_server, api):
    """orjson writes 254 levels; that must cost the record, not the job."""
    name = unique('deep')
    records = [ba.Record(f'd{n}', {'text': 'x'}, metadata={'extra': deep(n)}) for n in (10, 300)]
    connection = ba.ArgillaConnection(argilla_server.api_url, api_key=RawSecret(argilla_server.api_key))
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
        _ = result.failed | beam.Map(ba.FailedRecord.to_json)
    assert sorted(stored(api, name)) == ['d10']


def test_the_records_of_these_tests_are_both_good_and_bad():
    """Lest the generator drift to all of one kind, in which the property above would say little."""
    counts = {True: 0, False: 0}

    @settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(RECORDS)
    def count(record: ba.Record) -> None:
        counts[fault_of(record) is None] += 1

    count()
    assert min(counts.values()) >= 10, counts
