"""What was answered, drawn with Matplotlib: each function makes one SVG of numbers."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from beam_argilla.answers.agreement import rounded
from beam_argilla.answers.models import Strength
from beam_argilla.answers.people import PersonAnswers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 9.0  # inches
_ROW = 0.38  # inches a bar
_COLOURS = ('#3a6ea5', '#e08e45', '#5a9367', '#b3527a', '#7d6bb0', '#8a7350')
_OTHERS = '#b8bcc2'
_STATUSES = {'submitted': '#3a6ea5', 'draft': '#e0b050', 'discarded': '#b8bcc2'}
_STYLE = {
    'axes.edgecolor': '#9aa0a6',
    'axes.labelcolor': '#33373c',
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 10,
    'font.family': 'DejaVu Sans',  # comes with Matplotlib, and is wide: other fonts take no more room
    'font.size': 9.5,
    'svg.fonttype': 'none',  # texts stay texts, in any script that the reader has a font for
    'svg.hashsalt': 'beam_argilla',  # the same numbers make the same file
    'text.color': '#202428',
    'text.parse_math': False,  # a $ in a name is one
    'xtick.color': '#33373c',
    'ytick.color': '#33373c',
}
NAMED = 6  # people who have a colour of their own
MOST_VALUES = 15  # on a side of a confusion; of more, the usual ones are shown


def label(name: Any, length: int = 28) -> str:
    """A name as it can stand in a picture: of that many characters at most, none of which breaks the XML."""
    text = ''.join(c if c.isprintable() else '·' for c in str(name))
    if len(text) > length:  # from the middle: names of models begin alike, and end with what tells them apart
        text = f'{text[: length // 2 - 1]}…{text[-(length - length // 2) :]}'
    return f' {text}' if text.startswith('_') else text  # Matplotlib leaves those out of legends


def shown_values(counts: Mapping[tuple[Any, Any], int]) -> int:
    """How many values of a confusion stand on a side of its picture."""
    return min(len({value for pair in counts for value in pair}), MOST_VALUES + 1)


@contextlib.contextmanager
def _figure(height: float, width: float = _WIDTH) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure to draw into; its SVG is there at the end."""
    import matplotlib
    from matplotlib.figure import Figure

    out = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # the reader's fonts may have it
        figure = Figure(figsize=(width, height), layout='constrained')
        yield figure, out
        figure.savefig(out, format='svg', metadata={'Date': None})


def step(first: datetime, last: datetime) -> timedelta:
    """How long a bar of progress is: an hour, a day or a week, so that there are not too many."""
    days = (last - first).days
    return timedelta(hours=1) if days < 3 else timedelta(days=1) if days < 120 else timedelta(weeks=1)


def by_step(hours: Mapping[datetime, int], of: timedelta) -> Counter[datetime]:
    """Start of an hour → responses, as start of a longer time → responses."""
    start = datetime(1970, 1, 5, tzinfo=timezone.utc)  # a Monday
    counts: Counter[datetime] = Counter()
    for hour, count in hours.items():
        counts[start + (hour - start) // of * of] += count
    return counts


def progress(hours: Mapping[str, Mapping[datetime, int]]) -> str:
    """Responses over time.

    Args:
        hours: person → start of an hour → responses; not empty. Those with most have a colour of their own.
    """
    from matplotlib.dates import AutoDateLocator, DateFormatter

    times = [hour for of_person in hours.values() for hour in of_person]
    of = step(min(times), max(times))
    ranked = sorted(hours, key=lambda user: (-sum(hours[user].values()), user))
    bars = [(label(user), by_step(hours[user], of)) for user in ranked[:NAMED]]
    if others := ranked[NAMED:]:
        together = sum((by_step(hours[user], of) for user in others), Counter[datetime]())
        bars.append((f'{len(others)} others', together))
    starts = sorted({start for _, counts in bars for start in counts})
    with _figure(4.6) as (figure, out):
        total, each = figure.subplots(2, 1, sharex=True)
        at, sums = [starts[0]], [0]
        for start in starts:
            if start != at[-1]:
                at.append(start)
                sums.append(sums[-1])
            at.append(start + of)
            sums.append(sums[-1] + sum(counts[start] for _, counts in bars))
        total.plot(at, sums, color='#202428', linewidth=1.6)
        total.fill_between(at, sums, color=_COLOURS[0], alpha=0.15, linewidth=0)
        total.set_ylabel('submitted in all')
        below = [0] * len(starts)
        for (name, counts), colour in zip(bars, (*_COLOURS, _OTHERS), strict=False):
            heights = [counts[start] for start in starts]
            middles = [start + of / 2 for start in starts]
            each.bar(middles, heights, width=of * 0.9, bottom=below, color=colour, label=name)
            below = [a + b for a, b in zip(below, heights, strict=True)]
        word = {1: 'an hour', 24: 'a day', 168: 'a week'}[of // timedelta(hours=1)]
        each.set_ylabel(f'submitted {word}')
        each.set_xlim(at[0] - of / 2, max(at[-1], at[0] + 8 * of) + of / 2)
        each.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=8))
        each.xaxis.set_major_formatter(DateFormatter('%b %d\n%H:%M' if of < timedelta(days=1) else '%Y-%m-%d'))
        for axes in (total, each):
            axes.set_ylim(bottom=0)
            _whole_numbers(axes.yaxis)
            _grid(axes, 'y')
        figure.legend(loc='outside upper right', ncols=4, frameon=False)
    return out.getvalue()


