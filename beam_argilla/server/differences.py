"""What of an existing dataset would lose or refuse a job's records, and what of a draft is not that job's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from beam_argilla.server.settings import KINDS, DatasetSettings


def differences(wanted: DatasetSettings, existing: DatasetSettings) -> list[str]:
    """What of `existing` would lose or reject records made for `wanted`; empty if they can be written.

    Titles, descriptions, guidelines and Markdown may differ (people edit them), and so may more optional fields, more
    questions, and more values to choose from.
    """
    return [
        *_field_differences(wanted, existing),
        *_question_differences(wanted, existing),
        *_metadata_differences(wanted, existing),
        *_vector_differences(wanted, existing),
    ]


def draft_differences(wanted: DatasetSettings, draft: Mapping[str, Any]) -> list[str]:
    """What of a draft no job for `wanted` would have left half-made; empty if it can be completed.

    Stricter than `differences`: whoever made the draft may go on with it, so nothing is added to it unless all that is
    there says the same to the letter. What the server adds by itself makes no difference.

    Args:
        draft: by the names of the arguments of `DatasetSettings`.
    """
    out = []
    for name in ('guidelines', 'min_submitted', 'allow_extra_metadata'):
        if draft[name] != getattr(wanted, name):
            out.append(f'{name} is {_short(draft[name])}, not {_short(getattr(wanted, name))}')
    for attribute, kind in KINDS.items():
        by_name = {p['name']: p for p in getattr(wanted, attribute)}
        for prop in draft[attribute]:
            name = prop['name']
            if name not in by_name:
                out.append(f'{kind} {name!r} is not written here')
                continue
            for key, theirs, our in _unlike(prop, by_name[name]):
                out.append(f'{kind} {name!r}: {key} is {_short(theirs)}, not {_short(our)}')
    return out


def _unlike(existing: Any, wanted: Any, key: str = '') -> Iterator[tuple[str, Any, Any]]:
    """Key, what is there and what is wanted, of all that is wanted and is there otherwise."""
    if isinstance(existing, Mapping) and isinstance(wanted, Mapping):
        for name, value in wanted.items():
            if value is not None:
                yield from _unlike(existing.get(name), value, name)
    elif isinstance(existing, list) and isinstance(wanted, (list, tuple)) and len(existing) == len(wanted):
        for theirs, ours in zip(existing, wanted, strict=True):
            yield from _unlike(theirs, ours, key)
    elif existing != wanted:
        yield key, existing, wanted


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f'{text[:100]}...'


def _field_differences(wanted: DatasetSettings, existing: DatasetSettings) -> list[str]:
    found = {f['name']: f for f in existing.fields}
    needed = {f['name']: f for f in wanted.fields}
    out = []
    for name, field in needed.items():
        if name not in found:
            out.append(f'field {name!r} is missing')
        elif found[name]['settings']['type'] != field['settings']['type']:
            out.append(f'field {name!r} is {found[name]["settings"]["type"]}, not {field["settings"]["type"]}')
    for name, field in found.items():
        if field['required'] and not needed.get(name, {}).get('required'):
            what = 'is required, but here it may be empty' if name in needed else 'is required, but not written here'
            out.append(f'field {name!r} {what}')
    return out


def _question_differences(wanted: DatasetSettings, existing: DatasetSettings) -> list[str]:
    found = {q['name']: q for q in existing.questions}
    out = []
    for question in wanted.questions:
        name, kind = question['name'], question['settings']['type']
        if name not in found:
            out.append(f'question {name!r} is missing')
            continue
        other = found[name]['settings']
        if other['type'] != kind:
            out.append(f'question {name!r} is {other["type"]}, not {kind}')
            continue
        values = [o['value'] for o in question['settings'].get('options', [])]
        theirs = [o['value'] for o in other.get('options', [])]
        absent = [v for v in values if v not in theirs]
        if absent:
            out.append(f'question {name!r} has the values {theirs}: {absent} would be refused')
        if found[name]['required'] and not question['required']:
            out.append(f'question {name!r} is required: records without that generation could never be completed')
    return out


def _metadata_differences(wanted: DatasetSettings, existing: DatasetSettings) -> list[str]:
    found = {m['name']: m for m in existing.metadata}
    out = []
    for prop in wanted.metadata:
        name, kind = prop['name'], prop['settings']['type']
        if name not in found:
            if not existing.allow_extra_metadata:
                out.append(f'metadata property {name!r} is missing, and extra metadata is not allowed')
        elif found[name]['settings']['type'] != kind:
            out.append(f'metadata property {name!r} is {found[name]["settings"]["type"]}, not {kind}')
    return out


def _vector_differences(wanted: DatasetSettings, existing: DatasetSettings) -> list[str]:
    found = {v['name']: v['dimensions'] for v in existing.vectors}
    out = []
    for vector in wanted.vectors:
        name, dimensions = vector['name'], vector['dimensions']
        if name not in found:
            out.append(f'vector {name!r} is missing')
        elif found[name] != dimensions:
            out.append(f'vector {name!r} has {found[name]} dimensions, not {dimensions}')
    return out
