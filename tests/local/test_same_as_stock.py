"""The faster ways of writing and reading records against argilla-server's own: the same answers, the same database."""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_argilla.local import LocalServer, serve
from beam_argilla.local.text_index import TEXT_TABLE

OPTIONS = [{'value': f'{n}', 'text': f'{n}'} for n in 'abc']
QUESTIONS: dict[str, dict[str, Any]] = {
    'rating': {'type': 'rating', 'options': [{'value': n} for n in range(1, 4)]},
    'text': {'type': 'text'},
    'label': {'type': 'label_selection', 'options': OPTIONS},
    'labels': {'type': 'multi_label_selection', 'options': OPTIONS, 'visible_options': 3},
    'ranking': {'type': 'ranking', 'options': OPTIONS},
    'span': {'type': 'span', 'field': 'text', 'options': OPTIONS, 'visible_options': 3, 'allow_overlapping': False},
}
FIELDS = {
    'text': {'type': 'text', 'use_markdown': False},
    'more': {'type': 'text', 'use_markdown': False},
    'chat': {'type': 'chat', 'use_markdown': False},
    'custom': {'type': 'custom', 'template': '', 'advanced_mode': False},
    'image': {'type': 'image'},
}
METADATA: dict[str, dict[str, Any]] = {
    'terms': {'type': 'terms', 'values': ['x', 'y']},
    'integer': {'type': 'integer', 'min': 0, 'max': 10},
    'float': {'type': 'float'},
}
_UUID = re.compile('[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}')


