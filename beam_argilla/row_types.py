"""NamedTuples as Beam's rows, of which whatever reads rows knows the fields: runners in Java, BigQuery, SQL."""

from __future__ import annotations

import types
import typing
from typing import Any

from apache_beam import coders


def register_row(kind: Any) -> None:
    """Has Beam send a NamedTuple as a row whose schema says what each field is.

    Beam takes annotations as they stand. Of one that is a text, or of ``str | None``, it makes its Any, whose bytes are
    Python's own business: SQL could not read them, and Flink, where it takes rows apart, failed on them.

    Example:
        >>> register_row(FailedRecord)
    """
    kind.__annotations__ = {name: _as_beam_knows_it(hint) for name, hint in typing.get_type_hints(kind).items()}
    coders.registry.register_coder(kind, coders.RowCoder)


def _as_beam_knows_it(hint: Any) -> Any:
    return typing.Union[typing.get_args(hint)] if isinstance(hint, types.UnionType) else hint  # noqa: UP007
