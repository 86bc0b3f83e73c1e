"""What of an existing dataset would lose or refuse a job's records."""

from __future__ import annotations

from beam_argilla.server.settings import DatasetSettings


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