class Way:
    """A dataset on a server. The ids that it has made are called by names in what comes back."""

    def __init__(self, server: LocalServer, vectors: Sequence[str] = ('v', 'w')) -> None:
        self._url = f'{server.api_url}/api/v1'
        self.api = self._client(server.api_key)
        self._database = server.home / 'argilla.db'
        workspace = self.api.get('/me/workspaces').json()['items'][0]['id']
        name = f'd-{uuid.uuid4().hex[:8]}'
        self.dataset = self._post('/datasets', name=name, workspace_id=workspace)
        path = f'/datasets/{self.dataset}'
        for field, kind in FIELDS.items():
            self._post(f'{path}/fields', name=field, title=field, required=field == 'text', settings=kind)
        self.ids = {
            question: self._post(
                f'{path}/questions', name=question, title=question, required=question == 'rating', settings=kind
            )
            for question, kind in QUESTIONS.items()
        }
        for one, kind in METADATA.items():
            self._post(
                f'{path}/metadata-properties', name=one, title=one, settings=kind, visible_for_annotators=one != 'float'
            )
        for vector in vectors:
            self.ids[vector] = self._post(f'{path}/vectors-settings', name=vector, title=vector, dimensions=2)
        self.api.put(f'{path}/publish').raise_for_status()
        self.ids['me'] = self.api.get('/me').json()['id']
        person = {
            'username': f'p{uuid.uuid4().hex[:8]}',
            'first_name': 'p',
            'password': '12345678',
            'role': 'annotator',
        }
        other = self.api.post('/users', json=person).raise_for_status().json()
        self.ids['other'] = other['id']
        self._post(f'/workspaces/{workspace}/users', user_id=other['id'])
        self.others_api = self._client(other['api_key'])
        self.ids['nobody'] = str(uuid.uuid4())
        self._names = {id.replace('-', ''): name for name, id in (*self.ids.items(), ('dataset', self.dataset))}

    def _client(self, api_key: str) -> httpx.Client:
        headers = {'X-Argilla-Api-Key': api_key, 'Content-Type': 'application/json'}
        headers['Connection'] = 'close'  # a server closes it after a 500
        return httpx.Client(base_url=self._url, headers=headers, timeout=60)

    def _post(self, path: str, **body: Any) -> str:
        answer = self.api.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()['id']

    def body(self, items: list[Any]) -> bytes:
        """That of a bulk request, in which <name> stands for an id."""
        text = json.dumps({'items': items})
        return re.sub('<([a-z0-9]+)>', lambda found: self.ids.get(found[1], self.ids['nobody']), text).encode()

    def put(self, items: list[Any]) -> tuple[int, Any]:
        """A bulk request, and what comes of it."""
        answer = self.api.put(f'/datasets/{self.dataset}/records/bulk', content=self.body(items))
        if answer.status_code == 200:
            for item in answer.json()['items']:
                if item['external_id'] is not None:
                    self.ids[item['external_id']] = item['id']
        return answer.status_code, self.named(answer.json())

    def read(self, query: str, search: str | None = None) -> list[tuple[int, Any]]:
        """What the owner is shown, and the other person; a search through all, and as somebody who is to answer."""
        path = f'/datasets/{self.dataset}/records'
        answers = []
        for api in (self.api, self.others_api):
            if search is None:
                answers.append(api.get(f'{path}{query}'))
            else:
                for whose in ('', '/me'):
                    answers.append(api.post(f'{whose}{path}/search{query}', content=search))
        return [(answer.status_code, self.named(answer.json())) for answer in answers]

    def named(self, value: Any) -> Any:
        """What the server says, with names in place of ids, and what its times tell in place of times."""
        if isinstance(value, str):
            return _UUID.sub(lambda found: self._name(found[0]), value)
        if isinstance(value, list):
            return [self.named(one) for one in sorted(value, key=self._key)]
        if not isinstance(value, dict):
            return value
        told = {name: self.named(value[name]) for name in sorted(value) if name not in ('inserted_at', 'updated_at')}
        if 'query_score' in told:  # another one for each person
            told['query_score'] = type(told['query_score'])
        return told | ({'changed': value['updated_at'] > value['inserted_at']} if 'inserted_at' in value else {})

    def _key(self, one: Any) -> list[str]:
        """An order for what has none. Records and all else keep theirs."""
        of = ('record_id', 'question_id', 'user_id', 'vector_settings_id')
        return [self._name(one[name]) for name in of if name in one] if isinstance(one, dict) else []

    def _name(self, id: str) -> str:
        return self._names.setdefault(id.replace('-', ''), f'id {len(self._names)}')

    def stored(self) -> Any:
        """What the database holds of the dataset, to the byte."""
        own = f"'{uuid.UUID(self.dataset).hex}'"
        texts = ', '.join(f'f{n}' for n in range(len(FIELDS)))
        queries = [f'SELECT * FROM records WHERE dataset_id = {own} ORDER BY inserted_at']
        queries += [
            f'SELECT {columns} FROM {table} WHERE record_id IN (SELECT id FROM records WHERE dataset_id = {own})'
            for table, columns in (
                ('suggestions', '*'),
                ('vectors', '*'),
                ('responses', '*'),
                (TEXT_TABLE, f'record_id, {texts}'),
            )
        ]
        queries.append(f'SELECT * FROM datasets_users WHERE dataset_id = {own}')
        with closing(sqlite3.connect(self._database)) as connection:
            connection.row_factory = sqlite3.Row
            return [self.named([dict(row) for row in connection.execute(query)]) for query in queries]


TEXTS = st.sampled_from(['', 'one', 'two words', 'é 漢字 😀', 'a "quote" \\ \n \x7f', 'x' * 50])
NUMBERS = st.sampled_from([0, 1, 2, 3, 10, 11, 2**53 + 1, 2**70, -1, True, False, 0.0, 1.0, 0.5, 1e-7, 1e16])
CHAT = st.lists(
    st.fixed_dictionaries({'role': st.just('user'), 'content': st.sampled_from(['hello', 'é 漢'])}), max_size=2
)
ANYTHING = st.one_of(
    st.none(), TEXTS, NUMBERS, st.lists(TEXTS | NUMBERS, max_size=2), st.dictionaries(TEXTS, NUMBERS, max_size=1)
)
CUSTOM = st.fixed_dictionaries({}, optional={'a': ANYTHING, '_sa': ANYTHING, 'é': ANYTHING})
SPANS = st.lists(
    st.builds(lambda label, start, length: {'label': label, 'start': start, 'end': start + length},
              st.sampled_from('abz'), st.integers(0, 3), st.integers(0, 3)), max_size=2)  # fmt: skip
