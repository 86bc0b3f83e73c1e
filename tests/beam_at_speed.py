"""What Beam works out anew for each step of each pipeline, worked out once, for tests make thousands of pipelines.

It is the same each time: it depends on nothing but the class of a DoFn, or the flags of a pipeline.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate

_get_dofn_specs = userstate.get_dofn_specs
_specs: dict[type, tuple[set[Any], set[Any]]] = {}
_parse = PipelineOptions.__init__
_parsed: dict[tuple[type, tuple[str, ...]], Namespace] = {}


def _specs_of_class(dofn: Any) -> tuple[set[Any], set[Any]]:
    """State and timers, for which Beam inspects all methods; those that an object has by itself are left to it."""
    if hasattr(dofn, '_inspect_process') or any(callable(value) for value in vars(dofn).values()):
        return _get_dofn_specs(dofn)
    if type(dofn) not in _specs:
        _specs[type(dofn)] = _get_dofn_specs(dofn)
    states, timers = _specs[type(dofn)]
    return set(states), set(timers)


def _init(self: PipelineOptions, flags: Sequence[str] | None = None, **options: Any) -> None:
    """Parses flags, for which Beam makes a parser each time that somebody looks at an option."""
    if flags is None or isinstance(flags, str):  # sys.argv; a mistake
        _parse(self, flags, **options)
        return
    key = type(self), tuple(flags)
    if key not in _parsed:
        _parse(self, flags)
        _parsed[key] = self._visible_options
    found = {name: list(value) if isinstance(value, list) else value for name, value in vars(_parsed[key]).items()}
    self._flags = flags
    self._visible_options = Namespace(**found)
    self._all_options = {**found, **options}


def speed_up() -> None:
    userstate.get_dofn_specs = _specs_of_class
    PipelineOptions.__init__ = _init
