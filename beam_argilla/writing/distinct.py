"""Before the sink, where it is asked for: one record per external id, and only those that the server lacks.

Records, and fingerprints of what the dataset holds, meet in shards of the external id; those that find nothing there,
and what others wrote to the dataset, in shards of what they are about.
"""

from __future__ import annotations

import itertools
import pickle
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from beam_argilla.failures import to_json
from beam_argilla.metrics import count
from beam_argilla.records import Record, failed_record
from beam_argilla.refusing import Refused, refuse
from beam_argilla.server.datasets import Dataset
from beam_argilla.writing.adopting import Adopt
from beam_argilla.writing.comparing import Compare
from beam_argilla.writing.ensured import Ensured
from beam_argilla.writing.existing import Existing, subject


def shard_of(external_id: Any, num_shards: int) -> int:
    """The shard of an external id, valid or not."""
    return zlib.crc32(str(external_id).encode('utf-8', 'surrogatepass')) % num_shards


def _shard_of_subject(key: bytes) -> int:
    return int.from_bytes(key, 'big') % Distinct.NUM_SHARDS


class Distinct(beam.PTransform):
    """Leaves one of records with the same external id, and none of those that the dataset holds already.

    Input: PCollection of `Record`. Output: records to send; output ``unchanged``: `WrittenRecord`s; output
    ``refused``: `FailedRecord`s, for records that share an id and differ: which one is right, nobody can know; and for
    those that cannot be adopted.

    Args:
        dataset: as steps are given it (`ensured.given`).
        existing: PCollection of `Existing`, some of them twice; None: send all.
        skip_unchanged: whether those that the dataset holds as they are need not be sent.
        adopt: whether those of which the dataset has none with their external id take over a record of others.
        replace: whether suggestions that only the server has make a difference.
    """

    # A worker holds one shard: of 10⁶ records of 4 kB, 8 MB. Each shard costs the runner 0.1 ms.
    NUM_SHARDS = 512

    def __init__(
        self,
        dataset: Any,
        existing: beam.PCollection | None,
        skip_unchanged: bool,
        adopt: bool,
        replace: bool,
    ):
        super().__init__()
        self._dataset = dataset
        self._existing = existing
        self._adopt = adopt
        self._options = skip_unchanged, replace

    def expand(self, records: beam.PCollection) -> dict[str, beam.PCollection]:
        n = self.NUM_SHARDS
        # As bytes: records go through several of a runner's buffers, and Beam would pickle them anew for each.
        sharded = {'records': records | 'Shard' >> beam.Map(lambda r: (shard_of(r.external_id, n), pickle.dumps(r)))}
        if self._existing is not None:
            sharded['existing'] = self._existing | 'Shard existing' >> beam.Map(lambda e: (shard_of(e[0], n), e))
        chosen = (
            sharded
            | 'Meet' >> beam.CoGroupByKey()
            | 'Choose'
            >> beam.ParDo(_Choose(*self._options, self._adopt), self._dataset).with_outputs(
                'unchanged', Refused.TAG, 'missing', 'others', main='records'
            )
        )
        out = {name: chosen[name] for name in ('records', 'unchanged', Refused.TAG)}
        if self._adopt:
            adopted = (
                {name: chosen[name] for name in ('missing', 'others')}
                | 'Meet again' >> beam.CoGroupByKey()
                | 'Adopt'
                >> beam.ParDo(Adopt(*self._options), self._dataset).with_outputs(
                    'unchanged', Refused.TAG, main='records'
                )
            )
            for name in out:
                out[name] = (out[name], adopted[name]) | f'All {name}' >> beam.Flatten()
        return out


def _differ(a: Record, b: Record) -> bool:
    """Whether two records would not be sent alike. A vector may be an array, which Python does not compare."""
    return a[:4] != b[:4] or a.record_id != b.record_id or to_json(a.vectors) != to_json(b.vectors)


class _Choose(Compare):
    """Records, and what the dataset holds, of some external ids → what is to be sent, or looked at by `Adopt`."""

    def __init__(self, skip_unchanged: bool, replace: bool, adopt: bool):
        super().__init__(skip_unchanged, replace)
        self._adopt = adopt

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]], dataset: Dataset | Ensured) -> Iterator[Any]:
        _, met = element
        dataset = self.known(dataset)
        by_id: dict[Any, list[Record]] = {}
        for record in map(pickle.loads, met['records']):
            by_id.setdefault(record.external_id, []).append(record)
        existing: dict[Any, Existing] = {}
        for found in itertools.starmap(Existing, met.get('existing', ())):
            if found.external_id in by_id:
                existing[found.external_id] = found
            elif found.subject is not None:
                yield beam.pvalue.TaggedOutput('others', (_shard_of_subject(found.subject), tuple(found)))
        for external_id, records in by_id.items():
            first, *others = records
            if any(_differ(other, first) for other in others):
                message = f'{len(records)} different records have the external id {external_id!r}: give each its own'
                yield from (refuse(failed_record(r, 'validate', 'DuplicateExternalId', message)) for r in records)
                continue
            if others:
                count('duplicate_records', len(others))
            if self._adopt and external_id not in existing:
                shard = _shard_of_subject(subject(first.fields, dataset.settings))
                yield beam.pvalue.TaggedOutput('missing', (shard, first))
            else:
                yield self.compared(first, existing.get(external_id))
