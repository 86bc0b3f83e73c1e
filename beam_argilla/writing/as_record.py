"""What may be written besides our own records: those of the `argilla` SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from beam_argilla.errors import InputError, InvalidRecordError
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import refuse
from beam_argilla.server.sdk import is_argilla_record, record_from_argilla, unchecked_record
from beam_argilla.server.settings import DatasetSettings

_RESPONSES = (
    'The record has responses, and writing them would overwrite what people have answered. Write it without them, as '
    'it stands in this failed record, or use the SDK (ArgillaConnection.client) if that is what you want.'
)


def as_record(element: Any, settings: DatasetSettings) -> Iterator[Any]:
    """Yields a `Record` as it is, and an `argilla.Record` as one, or, as a DoFn does, what is refused of it.

    Args:
        settings: of the dataset that it is for.

    Raises:
        InputError: it is neither.
    """
    if isinstance(element, Record):
        yield element
        return
    if not is_argilla_record(element):
        raise InputError(
            f'Records and argilla.Records are written, not {type(element).__name__}. Rows of your own go into '
            'WriteToArgilla(columns=Columns(...)), which makes records of them.'
        )
    try:
        record = record_from_argilla(element, settings.fields)
    except InvalidRecordError as e:
        yield refuse(failed_record(unchecked_record(element), 'validate', e.error, str(e)))
        return
    if len(element.responses):
        yield refuse(failed_record(record, 'validate', 'HasResponses', _RESPONSES))
    else:
        yield record