RANKS = st.permutations('abc').map(lambda names: [{'value': name, 'rank': n + 1} for n, name in enumerate(names)])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    'rating': st.sampled_from([1, 2, 3]),
    'text': TEXTS,
    'label': st.sampled_from('abc'),
    'labels': st.lists(st.sampled_from('abc'), min_size=1, unique=True),
    'ranking': RANKS,
    'span': SPANS,
}


def mostly(usual: st.SearchStrategy[Any], else_: st.SearchStrategy[Any] = ANYTHING) -> st.SearchStrategy[Any]:
    return st.integers(0, 39).flatmap(lambda n: else_ if n == 39 else usual)


IMAGES = mostly(
    st.sampled_from(['https://x.org/a.png', 'data:image/png;base64,QQ==']), st.sampled_from(['ftp://x', '', 'http://['])
)


def maybe(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


FIELD_VALUES = {
    'more': TEXTS,
    'chat': mostly(CHAT, st.just([{'role': '', 'content': ''}])),
    'custom': CUSTOM,
    'image': IMAGES,
}
SCORES = st.sampled_from([0, 1, 0.5, 1e-7, 2, None, True, [0.5, 1], []])
AGENTS = st.sampled_from(['gpt-4', 'a/b c', 'modèle', ' ', '', 'x' * 201, 'tab\t1', 'line\n'])


@st.composite
def suggestions(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=draw(st.integers(0, 19)) < 19))
    rest = mostly(
        maybe(type=st.sampled_from(['model', 'human', None])),
        maybe(score=SCORES, agent=AGENTS, type=ANYTHING, x=ANYTHING),
    )
    return [
        {
            'question_id': draw(mostly(st.just(f'<{name}>'), st.sampled_from(['<nobody>', 'no id', 3]))),
            'value': draw(mostly(VALUES[name])),
            **draw(rest),
        }
        for name in names
    ]


@st.composite
def responses(draw: st.DrawFn) -> list[dict[str, Any]]:
    users = draw(st.lists(mostly(st.sampled_from(['<me>', '<other>']), st.just('<nobody>')), max_size=2))
    values = {name: st.fixed_dictionaries({'value': mostly(value)}) for name, value in VALUES.items()}
    rating = {'rating': values.pop('rating')}
    return [
        {
            'user_id': user,
            'status': draw(mostly(st.sampled_from(['submitted', 'draft', 'discarded']))),
            'values': draw(mostly(st.fixed_dictionaries(rating, optional=values), maybe(**rating, **values))),
        }
        for user in users
    ]


METADATA_VALUES = {
    'terms': st.sampled_from(['x', ['x', 'y'], 'z']),
    'integer': NUMBERS,
    'float': NUMBERS,
    'extra': ANYTHING,
}
VECTORS = mostly(
    maybe(v=st.lists(NUMBERS, min_size=2, max_size=2), w=st.just([0.5, 1e-7])), maybe(v=ANYTHING, z=ANYTHING)
)
ITEMS = mostly(
    st.fixed_dictionaries(
        {
            'fields': mostly(
                st.fixed_dictionaries({'text': TEXTS}, optional=FIELD_VALUES), maybe(text=ANYTHING, z=ANYTHING)
            )
        },
        optional={
            'external_id': st.sampled_from([f'r{n}' for n in range(6)]),
            'id': st.sampled_from(['<r0>', '<r1>', '<nobody>', None]),
            'metadata': mostly(
                maybe(terms=st.sampled_from(['x', 'y']), float=st.sampled_from([0.5, 1.0])),
                maybe(**METADATA_VALUES) | st.none(),
            ),
            'suggestions': suggestions(),
            'responses': responses(),
            'vectors': VECTORS,
        },
    ),
    maybe(external_id=st.sampled_from(['r0', 'r1', 7]), suggestions=suggestions(), fields=st.none(), x=ANYTHING),
)


