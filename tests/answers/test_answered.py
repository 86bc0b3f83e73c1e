"""What of a record is the instruction's id and its generations, whoever made the dataset."""

from __future__ import annotations

import pytest

from beam_argilla.answers.answered import generations, instruction_id
from tests.answers.samples import answered


@pytest.mark.parametrize(
    ('fields', 'metadata', 'found'),
    [
        (
            {'id': 'i', 'generations-10': 'k', 'generations-2': 'c', 'generations-0': None},
            {'generations-2-model': 'm'},
            [('generations-2', 1, 'c', 'm'), ('generations-10', 2, 'k', None)],
        ),
        ({'generation': 'g'}, {'model_name': 'm'}, [('generation', 0, 'g', 'm')]),
        ({'generation': 'g'}, {'model_name': 7}, [('generation', 0, 'g', '7')]),
        ({'generation': 'g'}, {'model_name': ['m', 'n']}, [('generation', 0, 'g', '["m","n"]')]),
        ({'text': 't', 'generations-x': 'g'}, {}, []),
    ],
)
def test_generations_stand_in_the_order_of_their_places(fields, metadata, found):
    assert generations(answered(fields, metadata=metadata)) == found


@pytest.mark.parametrize(
    ('fields', 'external_id', 'found'),
    [({'id': 'i'}, 'n/i', 'i'), ({'text': 't'}, 'e', 'e'), ({'id': [{'role': 'user'}]}, None, 'the-uuid')],
)
def test_the_instruction_has_the_id_that_the_record_shows_or_has(fields, external_id, found):
    assert instruction_id(answered(fields, external_id=external_id)) == found
