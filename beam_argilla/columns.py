"""What the input calls its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Columns:
    """The names that the input gives to its columns.

    `instruction` and the generations must exist. An optional column that is named must exist too; one that is not
    named is used if it is there under its usual name (in brackets), as distilabel does.

    Args:
        instruction: text of the instruction (prompt).
        generation: text of one generation, or a list of texts: then one row is one instruction (wide input).
            Default: ``generation``, else ``generations``.
        instruction_id: says which rows belong together: text, whole numbers of any type (1, 1.0 and Decimal('1.00') are
            one id), UUIDs, dates, or structs (as JSON). Default: rows with the same instruction belong together, and
            their id is the sha256 hex of the instruction, as in distilabel.
        model_name: which model wrote the generation: text or a number. [``model_name``; wide: ``generation_models``,
            or ``model_name`` if it is a list]
        rating: number, or text of a number. [``rating``; wide: ``ratings``, or ``rating`` if it is a list]
        rationale: why that rating. [``rationale``; wide: ``rationales``, or ``rationale`` if it is a list]
        agent: who gave the rating and rationale: text or a number. Not used unless named.
        position: whole number; the order of a group's generations. Not used unless named: the order is then that of
            (model_name, generation), so that it never depends on the order in which rows arrive. Wide input keeps the
            order of its lists.
        metadata: further columns to carry along, for the task's metadata. Lists are several values; structs and nested
            lists are JSON.

    A value means the same whatever its type and whatever stands beside it. A column without any value may have any
    type; one whose type can never mean what it should is an error, and a single value that cannot costs its row.

    Raises:
        ValueError: two texts share a column.

    Example:
        >>> Columns(instruction='prompt', generation='answer', instruction_id='prompt_id', metadata=['topic'])
    """

    instruction: str = 'instruction'
    generation: str | None = None
    instruction_id: str | None = None
    model_name: str | None = None
    rating: str | None = None
    rationale: str | None = None
    agent: str | None = None
    position: str | None = None
    metadata: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.metadata, str):
            raise ValueError(f'Columns(metadata={self.metadata!r}): give a list of column names, [{self.metadata!r}]')
        object.__setattr__(self, 'metadata', tuple(dict.fromkeys(self.metadata)))  # one may be kept under two names
        roles: dict[str, str] = {}
        for field in fields(self):
            name = getattr(self, field.name)
            # An id or a model name may be shown as metadata or be shared; two texts of one column are a mistake.
            if field.name in ('instruction', 'generation', 'rationale') and name is not None:
                if name in roles:
                    raise ValueError(f'Columns: {roles[name]} and {field.name} both name the column {name!r}')
                roles[name] = field.name


def as_columns(columns: Columns | None) -> Columns:
    """The columns that were given, or the usual ones.

    Raises:
        TypeError: it is something else, such as a dict.
    """
    if columns is not None and not isinstance(columns, Columns):
        kind = type(columns).__name__
        raise TypeError(f"columns must be ba.Columns(...), such as ba.Columns(instruction='prompt'), not a {kind}")
    return columns or Columns()
