"""Datasets that are open in Python."""

from __future__ import annotations

import apache_beam as beam
import datasets
import pytest
from apache_beam.testing.util import assert_that, equal_to

import beam_argilla as ba
from beam_argilla.errors import InputError
from beam_argilla.input import from_dataset
from tests.samples import pipeline

COLUMNS = ba.Columns('prompt', ['a', 'b'], model_name='author')


def dataset(rows: int = 50) -> datasets.Dataset:
    features = datasets.Features(
        {
            **dict.fromkeys(('prompt', 'a', 'b'), datasets.Value('string')),
            'author': datasets.ClassLabel(names=['gpt', 'llama']),
        }
    )
    made = {'prompt': [f'q{i}' for i in range(rows)], 'a': ['x'] * rows, 'b': ['y'] * rows, 'author': [1] * rows}
    return datasets.Dataset.from_dict(made, features)


def test_a_dataset_is_read_in_parts_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(from_dataset, '_PART_ROWS', 20)
    dataset().save_to_disk(tmp_path / 'saved', num_shards=2)
    saved = datasets.load_from_disk(tmp_path / 'saved')
    forms = {
        'in memory': dataset(),
        'saved': saved,
        'chosen': saved.shuffle(seed=1).filter(lambda row: True),
        'streamed': dataset().to_iterable_dataset(num_shards=3),
    }
    wanted = sorted((f'q{i}', text, 'llama') for i in range(50) for text in 'xy')
    with pipeline() as p:
        for name, form in forms.items():
            tables = p | name >> ba.FromDataset(form, COLUMNS)
            rows = tables | f'Rows {name}' >> beam.FlatMap(lambda table: table.to_pylist())
            found = rows | f'Of {name}' >> beam.Map(
                lambda row: (row['instruction'], row['generation'], row['model_name'])
            )
            assert_that(found, equal_to(wanted), label=f'all {name}')


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        (lambda: datasets.DatasetDict({'train': dataset(1), 'test': dataset(1)}), r'several splits \(train, test\)'),
        (lambda: [{'prompt': 'q'}], 'takes a datasets.Dataset or IterableDataset, not a list'),
        (lambda: dataset(1).remove_columns('b'), "no column 'b' for the generation"),
    ],
)
def test_what_is_no_dataset_of_these_columns_is_told(given, told):
    with pytest.raises(InputError, match=told):
        ba.FromDataset(given(), COLUMNS)
