"""No secret comes back out, whatever form it comes in, and no terminal obeys what others say."""

from __future__ import annotations

import base64

import httpx
import pytest

from beam_argilla.server.cleaning import Cleaner, password_of, printable, without_user
from beam_argilla.server.faults import fault

TOKEN = 'hf_a"b<c&d/e\\f'


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        (f'Bearer {TOKEN}', TOKEN),
        (TOKEN, '"hf_a\\"b<c&d/e\\\\f"'),
        (TOKEN, 'hf_a&quot;b&lt;c&amp;d/e\\f'),
        (TOKEN, 'hf_a%22b%3Cc%26d%2Fe%5Cf'),
        ('id=hf_token; lang=en', 'hf_token'),
        ('Basic ' + base64.b64encode(b'ada:hf_pass').decode(), 'hf_pass'),
        ('Basic ' + base64.b64encode(b'ada:hf_pass').decode(), base64.b64encode(b'ada:hf_pass').decode()),
    ],
)
def test_each_word_of_a_header_is_masked_in_every_form(value, said):
    cleaned = Cleaner([value])(f'Bad Bearer token: {said}.')
    assert cleaned.replace('"', '') == 'Bad Bearer token: ***.'


def test_what_is_no_secret_stays():
    assert Cleaner([])('abc') == Cleaner(['abc', 'Bearer'])('abc') == 'abc'


REQUEST = httpx.Request('PUT', 'http://x/api/v1/y')
PAGE = {'Content-Type': 'text/html'}


@pytest.mark.parametrize(
    ('status', 'headers', 'body'),
    [
        (403, PAGE, '<p>{filler} {secret}</p>'),
        (403, PAGE, '<i></i>{filler} hf&#95;0123456789abcdef'),
        (403, {}, '{filler} {secret}'),
        (403, PAGE, '<!--{comment}-->{filler}{secret}'),
        (422, {}, '{{"detail":{{"code":"{long}{filler} {secret}"}}}}'),
        (422, {}, '{{"detail":"{long}{filler} {secret}"}}'),
    ],
)
def test_a_secret_that_is_cut_is_masked_as_well(status, headers, body):
    secret = 'hf_0123456789abcdef'
    for before in range(270, 310):
        comment = 'z' * (20_000 - 2 * before - len(secret) // 2)
        text = body.format(filler='x' * before, secret=secret, long='y' * 1700, comment=comment)
        response = httpx.Response(status, headers=headers, content=text.encode(), request=REQUEST)
        assert 'hf_0' not in str(fault(response, 'http://x', Cleaner([f'Bearer {secret}'])))


def test_what_a_terminal_obeys_is_shown_instead():
    assert (
        printable('\x1b]0;title\x07a\nb\t\x9b2J\u202eé👩‍👧\ud800')
        == '\\x1b]0;title\\x07a\nb\t\\x9b2J\\u202eé👩‍👧\\ud800'
    )


@pytest.mark.parametrize('content_type', ['text/html', 'text/plain', 'application/json'])
@pytest.mark.parametrize('status', [200, 401, 403, 404, 422, 500, 503])
@pytest.mark.parametrize(
    'body', ['{"detail":"\\u001b[31mno"}', '<h1>\x1b[31mno</h1>', '<h1>&#27;[31mno&#x9b;</h1>', '\x1b[31mno']
)
def test_no_answer_reaches_a_terminal_as_it_is(status, content_type, body):
    response = httpx.Response(status, headers={'Content-Type': content_type}, content=body.encode(), request=REQUEST)
    assert str(fault(response, 'http://x', Cleaner([]))).isprintable()


@pytest.mark.parametrize('password', ['p', 'p/q', 'p q', 'p@q', 'p%40q', 'p?q', 'p#q', '1/p'])
def test_a_url_without_its_user(password):
    assert without_user(f'http://ada:{password}@host:1/x') == 'http://host:1/x'
    assert without_user(f'ada:{password}@host:1') == 'host:1'
    assert password_of(f'http://ada:{password}@host:1')[0] == password
    assert without_user('http://host:1/x') == 'http://host:1/x'
