"""The words of the local Argilla, and those that Lucene's own analyzer makes of the same texts."""

import json
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_argilla.local.words import words
from tests.local.test_words import CHARACTERS, WORDS

pytestmark = pytest.mark.xdist_group('OpenSearch')

# Not those that mean nothing alone, and Hebrew quotes, on which Lucene and Unicode differ.
COMMON = sorted(set(CHARACTERS) - set('\u200d\u20e3\ufe0fאב״ד'))
texts = st.text(alphabet=st.sampled_from(COMMON), min_size=1, max_size=40)


def analyzed(opensearch: str, text: str) -> list[str]:
    body = json.dumps({'analyzer': 'standard', 'text': text}).encode()
    request = urllib.request.Request(f'{opensearch}/_analyze', body, {'Content-Type': 'application/json'})
    with urllib.request.urlopen(request) as answer:
        return [token['token'] for token in json.load(answer)['tokens']]


@settings(max_examples=300)
@given(st.lists(texts, min_size=1, max_size=20).map(' | '.join))
def test_words_of_any_text(opensearch, text):
    assert words(text) == analyzed(opensearch, text)


@pytest.mark.parametrize('text', [text for text, _ in WORDS])
def test_words_of_real_texts(opensearch, text):
    assert words(text) == [word.replace('"', '״') for word in analyzed(opensearch, text)]
