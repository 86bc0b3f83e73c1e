"""The steps from what people answered to files that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import apache_beam as beam

from beam_argilla.answers.forms import Form
from beam_argilla.answers.kto import ToKTO
from beam_argilla.answers.pairs import ToPreferencePairs
from beam_argilla.answers.ratings import ToRatings
from beam_argilla.answers.read_from_argilla import ReadFromArgilla
from beam_argilla.answers.sft import ToSFT
from beam_argilla.answers.write_training_data import WriteTrainingData
from beam_argilla.yaml.config import chosen, configured
from beam_argilla.yaml.connection import Connection
from beam_argilla.yaml.step import ErrorHandling, Step, as_paths
from beam_argilla.yaml.training_rows import as_dict, as_row, row_type, schema_of

_FORMS: Mapping[str, Callable[..., Form]] = {
    'pairs': ToPreferencePairs,
    'kto': ToKTO,
    'ratings': ToRatings,
    'sft': ToSFT,
}


@configured
def read_from_argilla(
    dataset: str,
    form: Mapping[str, Any],
    connection: Connection | None = None,
    workspace: str = 'default',
    response_status: Sequence[str] = ('submitted',),
    record_status: Sequence[str] | None = None,
    since: datetime | None = None,
    unanswered: bool = False,
    suggestions: bool = True,
    anonymous: bool = False,
    error_handling: ErrorHandling | None = None,
) -> beam.PTransform:
    """Reads what people answered to the records of a dataset, as rows of training data.

    Output: rows of the form: of ``pairs``, ``id``, ``prompt``, ``chosen``, ``rejected``, their scores and models; of
    ``kto``, ``id``, ``prompt``, ``completion``, ``label``, ``model``; of ``ratings``, with ``score`` and ``user``; of
    ``sft``, with ``model``, ``score`` and ``corrected_by``.

    Args:
        dataset: its name.
        form: a mapping with ``type: pairs``, ``kto``, ``ratings`` or ``sft``, and the arguments of `ToPreferencePairs`,
            `ToKTO`, `ToRatings` or `ToSFT`, such as ``aggregate: {how: mean, min_answers: 2}``, ``margin`` or
            ``threshold``.
        connection: the server; see WriteToArgilla.
        workspace: the dataset's.
        response_status: a list of submitted, draft and discarded.
        record_status: a list of pending and completed; default: both.
        since: only records that somebody answered from then on; in quotes, such as '2026-01-31T12:00:00Z'.
        unanswered: records without such a response, too.
        suggestions: false leaves the suggestions out.
        anonymous: number people.
        error_handling: where records go of which no row can be made.
    """
    server = connection or Connection()
    to_rows = chosen(form, _FORMS, 'form')
    read = ReadFromArgilla(
        dataset,
        connection=server.argilla(),
        workspace=workspace,
        response_status=response_status,
        record_status=record_status,
        since=since,
        unanswered=unanswered,
        suggestions=suggestions,
        anonymous=anonymous,
        retry=server.retry(),
    )
    as_rows = beam.Map(as_row).with_output_types(row_type(to_rows.schema))

    def apply(root: Any, handler: Any) -> beam.PCollection:
        answered = root | 'Read' >> read.with_error_handler(handler)
        return answered | 'Form' >> to_rows.with_error_handler(handler) | 'Rows' >> as_rows

    return Step(apply, error_handling)


@configured
def write_training_data(path: str, format: str = 'parquet', num_shards: int = 0) -> beam.PTransform:
    """Writes rows as the files that `datasets` and trainers open, as `WriteTrainingData` does.

    Input: rows of ReadFromArgilla, or any others whose columns are known. Output: a row for each file: ``path``.

    Args:
        path: the prefix of the files, or a folder.
        format: parquet, jsonl, or datasets (a folder for ``datasets.load_from_disk``).
        num_shards: how many files at most; 0: as many as the runner makes bundles.
    """
    WriteTrainingData(path, format, num_shards)  # raises on what cannot be

    def apply(rows: beam.PCollection, _: Any) -> beam.PCollection:
        write = WriteTrainingData(path, format, num_shards, schema_of(rows.element_type))
        return rows | 'Dicts' >> beam.Map(as_dict) | write | 'Paths' >> as_paths()

    return Step(apply)
