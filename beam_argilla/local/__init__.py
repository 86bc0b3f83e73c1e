"""A real Argilla server with its web UI on this machine, from pip packages alone: no Docker, no Elasticsearch.

    python -m beam_argilla.local --home ./argilla

or, in tests and notebooks::

    with beam_argilla.local.serve() as server:
        client = argilla.Argilla(api_url=server.api_url, api_key=server.api_key)

Needs ``pip install "beam-argilla[local]"``.
"""

from beam_argilla.local.errors import LocalServerError
from beam_argilla.local.supervisor import LocalServer, serve

__all__ = ['LocalServer', 'LocalServerError', 'serve']
