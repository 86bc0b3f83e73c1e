"""Which kind a file is: by the end of its name, or as it is told."""

from __future__ import annotations

from beam_argilla.input.arrow_files import Arrow
from beam_argilla.input.compression import without_compression
from beam_argilla.input.csv_files import Csv
from beam_argilla.input.json_files import Json
from beam_argilla.input.json_lines import JsonLines
from beam_argilla.input.kind import Kind
from beam_argilla.input.parquet import Parquet

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Parquet(), Arrow(), JsonLines(), Csv(), Json())}
FORMATS = tuple(KINDS)  # what is more likely to be data first: JSON is often said about them
_UNKNOWN = Parquet.name  # engines write Parquet under names of any form


def check_format(format: str | None) -> None:
    """Raises ValueError if there is no such kind."""
    if format is not None and format not in KINDS:
        raise ValueError(f'format={format!r}: use one of {", ".join(map(repr, KINDS))}')


def kind_of(path: str, format: str | None = None) -> Kind:
    """The kind of a file: the one that is told, else by the end of its name, else Parquet."""
    return KINDS[format or kind_by_name(path) or _UNKNOWN]


def kind_by_name(path: str) -> str | None:
    """The name of the kind that the end of a file's name says; None if it says none."""
    name = without_compression(path.lower())
    return next((kind.name for kind in KINDS.values() if name.endswith(kind.suffixes)), None)
