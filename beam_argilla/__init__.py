"""An Apache Beam connector for Argilla: LLM generations, grouped into records that people annotate, at any scale."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_argilla.answers.aggregate import Aggregate as Aggregate
    from beam_argilla.answers.agreement import Agreement as Agreement
    from beam_argilla.answers.agreement import QuestionAgreement as QuestionAgreement
    from beam_argilla.answers.agreement import SuggestionAgreement as SuggestionAgreement
    from beam_argilla.answers.agreement import SummarizeAgreement as SummarizeAgreement
    from beam_argilla.answers.answered import AnsweredRecord as AnsweredRecord
    from beam_argilla.answers.answered import Response as Response
    from beam_argilla.answers.forms import Form as Form
    from beam_argilla.answers.judged import Fields as Fields
    from beam_argilla.answers.kto import ToKTO as ToKTO
    from beam_argilla.answers.names import names_of_people as names_of_people
    from beam_argilla.answers.pairs import ToPreferencePairs as ToPreferencePairs
    from beam_argilla.answers.people import PersonAnswers as PersonAnswers
    from beam_argilla.answers.ratings import ToRatings as ToRatings
    from beam_argilla.answers.read_from_argilla import ReadFromArgilla as ReadFromArgilla
    from beam_argilla.answers.report import WriteReport as WriteReport
    from beam_argilla.answers.sft import ToSFT as ToSFT
    from beam_argilla.answers.to_answers import ToAnswers as ToAnswers
    from beam_argilla.answers.write_training_data import WriteTrainingData as WriteTrainingData
    from beam_argilla.answers.write_training_data import push_to_hub as push_to_hub
    from beam_argilla.columns import Columns as Columns
    from beam_argilla.columns import Literal as Literal
    from beam_argilla.errors import BeamArgillaError as BeamArgillaError
    from beam_argilla.grouping.group_generations import GroupGenerations as GroupGenerations
    from beam_argilla.grouping.group_generations import RefuseRepeated as RefuseRepeated
    from beam_argilla.grouping.limit_groups import LimitGroups as LimitGroups
    from beam_argilla.grouping.policies import Policies as Policies
    from beam_argilla.input.failed import LeaveOutRetried as LeaveOutRetried
    from beam_argilla.input.failed import ReadFailed as ReadFailed
    from beam_argilla.input.format_generations import FormatGenerations as FormatGenerations
    from beam_argilla.input.from_dataset import FromDataset as FromDataset
    from beam_argilla.input.layouts import LAYOUTS as LAYOUTS
    from beam_argilla.input.layouts import Layout as Layout
    from beam_argilla.input.layouts import layout_of as layout_of
    from beam_argilla.input.read_generations import ReadGenerations as ReadGenerations
    from beam_argilla.metrics import counters as counters
    from beam_argilla.records import Record as Record
    from beam_argilla.records import Suggestion as Suggestion
    from beam_argilla.records import agent_name as agent_name
    from beam_argilla.refusing import FailedRecord as FailedRecord
    from beam_argilla.runners import workers_run_here as workers_run_here
    from beam_argilla.scale import Scale as Scale
    from beam_argilla.server.connection import ArgillaConnection as ArgillaConnection
    from beam_argilla.server.connection import EnvironmentSecret as EnvironmentSecret
    from beam_argilla.server.datasets import Dataset as Dataset
    from beam_argilla.server.datasets import check_dataset as check_dataset
    from beam_argilla.server.retries import RetryPolicy as RetryPolicy
    from beam_argilla.server.settings import DatasetSettings as DatasetSettings
    from beam_argilla.server.settings import chat_field as chat_field
    from beam_argilla.server.settings import label_question as label_question
    from beam_argilla.server.settings import metadata_property as metadata_property
    from beam_argilla.server.settings import rating_question as rating_question
    from beam_argilla.server.settings import text_field as text_field
    from beam_argilla.server.settings import text_question as text_question
    from beam_argilla.server.settings import vector_property as vector_property
    from beam_argilla.summary import JobSummary as JobSummary
    from beam_argilla.summary import print_summary as print_summary
    from beam_argilla.tasks.preference import Preference as Preference
    from beam_argilla.tasks.task import Metadata as Metadata
    from beam_argilla.tasks.task import Task as Task
    from beam_argilla.tasks.task import TaskOptions as TaskOptions
    from beam_argilla.tasks.text_generation import TextGeneration as TextGeneration
    from beam_argilla.writing.build_records import BuildRecords as BuildRecords
    from beam_argilla.writing.check_records import CheckedRecord as CheckedRecord
    from beam_argilla.writing.check_records import CheckRecords as CheckRecords
    from beam_argilla.writing.results import WriteResult as WriteResult
    from beam_argilla.writing.results import WrittenRecord as WrittenRecord
    from beam_argilla.writing.sink import Bounds as Bounds
    from beam_argilla.writing.sink import WriteRecordsFn as WriteRecordsFn
    from beam_argilla.writing.summarize import WriteSummary as WriteSummary
    from beam_argilla.writing.write_failed import WriteFailed as WriteFailed
    from beam_argilla.writing.write_records import WriteRecords as WriteRecords
    from beam_argilla.writing.write_to_argilla import WriteToArgilla as WriteToArgilla

__version__ = '0.1.0.dev0'  # setup.py reads it here

# A name is imported when it is first used: Beam and Arrow take a second or two to import, and neither a mistake in a
# program's options nor the local Argilla needs them.
_HOMES = {
    'answers.aggregate': ('Aggregate',),
    'answers.names': ('names_of_people',),
    'answers.pairs': ('ToPreferencePairs',),
    'answers.ratings': ('ToRatings',),
    'answers.forms': ('Form',),
    'answers.judged': ('Fields',),
    'answers.kto': ('ToKTO',),
    'answers.sft': ('ToSFT',),
    'answers.agreement': ('Agreement', 'QuestionAgreement', 'SuggestionAgreement', 'SummarizeAgreement'),
    'answers.people': ('PersonAnswers',),
    'answers.answered': ('AnsweredRecord', 'Response'),
    'answers.read_from_argilla': ('ReadFromArgilla',),
    'answers.report': ('WriteReport',),
    'answers.to_answers': ('ToAnswers',),
    'answers.write_training_data': (
        'WriteTrainingData',
        'push_to_hub',
    ),
    'columns': ('Columns', 'Literal'),
    'errors': ('BeamArgillaError',),
    'grouping.group_generations': ('GroupGenerations', 'RefuseRepeated'),
    'grouping.limit_groups': ('LimitGroups',),
    'grouping.policies': ('Policies',),
    'input.failed': ('LeaveOutRetried', 'ReadFailed'),
    'input.format_generations': ('FormatGenerations',),
    'input.from_dataset': ('FromDataset',),
    'input.layouts': ('LAYOUTS', 'Layout', 'layout_of'),
    'input.read_generations': ('ReadGenerations',),
    'metrics': ('counters',),
    'records': ('Record', 'Suggestion', 'agent_name'),
    'refusing': ('FailedRecord',),  # which registers its coder
    'runners': ('workers_run_here',),
    'scale': ('Scale',),
    'server.connection': ('ArgillaConnection', 'EnvironmentSecret'),
    'server.datasets': ('Dataset', 'check_dataset'),
    'server.retries': ('RetryPolicy',),
    'server.settings': (
        'DatasetSettings',
        'chat_field',
        'label_question',
        'metadata_property',
        'rating_question',
        'text_field',
        'text_question',
        'vector_property',
    ),
    'summary': ('JobSummary', 'print_summary'),
    'tasks.preference': ('Preference',),
    'tasks.task': ('Metadata', 'Task', 'TaskOptions'),
    'tasks.text_generation': ('TextGeneration',),
    'writing.build_records': ('BuildRecords',),
    'writing.check_records': ('CheckRecords', 'CheckedRecord'),
    'writing.results': ('WriteResult', 'WrittenRecord'),
    'writing.sink': ('Bounds', 'WriteRecordsFn'),
    'writing.summarize': ('WriteSummary',),
    'writing.write_failed': ('WriteFailed',),
    'writing.write_records': ('WriteRecords',),
    'writing.write_to_argilla': ('WriteToArgilla',),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ('errors', 'failures', 'generations', 'records')  # `ba.errors.JobError` needs no import of its own
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f'{__name__}.{name}')
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_HOME, *_MODULES, *(name for name in globals() if name.startswith('__'))})
