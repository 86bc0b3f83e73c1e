"""How far a job is: what of it has been done, and how much there will be, by what it has counted until now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beam_argilla.summary import refused_counts


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        doing: what it does.
        unit: what is counted; empty: nothing is known of it.
        done: how many of them.
        of: about how many there will be; None: nobody knows yet.
        besides: what else there is to say.
    """

    doing: str
    unit: str
    done: int
    of: int | None
    besides: str = ''


def of_load(
    counts: Mapping[str, int], arrived: int | None, one_of_each_generation: bool = False, limit: int | None = None
) -> Progress:
    """That of a job that writes records, or tries how they would be.

    Args:
        counts: what was counted until now; on some runners, that is nothing before the job has ended.
        arrived: at the server, by its own count; None: it did not say.
        one_of_each_generation: a record is of a generation, not of a group.
        limit: so many groups are taken alone; None: all.
    """
    get = counts.get
    written = max(get('records_created', 0) + get('records_updated', 0), arrived or 0)
    unchanged, refused = get('records_unchanged', 0), sum(refused_counts(counts).values())
    done = written + unchanged + get('records_checked', 0)
    said = [f'{number:,} {what}' for number, what in ((unchanged, 'unchanged'), (refused, 'refused')) if number]
    besides = ', '.join(said)
    groups = _expected(counts, 'groups_whole')
    expected = _expected(counts, 'generations_whole') if one_of_each_generation else groups
    if limit is not None and groups > limit:
        expected = round(expected * limit / groups)
    if done or expected:
        doing = 'Checking' if get('records_checked') else 'Writing'
        return Progress(doing, 'records', done, max(expected, done) if expected else None, besides)
    if not counts:
        return Progress('Running', '', 0, None)
    rows, found = get('rows_read', 0), get('rows_found', 0)
    return Progress('Reading', 'rows', rows, found if 0 < rows <= found else None, besides)


def _expected(counts: Mapping[str, int], whole: str) -> int:
    """About how many of them there will be: those that are whole already, and as many in the rest."""
    number = float(counts.get(whole, 0))
    # Groups of wide rows are whole as they are read; those of others once their partition, a fair sample, is merged.
    for so_far, all_of_them in (('rows_read', 'rows_found'), ('rows_gathered', 'rows_spread')):
        if counts.get(so_far):
            number *= max(1.0, counts.get(all_of_them, 0) / counts[so_far])
    return round(number)


def of_export(counts: Mapping[str, int]) -> Progress:
    """That of a job that reads what people answered."""
    refused = sum(refused_counts(counts).values())
    return Progress(
        'Reading', 'records', counts.get('records_answered', 0), None, f'{refused:,} refused' if refused else ''
    )
