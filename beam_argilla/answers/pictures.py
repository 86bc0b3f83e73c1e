"""Numbers of an annotation → a page with pictures of them. No Beam here."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import Any

import numpy as np

from beam_argilla.answers.agreement import PersonAnswers, QuestionAgreement, SuggestionAgreement
from beam_argilla.errors import InputError

try:
    import choix
    import matplotlib as mpl
    from matplotlib.figure import Figure
except ImportError as e:
    raise InputError(f"A report needs {e.name}: pip install 'beam-argilla[report]' brings it.") from e

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.8rem } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem }
table { border-collapse: collapse; margin: .5rem 0 } th, td { text-align: left; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid #ddd } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
svg { max-width: 100%; height: auto } p.why { color: #666 }
"""
_BLUE, _GREY = '#2a6fb0', '#9aa5b1'
_MOST_SHOWN = 30  # people, questions, models, days of the week's worth of bars
_RESAMPLES = 200


def page(
    title: str,
    questions: Sequence[QuestionAgreement],
    suggestions: Sequence[SuggestionAgreement],
    people: Sequence[PersonAnswers],
    days: Mapping[str, int],
    wins: Mapping[tuple[str, str], int],
    ratings: Mapping[tuple[str, float], int],
) -> str:
    """The page, as HTML.

    Args:
        title: of the page.
        questions, suggestions, people: see `Agreement`.
        days: day in ISO form → submitted responses.
        wins: (better, worse) models → how often.
        ratings: (model, rating) → how often.
    """
    submitted = sum(days.values())
    head = f'{submitted:,} submitted responses of {len(people):,} {"person" if len(people) == 1 else "people"}'
    parts = [
        _part('Progress', _progress(days), 'Nobody has submitted anything yet.' if not days else None),
        _part('Who answered', _people(people), None if people else 'Nobody has answered yet.'),
        _part('Agreement', _agreement(questions), _no_agreement(questions)),
        _part('People and suggestions', _confusion(suggestions), None if suggestions else 'There were no suggestions.'),
        _part('Models', _models(wins), _no_wins(wins)),
        _part('Ratings of each model', _ratings(ratings), None if ratings else 'No model that is named was rated.'),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><p>{head}.</p>{"".join(parts)}</html>'
    )


def _part(title: str, content: str, why_not: str | None) -> str:
    shown = content if why_not is None else f'<p class="why">{escape(why_not)}</p>'
    return f'<section><h2>{escape(title)}</h2>{shown}</section>'


def _drawn(draw: Callable[[Figure], None], height: float, width: float = 9.0) -> str:
    """A picture as SVG, whose texts are texts."""
    with mpl.rc_context(
        {
            'svg.fonttype': 'none',
            'font.family': 'sans-serif',
            'axes.spines.top': False,
            'axes.spines.right': False,
            'svg.hashsalt': 'beam_argilla',
        }
    ):
        figure = Figure(figsize=(width, height), layout='constrained')
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format='svg', metadata={'Date': None})
    svg = file.getvalue()
    return svg[svg.index('<svg') :]


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: int) -> str:
    """The last `numbers` columns are numbers."""
    first = len(heads) - numbers

    def line(cells: Sequence[Any], tag: str) -> str:
        return ''.join(
            f'<{tag}{" class=n" if i >= first else ""}>{escape(str(c))}</{tag}>' for i, c in enumerate(cells)
        )

    body = ''.join(f'<tr>{line(row, "td")}</tr>' for row in rows)
    return f'<table><tr>{line(heads, "th")}</tr>{body}</table>'


