"""The step in which what other steps refuse ends."""

from __future__ import annotations

import apache_beam as beam

from beam_argilla.writing.write_failed import WriteFailed
from beam_argilla.yaml.config import configured
from beam_argilla.yaml.step import Step, as_paths


@configured
def write_failed(path: str) -> beam.PTransform:
    """Writes what other steps refused, as JSON lines that can be repaired and sent again, as `WriteFailed` does.

    Input: the error output of another of these steps. Output: a row for each file: ``path``.

    Args:
        path: the prefix of the files, or a folder.
    """
    write = WriteFailed(path)
    return Step(lambda failed, _: failed | write | 'Paths' >> as_paths())
