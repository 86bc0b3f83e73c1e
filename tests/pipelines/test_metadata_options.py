"""What `--metadata_column` and `--metadata` keep, and as what."""

from __future__ import annotations

import pytest

import beam_argilla as ba
from pipelines import options, parquet_to_argilla

ARGV = ['--input', 'x', '--dataset', 'd', '--num_generations', '1', '--dry_run']


@pytest.mark.parametrize(
    ('more', 'kept'),
    [
        (['--metadata_column', 'n'], [ba.Metadata('n', 'integer')]),
        (['--metadata_column', 'a:b'], [ba.Metadata('a:b')]),
        (['--metadata', 'n:float'], [ba.Metadata('n', 'float')]),
        (['--metadata', 'a:b:terms'], [ba.Metadata('a:b', 'terms')]),
        (['--metadata', 'status:terms:row_status'], [ba.Metadata('status', 'terms', name='row_status')]),
        (
            ['--metadata', 'k:terms:a', '--metadata', 'k:terms:b'],
            [ba.Metadata('k', name='a'), ba.Metadata('k', name='b')],
        ),
        (['--metadata_column', 'm', '--metadata', 'n:terms'], [ba.Metadata('m'), ba.Metadata('n')]),
    ],
)
def test_the_type_follows_from_the_files_unless_it_is_said_by_hand(more, kept):
    args, _ = options.parse(parquet_to_argilla.parser(), [*ARGV, *more])
    assert list(options.task_of(args, {'n': 'integer'}).metadata) == kept
    assert options.columns_of(args).metadata == tuple(dict.fromkeys(m.column for m in kept))


@pytest.mark.parametrize('more', [['--num_generations', '1_0'], ['--ratings', '1_0,2'], ['--min_submitted', '٣']])
def test_numbers_are_written_in_digits(more):
    with pytest.raises(ValueError, match='whole number'):
        options.parse(parquet_to_argilla.parser(), [*ARGV, *more])


@pytest.mark.parametrize('mistake', ['n', 'n:text', ':terms'])
def test_a_type_that_is_none_is_told(mistake):
    with pytest.raises(ValueError, match=f'--metadata {mistake}: write NAME:TYPE'):
        options.parse(parquet_to_argilla.parser(), [*ARGV, '--metadata', mistake])
