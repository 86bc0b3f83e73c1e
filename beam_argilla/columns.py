"""What the input calls its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from beam_argilla.scale import Scale


@dataclass(frozen=True)
class Literal:
    """A text that stands for a column of it alone, where the input has no such column.

    Example:
        >>> Columns(generation=['answer_a', 'answer_b'], model_name=[Literal('gpt-4'), Literal('claude-2')])
    """

    value: str


# What may stand for a column: its name, a path into what it holds, or a literal.
Source = str | Literal
# Several of them, side by side; None where one has nothing.
Sources = Source | Sequence[Source | None] | None
# Roles that may have a source beside each of several generations.
PARALLEL = ('model_name', 'rating', 'rationale', 'agent')
# Stands for the numbers in the names of numbered columns.
NUMBER = '{i}'


@dataclass(frozen=True)
class Columns:
    """The names that the input gives to its columns.

    `instruction` and the generations must exist. An optional column that is named must exist too; one that is not
    named is used if it is there under its usual name (in brackets), as distilabel does.

    Each name may be

    - a column's: ``'answer'``;
    - a path into what a column holds: ``'completions[].response'``, ``'choices[0].message.content'``: ``.name`` is a
      field of a struct, ``[0]`` an item of a list (``[-1]`` the last), ``[]`` every item. A text on the way is read as
      JSON. A column that is literally called so goes first;
    - several columns side by side, ``['chosen', 'rejected']``, the generations of one row; then the model's name, the
      rating, the rationale and the agent may have as many beside them;
    - numbered columns side by side: ``'generations-{i}'`` is all that are there, in the order of their numbers, each
      as far as it has a value;
    - ``Literal('gpt-4')``, where no column says so; beside generations, None where one has none.

    An instruction, or a generation, may be a conversation: a list of messages with ``role`` and ``content`` or ``from``
    and ``value``. The generation is the assistant's last turn. If the instruction is of the same column, it is what was
    said before that turn; of conversations side by side that part earlier, what was said before they part, and the
    generations are what was said from there on. One turn of the user is plain text; more are a transcript in Markdown,
    or, with `chat`, the messages. Texts in one column for both are conversations such as HH-RLHF's (``Human: …
    Assistant: …``), or, side by side, a prompt and its continuations (what they begin with alike is the prompt).

    Args:
        instruction: text of the instruction (prompt), or a conversation. Several are joined by an empty line, without
            those that are empty: ``['instruction', 'input']``.
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
        metadata: further columns (or paths) to carry along, for the task's metadata. Lists are several values; structs
            and nested lists are JSON.
        scale: how what stands in `rating` becomes a rating; beside several ratings, one for each, if they differ.
            Default: a rating is what it says, and never rounded.
        chat: carry the messages of instructions that are conversations, for a task with ``chat=True``.
        lenient: a column that is named and not there is left out, but for the texts.
        spoken: texts of the instruction are conversations whose turns begin with ``Human:`` and ``Assistant:``.

    A value means the same whatever its type and whatever stands beside it. A column without any value may have any
    type; one whose type can never mean what it should is an error, and a single value that cannot costs its row.

    Raises:
        ValueError: two texts share a column, or there is another number of columns beside the generations.

    Example:
        >>> Columns(instruction='prompt', generation='answer', instruction_id='prompt_id', metadata=['topic'])
        >>> Columns(instruction='prompt', generation=['chosen', 'rejected'], rating=['score_chosen', 'score_rejected'])
        >>> Columns(generation='completions[].response', model_name='completions[].model')
    """

    instruction: Source | Sequence[Source] = 'instruction'
    generation: Source | Sequence[Source] | None = None
    instruction_id: str | None = None
    model_name: Sources = None
    rating: Sources = None
    rationale: Sources = None
    agent: Sources = None
    position: str | None = None
    metadata: Sequence[str] = ()
    scale: Scale | Sequence[Scale] | None = None
    chat: bool = False
    lenient: bool = False
    spoken: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.metadata, str):
            raise ValueError(f'Columns(metadata={self.metadata!r}): give a list of column names, [{self.metadata!r}]')
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, field.name, tuple(value))
        object.__setattr__(self, 'metadata', tuple(dict.fromkeys(self.metadata)))  # one may be kept under two names
        self._check_side_by_side()
        self._check_shared()

    def _check_side_by_side(self) -> None:
        generations = self.generation if isinstance(self.generation, tuple) else None
        if generations is not None and not generations:
            raise ValueError('Columns(generation=[]): name at least one column')
        for role in (*PARALLEL, 'scale'):
            beside = getattr(self, role)
            if isinstance(beside, tuple) and len(beside) != len(generations or ()):
                raise ValueError(
                    f'Columns({role}={list(beside)}): there must be one for each of the generations, '
                    f'{list(generations) if generations else self.generation!r}'
                )

    def _check_shared(self) -> None:
        roles: dict[str, str] = {}
        for role in ('instruction', 'generation', 'rationale'):
            named = getattr(self, role)
            for name in named if isinstance(named, tuple) else (named,):
                # An id or a model name may be shown as metadata or be shared; two texts of one column are a mistake,
                # but that a conversation is both what was asked and what was answered.
                if not isinstance(name, str):
                    continue
                if name in roles and (roles[name], role) != ('instruction', 'generation'):
                    raise ValueError(f'Columns: {roles[name]} and {role} both name the column {name!r}')
                roles[name] = role

    def names_nothing(self) -> bool:
        """Whether no role is named, but what is kept as metadata."""
        return replace(self, metadata=(), chat=False) == Columns()

    def over(self, other: Columns) -> Columns:
        """The others with what is named here in its place."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return replace(other, **named)


def as_columns(columns: Columns | None) -> Columns:
    """The columns that were given, or the usual ones.

    Raises:
        TypeError: it is something else, such as a dict.
    """
    if columns is not None and not isinstance(columns, Columns):
        kind = type(columns).__name__
        raise TypeError(f"columns must be ba.Columns(...), such as ba.Columns(instruction='prompt'), not a {kind}")
    return columns or Columns()
