"""The steps from generations to the records of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam

from beam_argilla.columns import Columns
from beam_argilla.generations import InputFacts
from beam_argilla.grouping.group_generations import GroupGenerations
from beam_argilla.grouping.policies import Policies
from beam_argilla.input.format_generations import FormatGenerations
from beam_argilla.input.layouts import AUTO
from beam_argilla.input.read_generations import ReadGenerations
from beam_argilla.tasks.preference import Preference
from beam_argilla.tasks.task import Task
from beam_argilla.tasks.text_generation import TextGeneration
from beam_argilla.writing.sink import Bounds
from beam_argilla.writing.write_to_argilla import WriteToArgilla, with_kept
from beam_argilla.yaml.config import chosen, configured
from beam_argilla.yaml.connection import Connection
from beam_argilla.yaml.generation_rows import (
    Shape,
    fields_of,
    further_columns,
    generation_rows,
    generation_type,
    group_rows,
    group_type,
    score_in,
    usual_columns,
)
from beam_argilla.yaml.step import ErrorHandling, Step

_TASKS: Mapping[str, Callable[..., Task]] = {'preference': Preference, 'text_generation': TextGeneration}


@configured
def read_generations(
    path: str | Sequence[str],
    columns: Columns | None = None,
    layout: str = AUTO,
    format: str | None = None,
    config: str | None = None,
    split: str | None = None,
    prompts: str | Sequence[str] | None = None,
    prompts_key: str | None = None,
    prompts_column: str | None = None,
    source: str | None = None,
    on_bad_file: str = 'fail',
    validate: bool = True,
    error_handling: ErrorHandling | None = None,
) -> beam.PTransform:
    """Reads generations from files of any kind and layout, as `ReadGenerations` does.

    Output: rows of a generation each: ``instruction_id``, ``instruction``, ``generation``, ``model_name``, ``rating``,
    ``rationale``, ``agent`` (texts, all but the first three may be null), ``position`` (a whole number, of files that
    have an order) and the metadata (texts, or lists of texts where the files have lists). With ``columns.scale``, or a
    layout that has one, also ``rating_score``: the exact score that the rating stands for. With ``columns.chat``,
    ``instruction`` is a list of messages.

    Args:
        path: a file, a folder, a pattern, or a list of them, on any Beam file system or the Hugging Face Hub.
        columns: what the files call their columns, as a mapping of the arguments of `Columns`: ``instruction``,
            ``generation``, ``instruction_id``, ``model_name``, ``rating``, ``rationale``, ``agent``, ``position``,
            ``metadata`` (a list), ``scale`` (such as ``{from: [0, 10], to: [1, 2, 3, 4, 5]}``), ``chat``. A text that
            no column has is ``{value: gpt-4}``.
        layout: the name of a layout; default: the one that fits.
        format: parquet, jsonl, json, csv or arrow; default: by the end of each file's name.
        config: of a folder that distilabel saved, which configuration.
        split: of a folder that datasets saved, which split.
        prompts: files of the prompts, where they are not beside the generations.
        prompts_key: the column that says in both which prompt is which.
        prompts_column: the column of the prompts in their files.
        source: the name of a metadata column for the path of each row's file.
        on_bad_file: fail, or refuse what cannot be read of a file.
        validate: false for files that cannot be seen from where the pipeline is built.
        error_handling: where what is refused goes.
    """
    read = ReadGenerations(
        path,
        columns,
        on_bad_file=on_bad_file,
        validate=validate,
        layout=layout,
        format=format,
        config=config,
        split=split,
        prompts=prompts,
        prompts_key=prompts_key,
        prompts_column=prompts_column,
        source=source,
    )
    shape = _shape(read.facts, read.lists)
    as_rows = beam.FlatMap(generation_rows, shape).with_output_types(generation_type(shape))
    return Step(lambda root, handler: root | read.with_error_handler(handler) | 'Rows' >> as_rows, error_handling)


@configured
def group_generations(
    columns: Columns | None = None,
    on_conflict: str = 'fail',
    max_generations: int | None = None,
    overflow: str = 'fail',
    min_generations: int = 1,
    num_partitions: int | None = None,
    spill_location: str | None = None,
    shuffle: bool | None = None,
    spill: bool = True,
    order: str = 'given',
    seed: int = 0,
    error_handling: ErrorHandling | None = None,
) -> beam.PTransform:
    """Groups generations by their instruction, as `GroupGenerations` does. (WriteToArgilla groups what is not.)

    Input: rows of a generation each, or of an instruction each, with lists. Output: rows of an instruction each:
    ``instruction_id``, ``instruction``, and lists with an item for each of its generations: ``generations``,
    ``generation_models``, ``ratings``, ``rationales``, ``agents``, and ``rating_scores`` if there are some; further
    columns are metadata, lists of all that a group has.

    Args:
        columns: what the rows call their columns; see ReadGenerations. Default: as its output calls them.
        on_conflict: one id has different instructions: fail refuses the group, first shows the first.
        max_generations: how many a group may have; default: any number.
        overflow: a group has more: fail refuses it, truncate keeps the first of them.
        min_generations: groups with fewer are refused.
        num_partitions: how many parts the rows are cut into.
        spill_location: a folder for the rows that wait for their groups.
        shuffle: false if each row is an instruction, and none is there twice.
        spill: false sends rows through the runner's own shuffle.
        order: of a group's generations: given, or blind.
        seed: another one is another blind order.
        error_handling: where what is refused goes.
    """
    group = GroupGenerations(
        Policies(on_conflict, max_generations, overflow, min_generations),
        num_partitions,
        spill_location,
        shuffle,
        spill,
        order,
        seed,
    )

    def apply(rows: beam.PCollection, handler: Any) -> beam.PCollection:
        fields = fields_of(rows.element_type) or {}
        named = columns or usual_columns(fields, further_columns(fields))
        groups = _tables(rows, fields, named, handler) | group.with_error_handler(handler)
        shape = _shape(groups.input_facts)
        grouped = groups | 'Rows' >> beam.FlatMap(group_rows, shape).with_output_types(group_type(shape))
        grouped.input_facts = InputFacts(groups_are_whole=True)  # for what comes directly after it
        return grouped

    return Step(apply, error_handling)


@configured
def write_to_argilla(
    dataset: str,
    task: Mapping[str, Any],
    connection: Connection | None = None,
    workspace: str = 'default',
    columns: Columns | None = None,
    on_conflict: str = 'fail',
    overflow: str = 'fail',
    min_generations: int = 1,
    num_partitions: int | None = None,
    spill_location: str | None = None,
    shuffle: bool | None = None,
    spill: bool = True,
    order: str = 'given',
    seed: int = 0,
    create_workspace: bool = False,
    suggestions: str = 'merge',
    skip_unchanged: bool = False,
    adopt: bool = False,
    max_parallelism: int | None = None,
    max_records: int = Bounds().max_records,
    max_bytes: int = Bounds().max_bytes,
    max_suggestions: int = Bounds().max_suggestions,
    max_in_flight: int = Bounds().max_in_flight,
    error_handling: ErrorHandling | None = None,
) -> beam.PTransform:
    """Writes generations to a dataset, grouped into the records of a task, as `WriteToArgilla` does.

    Input: rows of a generation each, or of an instruction each, with lists. Output: a row of each record that the
    server holds now: ``external_id``, ``record_id``, ``outcome`` (created, updated or unchanged), ``warnings``.

    Args:
        dataset: its name; it is made if it is not there.
        task: a mapping with ``type: preference`` and the arguments of `Preference` (``num_generations``, which it
            needs, ``ratings``, ``suggestions``, ``scores``, ``agent``), or with ``type: text_generation``; and of both
            ``guidelines``, ``use_markdown``, ``chat``, ``model_names``, ``metadata`` (a list of columns, or of mappings
            with ``column``, ``type``, ``name``, ``visible_for_annotators``), ``min_submitted``, ``namespace``.
        connection: the server, as a mapping of ``api_url``, ``api_key_env`` or ``api_key_secret``, ``headers``,
            ``timeout``, ``ca_file``, ``retry_seconds``; see `Connection`. Default: of the environment.
        workspace: the dataset's.
        columns: what the rows call their columns; see ReadGenerations. Default: as its output calls them.
        on_conflict: one id has different instructions: fail refuses the group, first shows the first.
        overflow: a group has more generations than places: fail refuses it, truncate keeps the first.
        min_generations: groups with fewer are refused.
        num_partitions: how many parts the rows are cut into.
        spill_location: a folder for the rows that wait for their groups.
        shuffle: false if each row is an instruction, and none is there twice. Default: unless GroupGenerations is the
            step before.
        spill: false sends rows through the runner's own shuffle.
        order: of a record's generations: given, or blind.
        seed: another one is another blind order.
        create_workspace: make the workspace if it is not there.
        suggestions: merge, or replace those that the server has.
        skip_unchanged: send only what differs from what the dataset holds, or is missing.
        adopt: take over records that distilabel wrote.
        max_parallelism: the most workers that write side by side.
        max_records: bound on records in a request.
        max_bytes: bound on bytes in a request.
        max_suggestions: bound on suggestions in a request.
        max_in_flight: bound on requests at a time per worker.
        error_handling: where what is refused goes.
    """
    made = chosen(task, _TASKS, 'task')
    server = connection or Connection()
    write = WriteToArgilla(
        dataset,
        task=made,
        connection=server.argilla(),
        workspace=workspace,
        on_conflict=on_conflict,
        overflow=overflow,
        min_generations=min_generations,
        num_partitions=num_partitions,
        spill_location=spill_location,
        shuffle=shuffle,
        spill=spill,
        order=order,
        seed=seed,
        create_workspace=create_workspace,
        suggestions=suggestions,
        skip_unchanged=skip_unchanged,
        adopt=adopt,
        max_parallelism=max_parallelism,
        max_records=max_records,
        max_bytes=max_bytes,
        max_suggestions=max_suggestions,
        max_in_flight=max_in_flight,
        retry=server.retry(),
    )

    def apply(rows: beam.PCollection, handler: Any) -> beam.PCollection:
        fields = fields_of(rows.element_type) or {}
        named = with_kept(columns or usual_columns(fields), made)
        result = _tables(rows, fields, named, handler) | write.with_error_handler(handler)
        return result.written

    return Step(apply, error_handling)


def _shape(facts: InputFacts, lists: frozenset[str] = frozenset()) -> Shape:
    return Shape(facts.metadata or (), lists, facts.scores, facts.chat)


def _tables(rows: beam.PCollection, fields: Mapping[str, Any], columns: Columns, handler: Any) -> beam.PCollection:
    """The canonical tables of rows with these fields."""
    formatted = rows | 'Format' >> FormatGenerations(columns, score_in(fields)).with_error_handler(handler)
    whole = getattr(rows, 'input_facts', InputFacts()).groups_are_whole
    formatted.input_facts = formatted.input_facts._replace(groups_are_whole=whole)
    return formatted
