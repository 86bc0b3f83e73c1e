"""A real Argilla server with its web UI on this machine, from pip packages alone: no Docker, no Elasticsearch.

    python -m beam_argilla.local --home ./argilla

or, in tests and notebooks::

    with beam_argilla.local.serve() as server:
        client = argilla.Argilla(api_url=server.api_url, api_key=server.api_key)

Needs ``pip install "beam-argilla[local]"``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_argilla.local.errors import LocalServerError as LocalServerError
    from beam_argilla.local.supervisor import LocalServer as LocalServer
    from beam_argilla.local.supervisor import serve as serve

# A name is imported when it is first used, so that the program can answer Ctrl-C before it imports the rest.
_HOME = {'LocalServer': 'supervisor', 'LocalServerError': 'errors', 'serve': 'supervisor'}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