def people(found: Sequence[PersonAnswers]) -> str:
    """Responses of each person by status, in the order to show."""
    with _figure(_height(len(found)) + 0.3) as (figure, out):
        axes = figure.subplots()
        left = [0] * len(found)
        for status, colour in _STATUSES.items():
            widths = [getattr(person, status) for person in found]
            axes.barh(range(len(found)), widths, left=left, color=colour, label=status, height=0.7)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        _rows(axes, [label(person.user) for person in found])
        _whole_numbers(axes.xaxis)
        axes.set_xlabel('responses')
        figure.legend(loc='outside upper right', ncols=3, frameon=False)
    return out.getvalue()


def alphas(found: Mapping[str, float]) -> str:
    """Krippendorff's alpha of each question, in the order to show."""
    with _figure(_height(len(found))) as (figure, out):
        axes = figure.subplots()
        values = list(found.values())
        lowest = min(0.0, *values)
        colours = [_COLOURS[2] if a >= 0.8 else _COLOURS[1] if a >= 0.667 else _COLOURS[3] for a in values]
        axes.barh(range(len(values)), values, color=colours, height=0.7)
        for i, value in enumerate(values):
            behind = {'facecolor': 'white', 'edgecolor': 'none', 'pad': 1}
            axes.text(max(value, 0) + 0.012, i, rounded(value), va='center', bbox=behind)
        for line in (0.667, 0.8):
            axes.axvline(line, color='#9aa0a6', linestyle='--', linewidth=1, zorder=0)
        axes.axvline(0, color='#9aa0a6', linewidth=1)
        axes.set_xlim(lowest * 1.1, 1.08)
        ticks = [x for x in (-1, -0.5, 0, 0.25, 0.5, 0.667, 0.8, 1) if x >= lowest * 1.1]
        axes.set_xticks(ticks, [f'{x:g}' for x in ticks])
        axes.spines.left.set_visible(False)
        _rows(axes, [label(name) for name in found], grid=False)
        axes.set_xlabel("Krippendorff's alpha")
    return out.getvalue()


def confusions(panels: Sequence[tuple[str, Mapping[tuple[Any, Any], int]]], columns: int = 2) -> str:
    """What people answered to what was suggested: a heat map for each panel.

    Args:
        panels: title, and (suggested, answered) → answers.
        columns: how many stand side by side.
    """
    shown = [(title, *_square(counts)) for title, counts in panels]
    rows = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    heights = [1.5 + 0.42 * max(max(len(suggested), 3) for _, suggested, _, _ in row) for row in rows]
    with _figure(sum(heights)) as (figure, out):
        grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for axes in grid.flat:
            axes.set_axis_off()
        for i, (title, suggested, answered, matrix) in enumerate(shown):
            axes = grid[i // columns][i % columns]
            axes.set_axis_on()
            sums = [sum(row) or 1 for row in matrix]
            shares = [[count / total for count in row] for row, total in zip(matrix, sums, strict=True)]
            axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, aspect='auto')
            small = len(answered) > 8
            for y, row in enumerate(matrix):
                for x, count in enumerate(row):
                    if count:
                        colour = 'white' if shares[y][x] > 0.55 else '#202428'
                        size = 7 if small else 9
                        axes.text(x, y, f'{count:,}', ha='center', va='center', color=colour, fontsize=size)
            steep = sum(len(name) for name in answered) > 36
            axes.set_xticks(
                range(len(answered)), answered, rotation=40 if steep else 0, ha='right' if steep else 'center'
            )
            axes.set_yticks(range(len(suggested)), suggested)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_xlabel('answered')
            axes.set_ylabel('suggested')
            axes.set_title(title, loc='left')
    return out.getvalue()


