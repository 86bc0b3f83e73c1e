"""The search of a local server, through its HTTP API, against the same conditions evaluated in Python."""

import random
import uuid
from collections import Counter
from datetime import datetime, timedelta

import httpx
import numpy as np
import pytest

RATING = 'rating "é" $.%_[0]\\'  # A name may be anything.
LABEL, TAGS, COMMENT = 'topic', 'tags', 'comment'
LENGTH, SOURCE, RATIO = 'len "gth" é.%_', 'source', 'ratio'
BIG = 2**53 + 1
AGENTS = ['gpt-4', 'org/model:7b', 'Human 1']
NUMBER = 60


def make_records():
    """Records as the API takes them; the field "number" tells them apart."""
    rng = random.Random(7)

    def maybe(value, share=0.75):
        return value() if rng.random() < share else None

    records = []
    for number in range(NUMBER):
        metadata = {
            SOURCE: maybe(
                lambda: rng.choice(['web', 'Web', 'book %', 'é"', ['web', 'book %'], ['zoo', 'ant'], 7, True])
            ),
            LENGTH: maybe(lambda: rng.choice([-3, 0, 1, 5, 5, 100, BIG, BIG - 1])),
            RATIO: maybe(lambda: rng.choice([0.1, 0.25, 0.3, 1.5, 1e20, -2.0])),
        }
        suggestions = {
            RATING: maybe(lambda: {'value': rng.randint(1, 5), 'score': maybe(lambda: rng.choice([0.1, 0.5, 1.0]))}),
            LABEL: maybe(lambda: {'value': rng.choice(['sports', 'news']), 'score': 0.3}),
            TAGS: maybe(lambda: make_tags(rng)),
            COMMENT: maybe(lambda: {'value': rng.choice(['fine', 'bad'])}),
        }  # fmt: skip
        for suggestion in filter(None, suggestions.values()):
            suggestion['agent'] = maybe(lambda: rng.choice(AGENTS))
            suggestion['type'] = maybe(lambda: rng.choice(['model', 'human']))
        records.append(
            {
                'external_id': f'id-{rng.randrange(10**6):06}' if number % 10 else None,
                'fields': {
                    'number': str(number),
                    'text': maybe(lambda: rng.choice(['red fox', 'blue dog', 'red dog'])),
                },
                'metadata': {name: value for name, value in metadata.items() if value is not None},
                'suggestions': {name: value for name, value in suggestions.items() if value is not None},
                'vectors': maybe(lambda: {'v': [round(rng.uniform(-1, 1), 3) for _ in range(4)]}) or {},
                'responses': {
                    user: response
                    for user in ('owner', 'annotator')
                    if (response := maybe(lambda: make_response(rng), 0.6)) is not None
                },
            }
        )
    return records


def make_tags(rng):
    tags = rng.sample(['x', 'y', 'z'], rng.randint(1, 3))
    return {'value': tags, 'score': [rng.choice([0.1, 0.2, 0.3]) for _ in tags]}


def make_response(rng):
    status = rng.choice(['submitted', 'draft', 'discarded'])
    values = {
        RATING: rng.randint(1, 5),
        LABEL: rng.choice(['sports', 'news']),
        TAGS: rng.sample(['x', 'y', 'z'], rng.randint(1, 3)),
        COMMENT: 'fine',
    }
    if status != 'submitted':
        values = {name: value for name, value in values.items() if rng.random() < 0.7}
    return {'status': status, 'values': values}


class Api:
    """The HTTP API, as one user."""

    def __init__(self, server, api_key=None):
        self.http = httpx.Client(
            base_url=f'{server.api_url}/api/v1/', headers={'X-Argilla-Api-Key': api_key or server.api_key}, timeout=60
        )

    def __call__(self, method, path, **kwargs):
        response = self.http.request(method, path, **kwargs)
        assert response.is_success, response.text
        return response.json() if response.content else None


