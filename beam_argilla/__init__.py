"""An Apache Beam connector for Argilla: LLM generations, grouped into records that people annotate, at any scale."""

from beam_argilla._client import RetryPolicy as RetryPolicy
from beam_argilla._groups import Policies as Policies
from beam_argilla._sink import Bounds as Bounds
from beam_argilla._sink import WriteRecordsFn as WriteRecordsFn
from beam_argilla._sink import WrittenRecord as WrittenRecord
from beam_argilla.connection import ArgillaConnection as ArgillaConnection
from beam_argilla.connection import EnvironmentSecret as EnvironmentSecret
from beam_argilla.errors import BeamArgillaError as BeamArgillaError
from beam_argilla.failures import FailedRecord as FailedRecord
from beam_argilla.generations import Columns as Columns
from beam_argilla.grouping import GroupGenerations as GroupGenerations
from beam_argilla.reading import FormatGenerations as FormatGenerations
from beam_argilla.reading import ReadGenerations as ReadGenerations
from beam_argilla.records import Record as Record
from beam_argilla.records import Suggestion as Suggestion
from beam_argilla.settings import DatasetSettings as DatasetSettings
from beam_argilla.tasks import Metadata as Metadata
from beam_argilla.tasks import Preference as Preference
from beam_argilla.tasks import TaskOptions as TaskOptions
from beam_argilla.tasks import TextGeneration as TextGeneration
from beam_argilla.writing import BuildRecords as BuildRecords
from beam_argilla.writing import WriteRecords as WriteRecords
from beam_argilla.writing import WriteResult as WriteResult
from beam_argilla.writing import WriteToArgilla as WriteToArgilla