def strengths(found: Sequence[Strength]) -> str:
    """Models by strength, with intervals."""
    with _figure(_height(len(found))) as (figure, out):
        axes = figure.subplots()
        for i, s in enumerate(found):
            axes.plot([s.low, s.high], [i, i], color=_COLOURS[0], linewidth=2.4, solid_capstyle='round')
            axes.plot(s.strength, i, 'o', color=_COLOURS[0], markersize=7)
        axes.axvline(0, color='#9aa0a6', linestyle='--', linewidth=1, zorder=0)
        axes.margins(x=0.08)
        _rows(axes, [label(s.model) for s in found])
        axes.set_xlabel('strength (0: the average model)')
    return out.getvalue()


def distributions(values: Sequence[Any], of_models: Mapping[str, Sequence[int]]) -> str:
    """How often each model was given each value, as shares.

    Args:
        values: from bad to good.
        of_models: model → how often each value; in the order to show.
    """
    import matplotlib

    with _figure(_height(len(of_models)) + 0.3) as (figure, out):
        axes = figure.subplots()
        colours = matplotlib.colormaps['RdYlBu']
        left = [0.0] * len(of_models)
        for i, value in enumerate(values):
            place = i / max(len(values) - 1, 1)
            colour = colours(0.1 + 0.8 * place)
            shares = [counts[i] / (sum(counts) or 1) for counts in of_models.values()]
            axes.barh(range(len(shares)), shares, left=left, color=colour, label=label(value), height=0.7)
            for y, share in enumerate(shares):
                if share >= 0.06:
                    dark = 0.15 < place < 0.85 or len(values) == 1
                    text = '#202428' if dark else 'white'
                    axes.text(
                        left[y] + share / 2, y, f'{share:.0%}', ha='center', va='center', color=text, fontsize=8.5
                    )
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter('{x:.0%}')
        _rows(axes, [label(name) for name in of_models], grid=False)
        axes.set_xlabel('share of what people gave')
        figure.legend(loc='outside upper right', ncols=min(len(values), 10), frameon=False)
    return out.getvalue()


def _height(rows: int) -> float:
    return 1.0 + _ROW * max(rows, 2)


def _rows(axes: Axes, names: Sequence[str], grid: bool = True) -> None:
    """A name for each bar, from above."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis='y', length=0)
    if grid:
        _grid(axes, 'x')


def _grid(axes: Axes, axis: Any) -> None:
    axes.grid(axis=axis, color='#e6e8eb', linewidth=0.8)
    axes.set_axisbelow(True)


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))


def _square(counts: Mapping[tuple[Any, Any], int]) -> tuple[list[str], list[str], list[list[int]]]:
    """Names of suggested and of answered values, and the counts as rows; of too many values, the usual ones."""
    usual = Counter[Any]()
    for (suggested, answered), count in counts.items():
        usual[suggested] += count
        usual[answered] += count
    kept = sorted(value for value, _ in usual.most_common(MOST_VALUES))
    places = {value: i for i, value in enumerate(kept)}
    names = [label(value if not isinstance(value, tuple) else ' + '.join(value) or 'none', 22) for value in kept]
    names += ['others'] * (len(usual) > len(kept))
    matrix = [[0] * len(names) for _ in names]
    for (suggested, answered), count in counts.items():
        matrix[places.get(suggested, len(kept))][places.get(answered, len(kept))] += count
    return names, names, matrix
