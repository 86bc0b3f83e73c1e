"""What `Columns` say of a table or row whose layout is another → plain columns, each of which plays one role.

Paths are followed, columns that stand side by side become lists, conversations become what was asked and what was
answered. What comes after this knows of none of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_argilla.columns import NUMBER, PARALLEL, Columns, Literal, Source
from beam_argilla.errors import InputError
from beam_argilla.generations import TEXT
from beam_argilla.input import chat
from beam_argilla.input.paths import EACH, NoSuchPath, follow, get, goes_into_text, path_to
from beam_argilla.input.plain import list_lengths, list_of, plain, plain_type
from beam_argilla.input.roles import can_mean, column_type, generation_names, missing_columns, numbered
from beam_argilla.input.values import (
    Problem,
    as_list,
    as_mapping,
    as_text,
    cell,
    common_text,
    is_missing,
    null_where_blank,
)
from beam_argilla.scale import Scale, off_scale

_ROLES = ('instruction', 'generation', 'instruction_id', *PARALLEL, 'position')


class Misread(Exception):
    """A row is not what was said of it: error and message."""


# -- what the names stand for


class Bound(NamedTuple):
    """Columns as far as the names that are there say what they mean.

    Attributes:
        roles: role → its sources, side by side; of one that stands alone, it alone.
        beside: roles that have a source for each of the generations, which stand side by side.
        optional: a generation that is null is none, as in numbered columns.
        implicit: the instruction is what comes before the generations in their own columns.
    """

    roles: dict[str, tuple[Source | None, ...]]
    beside: frozenset[str]
    optional: bool
    implicit: bool


def bound(columns: Columns, names: Collection[str]) -> Bound:
    """What the columns mean where these names are there."""
    generation: Any = columns.generation
    if generation is None:
        generation = next((name for name in generation_names(columns) if name in names), 'generation')
    given = {**{role: getattr(columns, role) for role in _ROLES}, 'generation': generation}
    roles = {role: source if isinstance(source, tuple) else (source,) for role, source in given.items() if source}
    beside = {role for role, source in given.items() if isinstance(source, tuple)}
    optional = isinstance(generation, str) and generation not in names and NUMBER in generation
    if optional:
        numbers = numbered(generation, names)
        for role, (source, *_) in roles.items():
            if isinstance(source, str) and NUMBER in source:
                there = numbered(source, names)
                roles[role] = tuple(there.get(number) for number in numbers)
                beside.add(role)
    implicit = bool(set(roles['instruction']) & set(roles['generation']))
    return Bound(roles, frozenset(beside - {'instruction'}), optional, implicit)


def plain_columns(columns: Columns) -> Columns:
    """What a view calls its columns."""
    return replace(columns, **called(columns), scale=None)  # type: ignore[arg-type]


def called(columns: Columns) -> dict[str, str]:
    """Role → what a view calls the column of it."""
    names = {role: _label(getattr(columns, role)) for role in _ROLES if getattr(columns, role) is not None}
    if names['instruction'] == names.get('generation'):
        names['instruction'] += ' (before the answer)'
    return names


def scale_of(columns: Columns) -> Scale | None:
    """The scale of the ratings in a view: of several, what is left to be done is the same for all."""
    scale = columns.scale
    return Scale((0, 1), scale[0].to) if isinstance(scale, tuple) else cast('Scale | None', scale)


def _label(source: Any) -> str:
    if isinstance(source, tuple):
        return ' + '.join(map(_label, source))
    return repr(source.value) if isinstance(source, Literal) else str(source)


def _are_named(columns: Columns, here: Bound, names: Collection[str]) -> bool:
    """Whether each role is played by one column that is called so."""
    sources = [source for role_sources in here.roles.values() for source in role_sources]
    one_each = len(sources) == len(here.roles) and not here.beside and not here.implicit
    if columns.spoken or (columns.scale is not None and 'rating' in here.roles):
        return False  # of which truth may be a score, too
    return one_each and all(source in names for source in (*sources, *columns.metadata))


# -- tables


class View(NamedTuple):
    """A table that `columns` name plainly.

    Attributes:
        scale: of the ratings.
        problems: the rows that could not be seen so.
        messages: of instructions that are conversations, the messages as JSON; None if nobody asked for them.
    """

    table: pa.Table
    columns: Columns
    scale: Scale | None
    problems: Sequence[Problem] = ()
    messages: pa.Array | None = None


def reads_json(schema: pa.Schema, columns: Columns) -> bool:
    """Whether a path leads into text, which has to be read as JSON then, row by row."""
    here = bound(columns, schema.names)
    for source in {*(source for sources in here.roles.values() for source in sources), *columns.metadata}:
        path = path_to(source, schema.names) if isinstance(source, str) else None
        if path is not None and path.steps and goes_into_text(plain_type(column_type(schema, path.column)), path.steps):
            return True
    return False


def path_is_wide(columns: Columns, names: Collection[str]) -> bool:
    """Whether the generations of a row are several, by how they are written."""
    here = bound(columns, names)
    return 'generation' in here.beside or EACH in str(here.roles['generation'][0])


def view(table: pa.Table, columns: Columns) -> View:
    """The table as its columns are meant.

    Raises:
        InputError: there is no such thing as a path names, or several columns are no texts to be joined.
    """
    here = bound(columns, table.column_names)
    if missing_columns(table.column_names, columns):
        return View(table, columns, scale_of(columns))  # others say so
    if _are_named(columns, here, table.column_names) and not _holds_chats(table.schema, here):
        return View(table, columns, scale_of(columns))
    names = called(columns)
    noted = _Noted(table.num_rows)
    sources = {role: [_array(table, source) for source in found] for role, found in here.roles.items()}
    if columns.scale is not None and 'rating' in sources:
        sources['rating'] = list(map(_as_score, sources['rating']))
    if here.implicit:
        prompts, generations = _divided(sources['generation'], here, noted, columns.chat)
    else:
        prompts = _prompts(sources['instruction'], here, columns.spoken, columns.chat)
        generations = [
            _answers(array, _label(source), noted)
            for array, source in zip(sources['generation'], here.roles['generation'], strict=True)
        ]
    made = {names['instruction']: prompts.texts}
    if 'generation' in here.beside:
        made |= _side_by_side(generations, sources, here, columns, names, noted)
    else:
        made[names.get('generation', _label(here.roles['generation'][0]))] = generations[0]
    for role, arrays in sources.items():
        if role not in ('instruction', 'generation'):
            made.setdefault(names[role], arrays[0])
    made |= {name: _array(table, name) for name in columns.metadata if name not in table.column_names}
    kept = [i for i, name in enumerate(table.column_names) if name not in made]
    viewed = table.select(kept)
    for name, array in made.items():
        viewed = viewed.append_column(name, array)
    messages = prompts.messages if columns.chat else None
    return View(viewed, plain_columns(columns), scale_of(columns), noted.problems(), messages)


class _Noted:
    """The rows that are not what was said of them."""

    def __init__(self, num_rows: int):
        self._num_rows = num_rows
        self._masks: dict[tuple[str, str], np.ndarray] = {}

    def note(self, rows: Any, misread: Misread) -> None:
        """Of these rows there is nothing, and why."""
        error, message = misread.args
        mask = self._masks.setdefault((error, message), np.zeros(self._num_rows, bool))
        mask[rows] = True

    def problems(self) -> list[Problem]:
        return [Problem(error, message, mask) for (error, message), mask in self._masks.items()]


class _Prompts(NamedTuple):
    texts: pa.Array
    messages: pa.Array


def _holds_chats(schema: pa.Schema, here: Bound) -> bool:
    named = (*here.roles['instruction'], *here.roles['generation'])
    return any(chat.holds_chats(plain_type(column_type(schema, str(name)))) for name in named)


def _array(table: pa.Table, source: Source | None) -> pa.Array:
    """What a source is in each row."""
    if source is None:
        return pa.nulls(table.num_rows)
    if isinstance(source, Literal):
        return pa.repeat(pa.scalar(source.value, TEXT), table.num_rows)
    path = path_to(source, table.column_names)
    if path is None:  # one that may be missing, and is
        return pa.nulls(table.num_rows)
    try:
        return follow(plain(table.column(table.column_names.index(path.column))), path.steps)
    except NoSuchPath as e:
        raise InputError(
            f'There is no {source!r} in column {path.column!r}: what is there is {e}. A path is written like '
            'completions[].response (a field of every item of a list).'
        ) from None


def _prompts(arrays: Sequence[pa.Array], here: Bound, spoken: bool, keep_messages: bool) -> _Prompts:
    """The texts of instructions that have columns of their own."""
    names = here.roles['instruction']
    if len(arrays) > 1:
        for array, name in zip(arrays, names, strict=True):
            if not can_mean('instruction', array.type):
                raise InputError(f'{name!r} is {array.type}; the instruction must be text.')
        texts = [null_where_blank(as_text(array).values) for array in arrays]
        joined = pc.binary_join_element_wise(*texts, pa.scalar('\n\n', TEXT), null_handling='skip')
        return _Prompts(joined, pa.nulls(len(joined), TEXT))
    (array,) = arrays
    if chat.is_chat_type(array.type):
        return _prompts_of(array, keep_messages)
    if spoken and can_mean('instruction', array.type):
        texts = as_text(array).values.to_pylist()
        return _of_messages([None if text is None else chat.prompt_of(text) for text in texts], keep_messages)
    return _Prompts(array, pa.nulls(len(array), TEXT))


def texts_of_prompts(array: pa.Array) -> pa.Array:
    """The texts of instructions that have a column of their own; of conversations, what is shown of them."""
    return _prompts_of(array, keep_messages=False).texts if chat.is_chat_type(array.type) else array


def _prompts_of(array: pa.Array, keep_messages: bool) -> _Prompts:
    """Of conversations."""
    quick = None if keep_messages else _one_turn(array)
    return _of_messages([chat.messages_of(value) for value in _others(array, quick)], keep_messages, quick)


class _Quick(NamedTuple):
    """Texts that were found a column at a time, and the rows in which they are right; others are looked at singly."""

    texts: pa.Array
    right: np.ndarray

    def filled(self, others: Sequence[str | None]) -> pa.Array:
        """The texts, with others where they are not right."""
        return pc.replace_with_mask(self.texts, pa.array(~self.right), pa.array(others, TEXT))


def _one_turn(array: pa.Array) -> _Quick | None:
    """What the user says in conversations in which nobody else speaks."""
    turns = chat.turns_of(array)
    return None if turns is None else _Quick(*turns.said(0, 'user', turns.lengths == 1))


def _others(array: pa.Array, quick: _Quick | None) -> list[Any]:
    return (array if quick is None else array.filter(pa.array(~quick.right))).to_pylist()


def _of_messages(
    conversations: Sequence[Sequence[chat.Message] | None], keep_messages: bool, quick: _Quick | None = None
) -> _Prompts:
    texts = [None if messages is None else chat.transcript(messages) for messages in conversations]
    prompts = pa.array(texts, TEXT) if quick is None else quick.filled(texts)
    if not keep_messages:
        return _Prompts(prompts, pa.nulls(len(prompts), TEXT))
    as_json = [None if messages is None else chat.as_json(messages) for messages in conversations]
    return _Prompts(prompts, pa.array(as_json, TEXT))


def _answers(array: pa.Array, name: str, noted: _Noted) -> pa.Array:
    """Generations, of conversations the last turn of the assistant."""
    if chat.is_chat_type(array.type):
        turns = chat.turns_of(array)
        quick = None if turns is None else _Quick(*turns.said(-1, 'assistant', turns.lengths > 0))
        rows = np.arange(len(array)) if quick is None else np.flatnonzero(~quick.right)
        texts: list[str | None] = []
        for row, value in zip(rows, _others(array, quick), strict=True):
            texts.append(None)
            try:
                texts[-1] = answer(value, name)
            except Misread as e:
                noted.note(row, e)
        return pa.array(texts, TEXT) if quick is None else quick.filled(texts)
    if pa.types.is_large_list(array.type) and chat.is_chat_type(array.type.value_type):
        items = pc.list_flatten(array)
        row_of_item = np.repeat(np.arange(len(array)), list_lengths(array))
        of_items = _Noted(len(items))
        answers = _answers(plain(items), name, of_items)
        for problem in of_items.problems():
            noted.note(row_of_item[problem.mask], Misread(problem.error, problem.message))
        return list_of(array, answers)
    return array


def _divided(
    arrays: Sequence[pa.Array], here: Bound, noted: _Noted, keep_messages: bool
) -> tuple[_Prompts, list[pa.Array]]:
    """Prompts and answers of columns that hold both."""
    names = list(map(_label, here.roles['generation']))
    quick = None if keep_messages else _one_question(arrays)
    rows = np.arange(len(arrays[0])) if quick is None else np.flatnonzero(~quick[0].right)
    prompts: list[Sequence[chat.Message] | None] = []
    answers: list[list[str | None]] = [[] for _ in arrays]
    prompt: Sequence[chat.Message] | None
    others = (_others(array, None if quick is None else quick[0]) for array in arrays)
    for row, *values in zip(rows, *others, strict=True):
        try:
            prompt, found = divide(values, names)
        except Misread as e:
            noted.note(row, e)
            prompt, found = None, [None] * len(arrays)
        prompts.append(prompt)
        for texts, text in zip(answers, found, strict=True):
            texts.append(text)
    if quick is None:
        return _of_messages(prompts, keep_messages), [pa.array(texts, TEXT) for texts in answers]
    of_quick = [one.filled(texts) for one, texts in zip(quick[1:], answers, strict=True)]
    return _of_messages(prompts, keep_messages, quick[0]), of_quick


def _one_question(arrays: Sequence[pa.Array]) -> list[_Quick] | None:
    """The question, and the answer in each column, of conversations that are one question and an answer to it."""
    columns = [chat.turns_of(array) for array in arrays]
    turns = [found for found in columns if found is not None]
    if len(turns) < len(arrays):
        return None
    asked = [found.said(0, 'user', found.lengths == 2) for found in turns]
    said = [found.said(-1, 'assistant', found.lengths == 2) for found in turns]
    right = np.logical_and.reduce([of_turn for _, of_turn in (*asked, *said)])
    for texts, _ in asked[1:]:
        right &= pc.equal(asked[0][0], texts).fill_null(False).to_numpy(zero_copy_only=False)
    return [_Quick(texts, right) for texts, _ in (asked[0], *said)]


def _side_by_side(
    generations: Sequence[pa.Array],
    sources: Mapping[str, Sequence[pa.Array]],
    here: Bound,
    columns: Columns,
    called: Mapping[str, str],
    noted: _Noted,
) -> dict[str, pa.Array]:
    """Columns of lists, of what stands in several columns."""
    lengths = [_lengths(array, here.optional) for array in generations]
    items = [_spread(array, wanted)[0] for array, wanted in zip(generations, lengths, strict=True)]
    made = {called['generation']: _joined(items, lengths)}
    for role, arrays in sources.items():
        names = here.roles[role]
        if role == 'generation' or role not in here.beside:
            continue
        items = []
        for array, wanted, name in zip(arrays, lengths, names, strict=True):
            array, unequal = _spread(array, wanted)
            if unequal.any():
                noted.note(unequal, Misread('UnequalLists', _UNEQUAL.format(name=_label(name))))
            items.append(array)
        if role == 'rating' and isinstance(columns.scale, tuple):
            items = [_placed(array, scale) for array, scale in zip(items, columns.scale, strict=True)]
        made[called[role]] = _joined(items, lengths)
    return made


_UNEQUAL = '{name!r} has another number of items than the generations that it stands beside: which belongs to which?'


def _lengths(array: pa.Array, optional: bool) -> np.ndarray:
    """How many generations each row has in a column."""
    if pa.types.is_large_list(array.type):
        return list_lengths(array)
    return array.is_valid().to_numpy(zero_copy_only=False).astype(int) if optional else np.ones(len(array), int)


def _spread(array: pa.Array, lengths: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """The cells, or the items of those that are lists, so often as there are generations; and where that cannot be."""
    rows = np.repeat(np.arange(len(array)), lengths)
    if not pa.types.is_large_list(array.type):
        return array.take(pa.array(rows, pa.int64())), np.zeros(len(array), bool)
    have = list_lengths(array)
    starts = np.cumsum(have) - have
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    there = np.repeat(have == lengths, lengths)
    at = pa.array(np.where(there, starts[rows] + within, 0), pa.int64(), mask=~there)
    return plain(pc.list_flatten(array)).take(at), (have != lengths) & (have > 0)


def _joined(items: Sequence[pa.Array], lengths: Sequence[np.ndarray]) -> pa.Array:
    """Lists of the items of all columns, in the order of the columns.

    Args:
        lengths: how many items each row has, of each column.
    """
    kinds = list({item.type for item in items if not pa.types.is_null(item.type)})
    if len(kinds) > 1:
        items = [as_text(item).values for item in items]
    elif kinds:
        items = [item.cast(kinds[0]) for item in items]
    rows = np.concatenate([np.repeat(np.arange(len(wanted)), wanted) for wanted in lengths])
    order = pa.array(np.argsort(rows, kind='stable'))
    offsets = np.append(0, np.cumsum(np.sum(lengths, axis=0)))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.concat_arrays(items).take(order))


def _as_score(array: pa.Array) -> pa.Array:
    """Truth as text, as a scale may know it."""
    if pa.types.is_large_list(array.type):
        return list_of(array, _as_score(plain(pc.list_flatten(array))))
    return array.cast(TEXT) if pa.types.is_boolean(array.type) else array


def _placed(array: pa.Array, scale: Scale) -> pa.Array:
    """Ratings as the text of a number from 0 to 1."""
    texts = as_text(array).values.dictionary_encode()
    places = [placed(text, scale) for text in texts.dictionary.to_pylist()]
    return pa.array(places, TEXT).take(texts.indices)


# -- rows


def needs_view(row: Mapping[str, Any], columns: Columns) -> bool:
    """Whether the row has to be seen otherwise than it is."""
    here = bound(columns, row)
    if not _are_named(columns, here, row):
        missing = {role for role, _ in missing_columns(list(row), columns)}
        return not missing & {'instruction', 'generation'}  # of which others tell
    texts = (row[str(name)] for role in ('instruction', 'generation') for name in here.roles[role])
    return any(_holds_conversations(value) for value in texts)


def row_is_wide(row: Mapping[str, Any], columns: Columns) -> bool:
    """Whether the row is an instruction with all of its generations."""
    here = bound(columns, list(row))
    if 'generation' in here.beside:
        return True
    (source,) = here.roles['generation']
    try:
        value = _value(row, source)
    except Misread:
        return False
    return not isinstance(value, (str, bytes)) and as_list(value) is not None and chat.messages_of(value) is None


def is_nested(value: Any) -> bool:
    """Whether it is a mapping, or has some in it."""
    if value is None or isinstance(value, (str, bytes, int, float)):
        return False
    return as_mapping(value) is not None or any(as_mapping(item) is not None for item in as_list(value) or ())


def _holds_conversations(value: Any) -> bool:
    if value is None or isinstance(value, (str, bytes, int, float)):
        return False
    items = as_list(value)
    return chat.messages_of(value) is not None or bool(
        items and any(not isinstance(item, str) and chat.messages_of(item) is not None for item in items)
    )


def view_row(row: Mapping[str, Any], columns: Columns) -> tuple[dict[str, Any], str | None]:
    """The row as its columns are meant, and, where its instruction is a conversation, the messages as JSON.

    Raises:
        Misread: the row is not what was said of it.
    """
    here = bound(columns, row)
    calls = called(columns)
    values = {role: [_value(row, source) for source in sources] for role, sources in here.roles.items()}
    if columns.scale is not None and 'rating' in values:
        values['rating'] = list(map(_row_as_score, values['rating']))
    names = list(map(_label, here.roles['generation']))
    messages: Sequence[chat.Message] | None
    generations: list[Any]
    if here.implicit:
        messages, found = divide(values['generation'], names)
        instruction: Any = chat.transcript(messages)
        generations = list(found)
    else:
        instruction, messages = _prompt(values['instruction'], columns.spoken)
        generations = [_answer_or_answers(value, name) for value, name in zip(values['generation'], names, strict=True)]
    made = {calls['instruction']: instruction}
    if 'generation' in here.beside:
        made |= _row_side_by_side(generations, values, here, columns, calls)
    else:
        made[calls.get('generation', names[0])] = generations[0]
    for role, found_there in values.items():
        if role not in ('instruction', 'generation'):
            made.setdefault(calls[role], found_there[0])
    made |= {name: _value(row, name) for name in columns.metadata if name not in row}
    return {**row, **made}, None if messages is None else chat.as_json(messages)


def _value(row: Mapping[str, Any], source: Source | None) -> Any:
    if source is None or isinstance(source, Literal):
        return None if source is None else source.value
    path = path_to(source, list(row))
    try:
        return None if path is None else get(row[path.column], path.steps)
    except NoSuchPath as e:
        raise Misread('NoSuchPath', f'There is no {source!r} in this row: on the way is {e}.') from None


def _prompt(values: Sequence[Any], spoken: bool) -> tuple[Any, Sequence[chat.Message] | None]:
    if len(values) > 1:
        texts = [value for value in values if not is_missing(value) and str(value).strip()]
        wrong = next((value for value in texts if not isinstance(value, (str, bytes))), None)
        if wrong is not None:
            raise Misread('NotText', f'A part of the instruction is a {type(wrong).__name__}; it must be text.')
        return '\n\n'.join(text if isinstance(text, str) else text.decode() for text in texts), None
    (value,) = values
    if isinstance(value, str):
        messages: Sequence[chat.Message] | None = chat.prompt_of(value) if spoken else None
    else:
        messages = chat.messages_of(value)
    return (value, None) if messages is None else (chat.transcript(messages), messages)


def _answer_or_answers(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value
    if chat.messages_of(value) is not None:
        return answer(value, name)
    items = as_list(value)
    if items and any(not isinstance(item, str) and chat.messages_of(item) is not None for item in items):
        return [None if is_missing(item) else answer(item, name) for item in items]
    return value


def _row_side_by_side(
    generations: Sequence[Any],
    values: Mapping[str, Sequence[Any]],
    here: Bound,
    columns: Columns,
    called: Mapping[str, str],
) -> dict[str, list[Any]]:
    lists = [_listed_generations(value, here.optional) for value in generations]
    made = {called['generation']: [item for items in lists for item in items]}
    for role, found in values.items():
        names = here.roles[role]
        if role == 'generation' or role not in here.beside:
            continue
        beside: list[Any] = []
        for k, (value, items) in enumerate(zip(found, lists, strict=True)):
            here_items = as_list(value)
            if here_items and len(here_items) != len(items):
                raise Misread('UnequalLists', _UNEQUAL.format(name=_label(names[k])))
            parts = here_items or [None if here_items is not None else value] * len(items)
            if role == 'rating' and isinstance(columns.scale, tuple):
                parts = [_row_placed(part, columns.scale[k]) for part in parts]
            beside += parts
        made[called[role]] = beside
    return made


def _listed_generations(value: Any, optional: bool) -> list[Any]:
    if is_missing(value):
        return [] if optional else [None]
    items = as_list(value)
    return [value] if items is None else items


def _row_as_score(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    items = as_list(value)
    return value if items is None else list(map(_row_as_score, items))


def _row_placed(value: Any, scale: Scale) -> Any:
    if is_missing(value):
        return None
    text = common_text(value)
    return placed(as_text(cell(value)).values[0].as_py() if text is None else text, scale)


# -- of one row, whatever it came from


def divide(values: Sequence[Any], names: Sequence[str]) -> tuple[Sequence[chat.Message], list[str | None]]:
    """The prompt that is common to conversations, and the answer of each; of texts, what they begin with alike.

    Raises:
        Misread: they are no conversations, or not on the same prompt.
    """
    there = [value for value in values if not is_missing(value)]
    conversations = [chat.spoken(value) if isinstance(value, str) else chat.messages_of(value) for value in there]
    if there and all(conversations):
        prompt, answers = chat.parted([messages or () for messages in conversations])
        if any(text is None for text in answers):
            raise Misread('NoAnswer', _NO_ANSWER.format(names=_listed(names)))
        if not prompt:
            raise Misread('DifferentPrompts', _DIFFERENT.format(names=_listed(names)))
    elif len(there) > 1 and all(isinstance(value, str) for value in there):
        common = _common_beginning(there)
        prompt, answers = [chat.Message('user', common.strip())], [value[len(common) :].lstrip() for value in there]
    else:
        raise Misread('NotAConversation', _NOT_A_CONVERSATION.format(names=_listed(names)))
    found = iter(answers)
    return prompt, [None if is_missing(value) else next(found) for value in values]


def answer(value: Any, name: str) -> str | None:
    """The last turn of the assistant; None of nothing.

    Raises:
        Misread: it is no conversation, or has no such turn.
    """
    if is_missing(value):
        return None
    messages = chat.messages_of(value)
    if messages is None:
        raise Misread('NotAConversation', _NOT_A_CONVERSATION.format(names=name))
    text = chat.last_answer(messages)
    if text is None:
        raise Misread('NoAnswer', _NO_ANSWER.format(names=name))
    return text


def placed(text: str | None, scale: Scale) -> str | None:
    """The text of a number from 0 to 1; what is not on the scale says so, lest it be taken for one."""
    if text is None:
        return None
    place = scale.place(text)
    return off_scale(text) if place is None else str(float(place))


def _common_beginning(texts: Sequence[str]) -> str:
    """What all begin with, up to the last white space in it, for a word may begin alike."""
    shortest, longest = min(texts), max(texts)
    common = next((i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), len(shortest))
    return re.sub(r'\S*\Z', '', shortest[:common])


def _listed(names: Sequence[str]) -> str:
    return ' and '.join(map(repr, names))


_DIFFERENT = 'The conversations in {names} have nothing in common that could be their prompt'
_NO_ANSWER = 'There is no turn of the assistant in {names}: there is nothing to judge'
_NOT_A_CONVERSATION = (
    '{names} is no conversation: a list of messages with role and content, or from and value, or turns that begin with '
    'Human: and Assistant:'
)
