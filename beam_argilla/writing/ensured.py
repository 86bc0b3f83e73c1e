"""The dataset that is written to, made if need be: in a step of its own, or where it is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics.metric import Lineage
from apache_beam.options.pipeline_options import StandardOptions

from beam_argilla.metrics import add_text
from beam_argilla.server.client import Client
from beam_argilla.server.connection import ArgillaConnection
from beam_argilla.server.datasets import Dataset, check_server, ensure_dataset
from beam_argilla.server.retries import RetryPolicy
from beam_argilla.server.settings import DatasetSettings
from beam_argilla.summary import DATASETS
from beam_argilla.writing.existing import warn_of_others


@dataclass(frozen=True)
class Ensured:
    """A dataset that is there once it is asked for.

    Attributes:
        connection, retry: the server, and how long to retry.
        name, workspace: of the dataset.
        settings: to create it with, and to compare an existing one with. None: it must exist.
        create_workspace: make the workspace, too.
        adopt: records of others are welcome.
        job: by which a dataset that is created can be told later on.
    """

    connection: ArgillaConnection
    retry: RetryPolicy
    name: str
    workspace: str
    settings: DatasetSettings | None
    create_workspace: bool
    adopt: bool
    job: str

    def __call__(self) -> Dataset:
        """The dataset, made if need be. Several workers may ask at once."""
        with Client(self.connection, self.retry) as client:
            check_server(client)
            dataset = ensure_dataset(client, self.name, self.workspace, self.settings, self.create_workspace, self.job)
            if not self.adopt:
                warn_of_others(client, self.name, dataset)
        return dataset


class EnsureDataset(beam.DoFn):
    """→ the `Dataset`, made if need be."""

    def __init__(self, ensured: Ensured):
        self._ensured = ensured

    def process(self, _: None) -> Iterator[Dataset]:
        dataset = self._ensured()
        add_text(DATASETS, dataset.url)
        Lineage.sinks().add('argilla', self._ensured.workspace, self._ensured.name)
        yield dataset


def given(dataset: beam.PCollection, ensured: Ensured, elements: beam.PCollection) -> beam.pvalue.AsSingleton | Ensured:
    """The dataset as an argument of the steps that elements go through, of which `known` makes the dataset itself.

    A side input is complete before the main input is seen, so that one step makes the dataset before any record is
    sent. A stream has none: Beam on Flink cannot take a checkpoint of a step with a side input (a ClassCastException
    in its broadcast state, with Java Beam 2.62). There each worker process makes sure of the dataset by itself.

    Args:
        dataset: PCollection of the one dataset.
        elements: what is written.
    """
    streams = not elements.is_bounded or elements.pipeline.options.view_as(StandardOptions).streaming
    return ensured if streams else beam.pvalue.AsSingleton(dataset)


_KNOWN: dict[tuple[str, str, str], Dataset] = {}  # job, workspace, name → what this process was told
_LOCK = threading.Lock()


def known(dataset: Dataset | Ensured) -> Dataset:
    """The dataset of an argument."""
    if isinstance(dataset, Dataset):
        return dataset
    key = dataset.job, dataset.workspace, dataset.name
    if key not in _KNOWN:
        with _LOCK:
            if key not in _KNOWN:
                _KNOWN[key] = dataset()
    return _KNOWN[key]