def _cut(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f'{name[: most - 1]}…'


def _progress(days: Mapping[str, int]) -> str:
    if not days:
        return ''
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    all_days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    counts = [days.get(day.isoformat(), 0) for day in all_days]

    def draw(figure: Figure) -> None:
        each, total = figure.subplots(1, 2)
        labels = [day.isoformat() for day in all_days]
        each.bar(labels, counts, color=_BLUE)
        each.set_title('responses a day (UTC)', loc='left', fontsize=11)
        total.plot(labels, np.cumsum(counts), color=_BLUE, marker='o' if len(labels) < 15 else None)
        total.set_ylim(bottom=0)
        total.set_title('responses in all', loc='left', fontsize=11)
        for axes in (each, total):
            step = max(1, -(-len(labels) // 5))
            axes.set_xticks(range(0, len(labels), step), labels[::step], fontsize=8)

    return _drawn(draw, 2.8)


def _people(people: Sequence[PersonAnswers]) -> str:
    rows = [
        (
            p.user,
            f'{p.submitted:,}',
            f'{p.draft:,}',
            f'{p.discarded:,}',
            f'{p.per_hour:.0f}',
            p.last.strftime('%Y-%m-%d %H:%M'),
        )
        for p in sorted(people, key=lambda p: (-p.submitted, p.user))[:_MOST_SHOWN]
    ]
    more = f'<p>… and {len(people) - _MOST_SHOWN:,} more.</p>' if len(people) > _MOST_SHOWN else ''
    return _table(['', 'submitted', 'drafts', 'discarded', 'an hour of work', 'last (UTC)'], rows, 5) + more


def _no_agreement(questions: Sequence[QuestionAgreement]) -> str | None:
    return None if any(q.agreement is not None for q in questions) else 'No record was answered by two people yet.'


def _agreement(questions: Sequence[QuestionAgreement]) -> str:
    rows = [
        (
            q.question,
            q.level or 'texts',
            f'{q.units:,}',
            '–' if q.alpha is None else f'{q.alpha:.2f}',
            f'{q.agreement:.0%}',
        )
        for q in sorted(questions, key=lambda q: q.question)
        if q.agreement is not None
    ]
    told = (
        "<p>Krippendorff's alpha is 1 where people agree perfectly, and 0 where they agree as by chance; "
        'it is not defined where all answers are the same, and of texts.</p>'
    )
    heads = ['question', 'level', 'answered by two or more', 'alpha', 'pairs the same']
    return told + _table(heads, rows[:_MOST_SHOWN], 3)


def _confusion(suggestions: Sequence[SuggestionAgreement]) -> str:
    """A matrix for each agent, of all of its questions whose values are the same kind of thing; shares for the rest."""
    matrices: dict[str, dict[tuple[Any, Any], int]] = {}
    for s in suggestions:
        of_agent = matrices.setdefault(s.agent or 'no agent named', {})
        for pair, n in s.counts.items():
            if pair[0] != 'suggested':
                of_agent[pair] = of_agent.get(pair, 0) + n
    shown = []
    for agent, counts in sorted(matrices.items()):
        if counts:
            values = sorted({value for pair in counts for value in pair}, key=lambda value: (str(type(value)), value))
            shown.append(_matrix(agent, values, counts))
    rows = [(s.question, s.agent, f'{sum(s.counts.values()):,}', f'{s.agreement:.0%}') for s in suggestions]
    return ''.join(shown) + _table(['question', 'agent', 'answers', 'as suggested'], sorted(rows)[:_MOST_SHOWN], 2)


def _matrix(agent: str, values: Sequence[Any], counts: Mapping[tuple[Any, Any], int]) -> str:
    table = np.array([[counts.get((s, a), 0) for a in values] for s in values])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(table, cmap='Blues')
        names = [_cut(str(value), 15) for value in values]
        axes.set_xticks(range(len(values)), names)
        axes.set_yticks(range(len(values)), names)
        axes.set_xlabel('people answered')
        axes.set_ylabel('suggested')
        axes.set_title(_cut(agent), loc='left', fontsize=11)
        for (row, column), n in np.ndenumerate(table):
            dark = n > table.max() / 2
            axes.text(column, row, f'{n:,}', ha='center', va='center', color='white' if dark else '#222', fontsize=9)

    size = 1.6 + 0.55 * len(values)
    return _drawn(draw, size, size + 0.6)


def _no_wins(wins: Mapping[tuple[str, str], int]) -> str | None:
    return None if wins else 'Nobody has preferred one named model to another yet.'


def strengths(
    wins: Mapping[tuple[str, str], int], resamples: int = _RESAMPLES
) -> dict[str, tuple[float, float, float]]:
    """Model → its Bradley-Terry strength (a difference of 1 is odds of e), and the ends of a 95 % bootstrap interval.

    Args:
        wins: (better, worse) → how often. A little regularisation (0.01) keeps models finite that never lose.
    """
    models = sorted({model for pair in wins for model in pair})
    at = {model: i for i, model in enumerate(models)}
    pairs = sorted(wins)
    counts = np.array([wins[pair] for pair in pairs])

    def fitted(counts: np.ndarray) -> np.ndarray:
        matrix = np.zeros((len(models), len(models)))
        for (better, worse), n in zip(pairs, counts, strict=True):
            matrix[at[better], at[worse]] += n
        return choix.ilsr_pairwise_dense(matrix, alpha=0.01, max_iter=1000)

    random = np.random.default_rng(0)
    again = [fitted(random.multinomial(counts.sum(), counts / counts.sum())) for _ in range(resamples)]
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    best = fitted(counts)
    return {model: (float(best[i]), float(low[i]), float(high[i])) for model, i in at.items()}


def _models(wins: Mapping[tuple[str, str], int]) -> str:
    if not wins:
        return ''
    found = sorted(strengths(wins).items(), key=lambda item: item[1][0])[-_MOST_SHOWN:]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, (_, (strength, low, high)) in enumerate(found):
            axes.plot([low, high], [row, row], color=_GREY, linewidth=3, solid_capstyle='round')
            axes.plot(strength, row, 'o', color=_BLUE)
        axes.set_yticks(range(len(found)), [_cut(model) for model, _ in found])
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.axvline(0, color='#ddd', zorder=0)
        axes.set_xlabel('Bradley–Terry strength, with 95 % bootstrap intervals')

    number = sum(wins.values())
    told = f'<p>From {number:,} pairs of generations of one instruction to which a person gave different scores.</p>'
    return told + _drawn(draw, 1.0 + 0.35 * len(found))


def _ratings(ratings: Mapping[tuple[str, float], int]) -> str:
    if not ratings:
        return ''
    models = sorted({model for model, _ in ratings})[:_MOST_SHOWN]
    values = sorted({value for _, value in ratings})

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        left = np.zeros(len(models))
        totals = np.array([sum(ratings.get((model, value), 0) for value in values) for model in models])
        colours = mpl.colormaps['Blues'](np.linspace(0.25, 0.95, len(values)))
        for value, colour in zip(values, colours, strict=True):
            share = np.array([ratings.get((model, value), 0) for model in models]) / totals
            axes.barh(range(len(models)), share, left=left, color=colour, label=f'{value:g}')
            left += share
        axes.set_yticks(range(len(models)), [f'{_cut(m)} ({n:,})' for m, n in zip(models, totals, strict=True)])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter('{x:.0%}')
        axes.legend(title='rating', loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)

    return _drawn(draw, 1.2 + 0.4 * len(models))
