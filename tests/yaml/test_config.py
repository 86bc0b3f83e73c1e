"""What a file says of a step, as arguments; and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

import beam_argilla as ba
from beam_argilla.yaml.config import configured
from beam_argilla.yaml.connection import Connection


@dataclass(frozen=True)
class Place:
    from_: Sequence[float]
    name: str | None = None

    def __post_init__(self) -> None:
        if not self.from_:
            raise ValueError('from is empty: give a number')


@configured
def given(
    path: str, limit: int = 10, share: float = 0.5, places: Sequence[Place] = (), named: Mapping[str, str] | None = None
) -> tuple:
    return path, limit, share, places, named


def test_arguments_are_what_the_file_says_or_their_defaults():
    assert given(path='x') == ('x', 10, 0.5, (), None)
    assert given(path='x', limit=3, share=1, places=[{'from': [1, 2]}, {'from': [3], 'name': 'n'}]) == (
        'x',
        3,
        1.0,
        [Place([1, 2]), Place([3], 'n')],
        None,
    )


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({}, 'path is missing'),
        ({'path': 'x', 'limt': 3}, "there is no key 'limt'; did you mean 'limit'?"),
        ({'path': 'x', 'zzz': 3}, "there is no key 'zzz'; use one of path, limit, share, places, named"),
        ({'path': 'x', 'limit': '3'}, 'limit must be a whole number, not text'),
        ({'path': 'x', 'limit': 3.5}, 'limit must be a whole number, not a number'),
        ({'path': 'x', 'limit': None}, 'limit must be a whole number, not empty'),
        ({'path': 'x', 'share': True}, 'share must be a number, not true or false'),
        ({'path': ['x']}, 'path must be text, not a list'),
        ({'path': 'x', 'places': {'from': [1]}}, 'places must be a list, not a mapping'),
        (
            {'path': 'x', 'places': [{'from': [1]}, {'form': [1]}]},
            "places[1]: there is no key 'form'; did you mean 'from'?",
        ),
        ({'path': 'x', 'places': [{'name': 'n'}]}, 'places[0].from is missing'),
        ({'path': 'x', 'places': [{'from': ['a']}]}, 'places[0].from[0] must be a number, not text'),
        ({'path': 'x', 'places': [{'from': []}]}, 'places[0]: from is empty: give a number'),
        ({'path': 'x', 'named': {'a': 1}}, 'named[...] must be text, not a whole number'),
    ],
)
def test_a_mistake_is_told_with_its_key_its_place_and_what_was_meant(config, message):
    with pytest.raises(ValueError) as raised:
        given(**config)
    assert str(raised.value) == message


# -- the server


def test_the_address_is_given_or_that_of_the_environment(monkeypatch):
    monkeypatch.setenv('ARGILLA_API_URL', 'http://localhost:1')
    assert Connection().argilla().api_url == 'http://localhost:1'
    assert Connection('http://localhost:2').argilla().api_url == 'http://localhost:2'
    monkeypatch.delenv('ARGILLA_API_URL')
    with pytest.raises(ValueError, match=r'connection.api_url is missing: give it, or set .* ARGILLA_API_URL'):
        Connection().argilla()


def test_secrets_are_where_they_can_be_looked_up():
    connection = Connection(
        'http://localhost:1',
        api_key_secret='type:EnvironmentSecret;variable:KEY',
        headers={'Authorization': 'HF_BEARER', 'X-Pass': 'type:EnvironmentSecret;variable:PASS'},
        retry_seconds=5,
    )
    found = connection.argilla()
    assert repr(found.api_key) == "EnvironmentSecret('KEY')"
    assert {name: repr(secret) for name, secret in found.headers.items()} == {
        'Authorization': "EnvironmentSecret('HF_BEARER')",
        'X-Pass': "EnvironmentSecret('PASS')",
    }
    assert connection.retry() == ba.RetryPolicy(limit=5)