class Corpus:
    """A dataset, and the same in Python."""

    def __init__(self, server):
        self.server = server
        self.owner = Api(server)
        name = f'search-{uuid.uuid4().hex[:8]}'
        (self.workspace,) = [w for w in self.owner('GET', 'me/workspaces')['items'] if w['name'] == 'default']
        annotator = self.owner(
            'POST', 'users', json={'first_name': 'A', 'username': name, 'password': '12345678', 'role': 'annotator'}
        )
        self.owner('POST', f'workspaces/{self.workspace["id"]}/users', json={'user_id': annotator['id']})
        self.annotator = Api(server, annotator['api_key'])
        self.users = {'owner': self.owner('GET', 'me')['id'], 'annotator': annotator['id']}
        self.id, self.questions = self.create_dataset(name)
        self.records = make_records()
        self.write()

    def create_dataset(self, name):
        dataset = self.owner('POST', 'datasets', json={'name': name, 'workspace_id': self.workspace['id']})['id']
        for field in ('number', 'text'):
            settings = {'type': 'text', 'use_markdown': False}
            self.owner(
                'POST', f'datasets/{dataset}/fields',
                json={'name': field, 'title': field, 'required': field == 'number', 'settings': settings},
            )  # fmt: skip
        options = [{'value': i} for i in range(1, 6)]
        labels = [{'value': v, 'text': v} for v in ('sports', 'news')]
        tags = [{'value': v, 'text': v} for v in 'xyz']
        questions = {}
        for question, settings in {
            RATING: {'type': 'rating', 'options': options},
            LABEL: {'type': 'label_selection', 'options': labels},
            TAGS: {'type': 'multi_label_selection', 'options': tags},
            COMMENT: {'type': 'text', 'use_markdown': False},
        }.items():
            body = {'name': question, 'title': question, 'required': True, 'settings': settings}
            questions[question] = self.owner('POST', f'datasets/{dataset}/questions', json=body)['id']
        self.properties = {}
        for name, kind in {SOURCE: 'terms', LENGTH: 'integer', RATIO: 'float'}.items():
            body = {'name': name, 'title': name, 'settings': {'type': kind}}
            self.properties[name] = self.owner('POST', f'datasets/{dataset}/metadata-properties', json=body)['id']
        body = {'name': 'v', 'title': 'v', 'dimensions': 4}
        self.owner('POST', f'datasets/{dataset}/vectors-settings', json=body)
        self.owner('PUT', f'datasets/{dataset}/publish')
        return dataset, questions

    def write(self):
        items = [
            {
                **record,
                'suggestions': [
                    {'question_id': self.questions[name], **suggestion}
                    for name, suggestion in record['suggestions'].items()
                ],
                'responses': [
                    {
                        'user_id': self.users[user],
                        'status': response['status'],
                        'values': {name: {'value': value} for name, value in response['values'].items()},
                    }
                    for user, response in record['responses'].items()
                ],
            }
            for record in self.records
        ]
        # In two requests, so that the times differ visibly.
        half = len(items) // 2
        for part in (items[:half], items[half:]):
            self.owner('PUT', f'datasets/{self.id}/records/bulk', json={'items': part})
        for stored in self.owner('GET', f'datasets/{self.id}/records', params={'limit': 1000})['items']:
            record = self.records[int(stored['fields']['number'])]
            record |= {key: stored[key] for key in ('id', 'status', 'inserted_at', 'updated_at')}

    def search(self, filters=(), sort=(), text=None, vector=None, me=None, limit=1000, offset=0):
        """The numbers of the records that are found, in order."""
        body = {}
        if filters:
            body['filters'] = {'and': list(filters)}
        if sort:
            body['sort'] = list(sort)
        if text is not None or vector is not None:
            body['query'] = {'text': text, 'vector': vector}
        api = self.owner if me is None else me
        path = f'{"" if me is None else "me/"}datasets/{self.id}/records/search'
        result = api('POST', path, json=body, params={'limit': limit, 'offset': offset})
        self.total, self.scores = result['total'], [item['query_score'] for item in result['items']]
        return [int(item['record']['fields']['number']) for item in result['items']]

    def where(self, test):
        """The numbers of the records that meet a condition."""
        return [number for number, record in enumerate(self.records) if test(record)]