@pytest.fixture(scope='module')
def ways(argilla_server: LocalServer) -> Iterator[tuple[Way, Way]]:
    with serve(stock=True) as stock:
        yield Way(argilla_server), Way(stock)


@settings(max_examples=30)
@given(items=st.lists(ITEMS, min_size=1, max_size=3))
def test_a_bulk_request_is_answered_and_stored_alike(ways, items):
    fast, stock = ways
    assert fast.put(items) == stock.put(items)
    assert fast.stored() == stock.stored()


EVERYTHING = {
    'fields': {
        'text': 'one',
        'chat': [{'role': 'user', 'content': 'hello'}],
        'custom': {'a': [1, {'b': None}]},
        'image': 'https://x.org/a.png',
    },
    'metadata': {'terms': 'x', 'integer': 3, 'float': 0.5, 'more': ['é']},
    'suggestions': [
        {'question_id': '<rating>', 'value': 1, 'agent': 'gpt-4', 'score': 0.5, 'type': 'model'},
        {'question_id': '<labels>', 'value': ['a', 'b'], 'score': [0.5, 1]},
        {'question_id': '<span>', 'value': [{'label': 'a', 'start': 0, 'end': 3}]},
        {'question_id': '<ranking>', 'value': [{'value': name, 'rank': n} for n, name in enumerate('abc', 1)]},
    ],
    'responses': [{'user_id': '<me>', 'status': 'submitted', 'values': {'rating': {'value': 2}}}],
    'vectors': {'v': [0.5, 1], 'w': [1e-7, 2]},
}


def test_the_faster_way_takes_all_that_records_have(ways):
    """And their times rise from each to the next, so that pages keep the order in which they were sent."""
    fast, stock = ways
    items = [{'external_id': f'whole {n}', **EVERYTHING} for n in range(20)]
    for _ in ('new', 'there already'):
        assert fast.put(items) == stock.put(items)
        assert fast.stored() == stock.stored()
        listed = fast.api.get(f'/datasets/{fast.dataset}/records', params={'limit': 1000}).json()['items']
        times = [datetime.fromisoformat(r['inserted_at']) for r in listed if 'whole' in (r['external_id'] or '')]
        steps = {later - earlier for earlier, later in itertools.pairwise(times)}
        assert (len(times), steps) == (20, {timedelta(microseconds=1)})
    written = fast.api.put(f'/datasets/{fast.dataset}/records/bulk', content=fast.body(items)).json()['items']
    parts = [part for record in written for part in (*record['suggestions'], *record['responses'])]
    assert parts
    assert all(part['inserted_at'] <= part['updated_at'] for part in parts)


@pytest.mark.parametrize(
    'text',
    [
        pytest.param(b'{"a":' * 2000 + b'1' + b'}' * 2000, id='nested too deep'),
        pytest.param(b'{"a": "\xff"}', id='no UTF-8'),
    ],
)
def test_what_is_no_json_is_told(ways, text):
    body = b'{"items": [{"fields": {"text": "one", "custom": %s}}]}' % text
    answers = [
        way.api.put(f'/datasets/{way.dataset}/records/bulk', content=body, headers={'Content-Type': 'application/json'})
        for way in ways
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (400, {'detail': 'There was an error parsing the body'})
    ] * 2


def test_ids_rise_with_time(ways):
    """What is written at a time so stands side by side in the indexes, and not on a page of its own for each row."""
    fast, stock = ways
    listed = []
    for turn in range(3):
        items = [{'external_id': f'turn {turn}, {n}', **EVERYTHING} for n in range(20)]
        assert fast.put(items) == stock.put(items)
        records = fast.api.get(f'/datasets/{fast.dataset}/records?limit=1000&include=suggestions').json()['items']
        written = [record for record in records if (record['external_id'] or '').startswith(f'turn {turn},')]
        listed.append([uuid.UUID(one['id']) for record in written for one in (record, *record['suggestions'])])
        assert {(id.version, id.variant) for id in listed[-1]} == {(7, uuid.RFC_4122)}
        assert len(set(listed[-1])) == 20 * (1 + len(EVERYTHING['suggestions']))
    assert max(listed[0]) < min(listed[1])
    assert max(listed[1]) < min(listed[2])


def test_numbers_that_json_does_not_know_are_null_in_an_answer(ways):
    """Python's own JSON has them, and so has the SDK's: prices that pandas found missing, for example."""
    unknown = '{"a": NaN, "b": [Infinity, -Infinity], "NaN": "Infinity %s"}' % (2**70)
    told = {'a': None, 'b': [None, None], 'NaN': f'Infinity {2**70}'}
    stored = []
    fields = f'{{"text": "NaN", "custom": {unknown}}}'
    item = f'{{"external_id": "no numbers", "fields": {fields}, "metadata": {{"a": [{unknown}]}}}}'
    for way in ways:
        path = f'/datasets/{way.dataset}/records'
        headers = {'Content-Type': 'application/json'}
        put = way.api.put(f'{path}/bulk', content=f'{{"items": [{item}]}}', headers=headers).raise_for_status()
        listed = way.api.get(f'{path}?limit=1000')
        found = way.api.post(f'{path}/search?limit=1000', json={})
        mine = way.api.post(f'/me{path}/search?limit=1000', json={})
        (id,) = [record['id'] for record in put.json()['items']]
        for answer in (put, listed, found, mine):
            records = [item.get('record', item) for item in msgspec.json.decode(answer.content)['items']]
            (record,) = [record for record in records if record['id'] == id]
            assert record['fields'] == {'text': 'NaN', 'custom': told}
            assert record['metadata'] == {'a': [told]}
        # They stay in the database, also when something else of the record is changed.
        more = {'items': [{'external_id': 'no numbers', 'metadata': {'b': 1}}]}
        way.api.put(f'{path}/bulk', json=more).raise_for_status()
        stored.append(way.stored())
        assert 'NaN, ' in str(stored[-1])
        way.api.delete(f'{path}?ids={id}').raise_for_status()
    assert stored[0] == stored[1]


LISTS = [
    '',
    '?limit=3&offset=2&include=responses&include=suggestions',
    '?include=vectors,responses,suggestions',
    '?include=vectors:v',
    '?include=vectors:v,w&limit=3',
    '?offset=1000',
    '?limit=0',
    '?limit=1001&include=no',
    '?include=vectors,vectors:v',
]
IN_ORDER = [{'scope': {'entity': 'record', 'property': 'inserted_at'}, 'order': 'asc'}]
RATED = {'entity': 'suggestion', 'question': 'rating'}
SEARCHES: list[Any] = [
    {'sort': IN_ORDER},
    {'sort': IN_ORDER, 'query': {'text': {'q': 'two'}}},
    {'query': {'text': {'q': 'two', 'field': 'no'}}},
    {'query': {'vector': {'name': 'v', 'value': [1, 0]}}},
    {'sort': IN_ORDER, 'filters': {'type': 'and', 'and': [{'type': 'terms', 'scope': RATED, 'values': ['1']}]}},
    {'sort': [{'scope': {'entity': 'metadata', 'metadata_property': 'no'}, 'order': 'asc'}]},
    [],
]


def test_pages_are_alike(ways):
    fast, stock = ways
    different = [
        EVERYTHING | {'fields': {'text': text}, 'metadata': metadata, 'vectors': vectors}
        for text in ('one', 'two words', 'é 漢字 😀')
        for metadata in (None, {}, {'terms': ['x', 'y'], 'float': 1e16, 'more': {'a': [2**70, 1e-7, None, 'é']}})
        for vectors in ({}, {'v': [0.25, 1]})
    ]
    different += [{'fields': {'text': 'alone'}}]
    items = [{'external_id': f'page {n}', **item} for n, item in enumerate(different)]
    assert fast.put(items) == stock.put(items)
    for query in LISTS:
        assert fast.read(query) == stock.read(query)
    searches = [(query, SEARCHES[0]) for query in LISTS] + [(LISTS[1], search) for search in SEARCHES]
    for query, search in searches:
        assert fast.read(query, json.dumps(search)) == stock.read(query, json.dumps(search))