@pytest.fixture(scope='module')
def corpus(argilla_server):
    return Corpus(argilla_server)


def as_list(value):
    return [] if value is None else value if isinstance(value, list) else [value]


def keyword(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def metadata(name):
    scope = {'entity': 'metadata', 'metadata_property': name}
    return scope, lambda record: as_list(record['metadata'].get(name))


def suggestion(question, name='value'):
    scope = {'entity': 'suggestion', 'question': question, 'property': name}
    return scope, lambda record: as_list(record['suggestions'].get(question, {}).get(name))


def property_of_record(name):
    return {'entity': 'record', 'property': name}, lambda record: as_list(record[name])


def response(question, users=('owner', 'annotator')):
    """All values of each response; they are filtered one by one, and never of different responses together."""
    return {'entity': 'response', 'question': question}, lambda record: [
        value for user in users if user in record['responses']
        for value in as_list(record['responses'][user]['values'].get(question))
    ]  # fmt: skip


KEYWORDS = [
    (metadata(SOURCE), ['web', 'book %', 'é"', 'nothing', '7', 'true', 'ant', '%']),
    (suggestion(LABEL), ['sports', 'nothing']),
    (suggestion(TAGS), ['x', 'z']),
    (suggestion(RATING, 'agent'), AGENTS),
    (suggestion(COMMENT, 'type'), ['model', 'human']),
    (response(LABEL), ['news']),
    (response(TAGS), ['y', 'z']),
    (property_of_record('status'), ['completed', 'pending', 'nothing']),
]
NUMBERS = [
    (metadata(LENGTH), [5, -3, BIG, BIG - 1, 42]),
    (metadata(RATIO), [0.1, 0.3, 1e20, -2.0]),
    (suggestion(RATING), [1, 3]),
    (suggestion(RATING, 'score'), [0.5, 1.0]),
    (suggestion(TAGS, 'score'), [0.1, 0.2]),
    (response(RATING), [2, 5]),
]


def title(value):
    return str(value).replace("{'entity': ", '') if isinstance(value, dict) else None


@pytest.mark.parametrize(('property_', 'terms'), KEYWORDS, ids=title)
def test_terms_filter_of_keywords(corpus, property_, terms):
    scope, values = property_
    for wanted in [[term] for term in terms] + [terms, terms[:2] * 100]:
        found = corpus.search([{'type': 'terms', 'scope': scope, 'values': wanted}])
        expected = corpus.where(lambda r: any(keyword(v) in wanted for v in values(r)))  # noqa: B023
        assert found == expected
        assert corpus.total == len(expected)


@pytest.mark.parametrize(('property_', 'terms'), NUMBERS, ids=title)
def test_terms_filter_of_numbers(corpus, property_, terms):
    scope, values = property_
    for wanted in [[term] for term in terms] + [terms]:
        for shape in (str, lambda term: term):
            found = corpus.search([{'type': 'terms', 'scope': scope, 'values': [shape(term) for term in wanted]}])
            assert found == corpus.where(lambda r: any(v in wanted for v in values(r)))  # noqa: B023


@pytest.mark.parametrize(('property_', 'terms'), NUMBERS, ids=title)
def test_range_filter_of_numbers(corpus, property_, terms):
    scope, values = property_
    low, high = sorted(terms[:2])
    for bounds in ({'ge': low}, {'le': low}, {'ge': low, 'le': high}, {'ge': high, 'le': high}, {'ge': str(low)}):
        found = corpus.search([{'type': 'range', 'scope': scope, **bounds}])
        ge, le = float(bounds.get('ge', '-inf')), float(bounds.get('le', 'inf'))
        expected = corpus.where(lambda r: any(ge <= v <= le for v in values(r)))  # noqa: B023
        assert found == expected


def test_numbers_are_exact_beyond_what_a_float_can_hold(corpus):
    scope, values = metadata(LENGTH)
    assert corpus.search([{'type': 'terms', 'scope': scope, 'values': [str(BIG)]}]) == corpus.where(
        lambda r: BIG in values(r)
    )
    assert corpus.where(lambda r: BIG in values(r)) != corpus.where(lambda r: float(BIG) in map(float, values(r)))


@pytest.mark.parametrize(('property_', 'terms'), KEYWORDS, ids=title)
def test_range_filter_of_keywords(corpus, property_, terms):
    scope, values = property_
    low, high = sorted(terms[:2]) if len(terms) > 1 else (terms[0], terms[0])
    for bounds in ({'ge': low}, {'le': low}, {'ge': low, 'le': high}):
        found = corpus.search([{'type': 'range', 'scope': scope, **bounds}])
        ge, le = bounds.get('ge', ''), bounds.get('le', '\U0010ffff')
        assert found == corpus.where(lambda r: any(ge <= keyword(v) <= le for v in values(r)))  # noqa: B023


@pytest.mark.parametrize('name', ['id', 'external_id'])
def test_filter_of_ids(corpus, name):
    scope, values = property_of_record(name)
    some = [record[name] for record in corpus.records[11:14]]
    found = corpus.search([{'type': 'terms', 'scope': scope, 'values': [*some, 'nothing', '%', str(uuid.uuid4())]}])
    assert found == [11, 12, 13]
    assert corpus.search([{'type': 'range', 'scope': scope, 'ge': some[0]}]) == corpus.where(
        lambda r: any(v >= some[0] for v in values(r))
    )


@pytest.mark.parametrize('name', ['inserted_at', 'updated_at'])
def test_filter_of_times(corpus, name):
    scope, _ = property_of_record(name)

    def search(**bounds):
        return corpus.search([{'type': 'range', 'scope': scope, **bounds}])

    times = [datetime.fromisoformat(record[name]) for record in corpus.records]
    middle = times[NUMBER // 2 + 3]
    later = [number for number, time in enumerate(times) if time >= middle]
    assert search(ge=middle.isoformat()) == later
    assert search(ge=middle.isoformat() + 'Z') == later
    assert search(ge=(middle + timedelta(hours=2)).isoformat() + '+02:00') == later
    assert search(le=middle.isoformat()) == [number for number, time in enumerate(times) if time <= middle]
    # A day without a time: from its beginning, to its end.
    day = str(times[0].date())
    day_after = str(times[-1].date() + timedelta(days=1))
    assert search(ge=day, le=str(times[-1].date())) == list(range(NUMBER))
    assert search(ge=day_after) == []
    milliseconds = (min(times).replace(microsecond=0) - datetime(1970, 1, 1)).total_seconds() * 1000
    assert search(ge=milliseconds) == list(range(NUMBER))
    assert search(le=milliseconds - 1000) == []
    found = corpus.search([{'type': 'terms', 'scope': scope, 'values': [middle.isoformat()]}])
    assert found == [number for number, time in enumerate(times) if time == middle]


STATUSES = [
    ['pending'],
    ['submitted'],
    ['draft'],
    ['discarded'],
    ['draft', 'discarded'],
    ['pending', 'draft'],
    ['pending', 'draft', 'submitted', 'discarded'],
    ['nothing'],
]


@pytest.mark.parametrize('statuses', STATUSES, ids=' '.join)
def test_filter_of_response_status(corpus, statuses):
    condition = {'type': 'terms', 'scope': {'entity': 'response', 'property': 'status'}, 'values': statuses}

    def expected(users):
        def test(record):
            given = [record['responses'][user]['status'] for user in users if user in record['responses']]
            return any(status in statuses for status in given) or ('pending' in statuses and not given)

        return corpus.where(test)

    order = [{'scope': {'entity': 'record', 'property': 'inserted_at'}, 'order': 'asc'}]
    assert corpus.search([condition]) == expected(['owner', 'annotator'])
    assert corpus.search([condition], sort=order, me=corpus.owner) == expected(['owner'])
    assert corpus.search([condition], sort=order, me=corpus.annotator) == expected(['annotator'])


@pytest.mark.parametrize('user', ['owner', 'annotator'])
def test_my_search_filters_my_responses_only(corpus, user):
    for question, term in ((RATING, 3), (LABEL, 'news'), (TAGS, 'x')):
        scope, values = response(question, [user])
        found = corpus.search([{'type': 'terms', 'scope': scope, 'values': [term]}], me=getattr(corpus, user))
        assert sorted(found) == corpus.where(lambda r: term in values(r))  # noqa: B023
    scope, values = response(RATING, [user])
    found = corpus.search([{'type': 'range', 'scope': scope, 'ge': 2, 'le': 3}], me=getattr(corpus, user))
    assert sorted(found) == corpus.where(lambda r: any(2 <= v <= 3 for v in values(r)))


def test_filters_are_combined(corpus):
    (source, sources), (rating, ratings) = metadata(SOURCE), suggestion(RATING)
    found = corpus.search(
        [{'type': 'terms', 'scope': source, 'values': ['web']}, {'type': 'range', 'scope': rating, 'le': 3}],
        text={'q': 'red'},
    )
    expected = corpus.where(
        lambda r: 'web' in sources(r) and any(v <= 3 for v in ratings(r)) and 'red' in (r['fields']['text'] or '')
    )
    assert sorted(found) == expected
    assert 0 < len(expected) < NUMBER


def test_texts_are_not_filtered(corpus):
    """Elasticsearch does not index them; a filter that finds something here would find nothing elsewhere."""
    for scope in (suggestion(COMMENT)[0], response(COMMENT)[0]):
        assert corpus.search([{'type': 'terms', 'scope': scope, 'values': ['fine']}]) == []


@pytest.mark.parametrize('order', ['asc', 'desc'])
@pytest.mark.parametrize(
    'property_',
    [
        metadata(SOURCE),
        metadata(LENGTH),
        metadata(RATIO),
        suggestion(RATING),
        suggestion(LABEL),
        suggestion(TAGS),
        suggestion(RATING, 'score'),
        suggestion(TAGS, 'score'),
        suggestion(LABEL, 'agent'),
        suggestion(LABEL, 'type'),
        property_of_record('id'),
        property_of_record('external_id'),
        property_of_record('status'),
        property_of_record('inserted_at'),
        property_of_record('updated_at'),
        response(LABEL),
        response(TAGS),
    ],
    ids=lambda value: title(value[0]) if isinstance(value, tuple) else value,
)
def test_sort(corpus, property_, order):
    """By the first value of a list; records without a value last; in the order of insertion where they are equal."""
    scope, values = property_
    numeric = all(isinstance(v, int | float) for r in corpus.records for v in values(r))

    def key(record):
        found = values(record) if numeric else [keyword(v) for v in values(record)]
        return (min if order == 'asc' else max)(found) if found else None

    assert corpus.search(sort=[{'scope': scope, 'order': order}]) == expected_order(corpus, key, order)


def expected_order(corpus, key, order):
    keys = [key(record) for record in corpus.records]
    present = [number for number in range(NUMBER) if keys[number] is not None]
    # Stable in both directions, which reverse=True is as well.
    present.sort(key=lambda number: keys[number], reverse=order == 'desc')
    return present + [number for number in range(NUMBER) if keys[number] is None]


@pytest.mark.parametrize('order', ['asc', 'desc'])
@pytest.mark.parametrize('users', [('owner', 'annotator'), ('annotator',)], ids=len)
def test_sort_by_the_average_rating_of_responses(corpus, users, order):
    scope, values = response(RATING, users)
    found = corpus.search(
        sort=[{'scope': scope, 'order': order}], me=corpus.annotator if users == ('annotator',) else None
    )

    def average(record):
        return sum(values(record)) / len(values(record)) if values(record) else None

    assert found == expected_order(corpus, average, order)


@pytest.mark.parametrize('order', ['asc', 'desc'])
def test_sort_by_response_status(corpus, order):
    def key(record):
        statuses = [response['status'] for response in record['responses'].values()]
        return (min if order == 'asc' else max)(statuses) if statuses else None

    scope = {'entity': 'response', 'property': 'status'}
    assert corpus.search(sort=[{'scope': scope, 'order': order}]) == expected_order(corpus, key, order)


def test_sort_by_several(corpus):
    (label, labels), (length, lengths) = suggestion(LABEL), metadata(LENGTH)
    found = corpus.search(sort=[{'scope': label, 'order': 'asc'}, {'scope': length, 'order': 'desc'}])

    def key(number):
        first, second = labels(corpus.records[number]), lengths(corpus.records[number])
        return (not first, first, not second, [-v for v in second], number)

    assert found == sorted(range(NUMBER), key=key)


def test_sort_and_filter_and_pages(corpus):
    (length, lengths), (source, sources) = metadata(LENGTH), metadata(SOURCE)
    conditions = [{'type': 'terms', 'scope': source, 'values': ['web', 'Web', 'é"']}]
    sort = [{'scope': length, 'order': 'desc'}]
    matching = set(corpus.where(lambda r: {'web', 'Web', 'é"'} & set(map(keyword, sources(r)))))
    everything = expected_order(corpus, lambda r: max(lengths(r), default=None), 'desc')
    expected = [number for number in everything if number in matching]
    pages = []
    for offset in range(0, len(expected) + 5, 5):
        pages += corpus.search(conditions, sort, limit=5, offset=offset)
        assert corpus.total == len(expected)
    assert pages == expected


def test_without_a_sort_records_come_as_they_were_added(corpus):
    assert corpus.search() == list(range(NUMBER))
    assert corpus.search(offset=50) == list(range(50, NUMBER))
    assert corpus.search(offset=10**30) == []


def test_my_search_is_in_an_order_of_my_own(corpus):
    mine, theirs = corpus.search(me=corpus.owner), corpus.search(me=corpus.annotator)
    assert sorted(mine) == sorted(theirs) == list(range(NUMBER))
    assert len({tuple(mine), tuple(theirs), tuple(range(NUMBER))}) == 3
    assert corpus.search(me=corpus.owner) == mine
    pages = [
        number for offset in range(0, NUMBER, 7) for number in corpus.search(me=corpus.owner, limit=7, offset=offset)
    ]
    assert pages == mine
    # It goes on with what is left of a filter.
    pending = [{'type': 'terms', 'scope': {'entity': 'response', 'property': 'status'}, 'values': ['pending']}]
    left = set(corpus.where(lambda r: 'owner' not in r['responses']))
    assert corpus.search(pending, me=corpus.owner) == [number for number in mine if number in left]


@pytest.mark.parametrize(
    ('query', 'test'),
    [
        ('red', lambda text: 'red' in text),
        ('RED fox', lambda text: text == 'red fox'),
        ('red | dog', lambda text: text != ''),
        ('dog -red', lambda text: text == 'blue dog'),
        ('-red', lambda text: 'red' not in text),
        ('"red dog"', lambda text: text == 'red dog'),
        ('"dog red"', lambda text: False),
        ('d*', lambda text: 'dog' in text),
        ('foxx~1', lambda text: 'fox' in text),
        ('foxx~1 -rad~1', lambda text: False),
        ('(red -dog) | blue', lambda text: text in ('red fox', 'blue dog')),
        ('', lambda text: False),
    ],
)
def test_text(corpus, query, test):
    expected = corpus.where(lambda r: test(r['fields']['text'] or ''))
    for text in ({'q': query}, {'q': query, 'field': 'text'}):
        assert sorted(corpus.search(text=text)) == expected
        assert corpus.total == len(expected)
        assert sorted(corpus.search(text=text, me=corpus.annotator)) == expected


def test_text_in_one_field(corpus):
    assert corpus.search(text={'q': '17'}) == [17]
    assert corpus.search(text={'q': '17', 'field': 'number'}) == [17]
    assert corpus.search(text={'q': '17', 'field': 'text'}) == []
    # Words of different fields are found together, unless a field is given.
    (number,) = corpus.where(lambda r: r['fields']['text'] == 'red fox')[:1]
    assert corpus.search(text={'q': f'{number} fox'}) == [number]
    assert corpus.search(text={'q': f'{number} fox', 'field': 'text'}) == []
    assert corpus.search(text={'q': f'-{number}', 'field': 'number'}) == [n for n in range(NUMBER) if n != number]


def test_text_is_sorted_by_relevance(corpus):
    found = corpus.search(text={'q': 'fox | 3'})
    assert found[0] == 3  # The rarer word, in the shorter field, counts more.
    assert corpus.scores == sorted(corpus.scores, reverse=True)
    assert corpus.scores[-1] > 0


@pytest.mark.parametrize('count', [1, 10, 1000])
@pytest.mark.parametrize('order', ['most_similar', 'least_similar'])
def test_similarity(corpus, order, count):
    wanted = [0.5, -0.25, 1.0, 0.1]
    vector = {'name': 'v', 'value': wanted, 'order': order}
    assert corpus.search(vector=vector, limit=count) == nearest(corpus, wanted, order)[:count]
    cosines = [cosine(corpus.records[n], wanted) for n in nearest(corpus, wanted, order)[:count]]
    sign = 1 if order == 'most_similar' else -1
    assert corpus.scores == pytest.approx([(1 + sign * value) / 2 for value in cosines])


def test_similarity_to_a_record(corpus):
    number = corpus.where(lambda r: r['vectors'])[3]
    record = corpus.records[number]
    vector = {'name': 'v', 'record_id': record['id']}
    expected = nearest(corpus, record['vectors']['v'], 'most_similar')
    assert expected[0] == number
    assert corpus.search(vector=vector) == expected[1:]
    assert corpus.search(vector=vector, limit=3, offset=2) == expected[3:6]


def test_similarity_with_filter_and_text(corpus):
    scope, values = metadata(SOURCE)
    wanted = [0.1, 0.2, 0.3, 0.4]
    filters = [{'type': 'terms', 'scope': scope, 'values': ['web', 'Web']}]
    found = corpus.search(filters, text={'q': 'red'}, vector={'name': 'v', 'value': wanted})
    expected = [
        number
        for number in nearest(corpus, wanted, 'most_similar')
        if {'web', 'Web'} & set(map(keyword, values(corpus.records[number])))
        and 'red' in (corpus.records[number]['fields']['text'] or '')
    ]
    assert found == expected
    assert expected


def cosine(record, wanted):
    vector = np.array(record['vectors']['v'])
    return vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted)


def nearest(corpus, wanted, order):
    numbers = corpus.where(lambda r: r['vectors'])
    return sorted(numbers, key=lambda n: cosine(corpus.records[n], wanted), reverse=order == 'most_similar')


def test_progress(corpus):
    expected = Counter(record['status'] for record in corpus.records)
    progress = corpus.owner('GET', f'datasets/{corpus.id}/progress')
    assert {key: progress[key] for key in ('total', 'completed', 'pending')} == {'total': NUMBER, **expected}
    completed = corpus.where(lambda r: any(x['status'] == 'submitted' for x in r['responses'].values()))
    assert expected['completed'] == len(completed)


@pytest.mark.parametrize('user', ['owner', 'annotator'])
def test_progress_of_a_user(corpus, user):
    statuses = Counter(r['responses'][user]['status'] for r in corpus.records if user in r['responses'])
    metrics = getattr(corpus, user)('GET', f'me/datasets/{corpus.id}/metrics')['responses']
    assert metrics == {'total': NUMBER, 'pending': NUMBER - statuses.total(), **statuses}


def test_metrics_of_terms(corpus):
    _, values = metadata(SOURCE)
    counts = Counter(keyword(value) for record in corpus.records for value in values(record))
    metrics = corpus.owner('GET', f'metadata-properties/{corpus.properties[SOURCE]}/metrics')
    assert metrics['total'] == counts.total()
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert [(value['term'], value['count']) for value in metrics['values']] == expected


@pytest.mark.parametrize('name', [LENGTH, RATIO])
def test_metrics_of_numbers(corpus, name):
    values = [value for record in corpus.records for value in metadata(name)[1](record)]
    metrics = corpus.owner('GET', f'metadata-properties/{corpus.properties[name]}/metrics')
    assert (metrics['min'], metrics['max']) == (min(values), max(values))


UNUSUAL = [
    '"',
    "'",
    '(' * 2000,
    ')' * 50,
    '*',
    '-',
    '\\',
    'a' * 100_000,
    'f0:a',
    'a AND',
    'NEAR(a b)',
    '\x00',
    '{a}',
    '%_',
]


@pytest.mark.parametrize('text', UNUSUAL, ids=range(len(UNUSUAL)))
def test_no_string_breaks_the_search(corpus, text):
    assert corpus.search(text={'q': text}) == []
    for (scope, _), _terms in KEYWORDS:
        assert corpus.search([{'type': 'terms', 'scope': scope, 'values': [text]}]) == []


@pytest.mark.parametrize(
    ('condition', 'message'),
    [
        ({'type': 'terms', 'scope': metadata(LENGTH)[0], 'values': ['many']}, 'not a number'),
        ({'type': 'range', 'scope': suggestion(RATING)[0], 'ge': 'many'}, 'not a number'),
        ({'type': 'range', 'scope': {'entity': 'record', 'property': 'inserted_at'}, 'ge': 'soon'}, 'not a date'),
        ({'type': 'range', 'scope': {'entity': 'response', 'property': 'status'}, 'ge': 'a'}, 'by terms'),
        ({'type': 'terms', 'scope': {'entity': 'response'}, 'values': ['a']}, 'by terms'),
        ({'type': 'terms', 'scope': metadata('unknown')[0], 'values': ['a']}, 'not found'),
    ],
)
def test_what_makes_no_sense_is_answered_with_a_reason(corpus, condition, message):
    answer = corpus.owner.http.post(f'datasets/{corpus.id}/records/search', json={'filters': {'and': [condition]}})
    assert answer.status_code == 422
    assert message in answer.text


def test_queries_that_are_too_large_are_answered_with_a_reason(corpus):
    for query, message in (('a ' * 2000, 'words'), ('(a | (b ' * 20 + ')' * 40, 'levels')):
        answer = corpus.owner.http.post(f'datasets/{corpus.id}/records/search', json={'query': {'text': {'q': query}}})
        assert answer.status_code == 422
        assert message in answer.text


def test_a_vector_of_the_wrong_length_is_answered_with_a_reason(corpus):
    vector = {'name': 'v', 'value': [1.0]}
    answer = corpus.owner.http.post(f'datasets/{corpus.id}/records/search', json={'query': {'vector': vector}})
    assert answer.status_code == 422
    assert '4 elements' in answer.text


def test_as_many_filters_as_the_server_allows(corpus):
    scope, values = metadata(SOURCE)
    one = {'type': 'terms', 'scope': scope, 'values': ['web', *(f'other {i}' for i in range(249))]}
    assert corpus.search([one] * 50) == corpus.where(lambda r: 'web' in values(r))
    assert corpus.search(sort=[{'scope': scope, 'order': 'asc'}] * 10)[-1] is not None
