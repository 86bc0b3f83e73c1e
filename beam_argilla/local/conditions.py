"""argilla-server's filters and sorts as SQL over its own tables, with the meaning that they have in Elasticsearch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

from argilla_server.enums import MetadataPropertyType, QuestionType, ResponseStatusFilter, SortOrder
from argilla_server.models import Dataset, MetadataProperty, Question, Record, Response, Suggestion
from argilla_server.search_engine.base import (
    AndFilter,
    Filter,
    MetadataFilterScope,
    Order,
    RangeFilter,
    RecordFilterScope,
    ResponseFilterScope,
    SuggestionFilterScope,
    TermsFilter,
)
from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from beam_argilla.local.search_values import Kind, ValueFormatError, to_date, to_number

_QUESTION_KINDS = {
    QuestionType.rating: Kind.NUMBER,
    QuestionType.label_selection: Kind.KEYWORD,
    QuestionType.multi_label_selection: Kind.KEYWORD,
}
_METADATA_KINDS = {
    MetadataPropertyType.terms: Kind.KEYWORD,
    MetadataPropertyType.integer: Kind.NUMBER,
    MetadataPropertyType.float: Kind.NUMBER,
}
_RECORD_KINDS = {'inserted_at': Kind.DATE, 'updated_at': Kind.DATE}

# What a JSON path can say in every SQLite.
_PLAIN_NAME = re.compile('[A-Za-z0-9_-]+')

# Builds a condition on one value, given the SQL expression of the value.
Test = Callable[[ColumnElement[Any]], ColumnElement[bool]]


@dataclasses.dataclass(frozen=True)
class Elements:
    """The values that a property has for a record: none, one, or the elements of a list.

    Attributes:
      tables: What to select from, each one referring to those before. A property that is missing or null has no row,
        or rows whose value is NULL.
      value: The SQL expression of one value.
      where: What the rows must meet.
      single: Whether there is anything to look at; if so, whether it is a list, and if not, the one value. To look at
        that alone takes less than half as long.
    """

    tables: tuple[Any, ...]
    value: ColumnElement[Any]
    where: tuple[ColumnElement[bool], ...] = ()
    single: tuple[Any, ColumnElement[bool], ColumnElement[Any]] | None = None

    def select(self, what: Any, *outer: Any) -> Select[Any]:
        """Selects something from all values, of all rows of the outer tables if there are any."""
        joined = reduce(lambda left, right: left.join(right, true()), (*outer, *self.tables))
        return select(what).select_from(joined).where(*self.where)

    def any(self, test: Test) -> ColumnElement[bool]:
        """Whether one of the values meets a condition."""
        return self._unless_single(exists(self.select(literal(1)).where(test(self.value))), test)

    def pick(self, function: Any) -> ColumnElement[Any]:
        """The smallest, largest or average value; NULL if there is none."""
        return self._unless_single(self.select(function(self.value)).scalar_subquery(), lambda value: value)

    def _unless_single(self, of_all: ColumnElement[Any], of_one: Callable[[ColumnElement[Any]], Any]) -> Any:
        if self.single is None:
            return of_all
        is_there, is_list, value = self.single
        return case((is_there, case((is_list, of_all), else_=of_one(value))))


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Builds SQL conditions and sort keys on the records of one dataset.

    Attributes:
      questions: The id, and how the answers compare, by the name of the question.
      metadata: How the values compare, by the name of the metadata property.
    """

    questions: dict[str, tuple[Any, Kind]]
    metadata: dict[str, Kind]

    @classmethod
    async def of(cls, session: AsyncSession, dataset: Dataset) -> Conditions:
        """Looks up the properties of a dataset."""
        questions = await session.execute(select(Question).filter_by(dataset_id=dataset.id))
        properties = await session.execute(select(MetadataProperty).filter_by(dataset_id=dataset.id))
        return cls(
            {q.name: (q.id, _QUESTION_KINDS.get(q.type, Kind.NOT_INDEXED)) for q in questions.scalars()},
            {p.name: _METADATA_KINDS[p.type] for p in properties.scalars()},
        )

    def filter(self, condition: Filter) -> ColumnElement[bool]:
        """The SQL of a filter.

        Raises:
          ValueFormatError: It asks for something that the property cannot be. argilla-server answers 422 to it.
        """
        if isinstance(condition, AndFilter):
            return and_(true(), *(self.filter(part) for part in condition.filters))
        scope = condition.scope
        if isinstance(scope, RecordFilterScope):
            kind = _RECORD_KINDS.get(str(scope.property), Kind.KEYWORD)
            return _test(condition, kind)(_record_property(scope))
        if isinstance(scope, MetadataFilterScope):
            kind = self.metadata[scope.metadata_property]
            return _metadata_values(scope.metadata_property, kind).any(_test(condition, kind))
        if isinstance(scope, SuggestionFilterScope):
            return self._suggestion_values(scope).any(_test(condition, self._suggestion_kind(scope)))
        if scope.question:
            kind = self.questions[scope.question][1]
            return self._response_values(scope).any(_test(condition, kind))
        return _response_status_filter(condition)

    def sort_key(self, order: Order) -> ColumnElement[Any]:
        """The SQL to order by. Records without a value come last, in both directions, as in Elasticsearch."""
        scope = order.scope
        ascending = order.order == SortOrder.asc
        # Of a list, the value that comes first counts.
        first = func.min if ascending else func.max
        key: ColumnElement[Any]
        if isinstance(scope, RecordFilterScope):
            key = _record_property(scope)
        elif isinstance(scope, MetadataFilterScope):
            key = _metadata_values(scope.metadata_property, self.metadata[scope.metadata_property]).pick(first)
        elif isinstance(scope, SuggestionFilterScope):
            key = self._suggestion_values(scope).pick(first)
        elif scope.question:
            # argilla-server sorts by the average of all responses. Of labels there is none, and it fails; we do not.
            average = self.questions[scope.question][1] is Kind.NUMBER
            key = self._response_values(scope).pick(func.avg if average else first)
        else:
            key = _responses(scope, cast(Response.status, String)).pick(first)
        return (key.asc() if ascending else key.desc()).nulls_last()

    def _suggestion_kind(self, scope: SuggestionFilterScope) -> Kind:
        if scope.property == 'value':
            return self.questions[scope.question][1]
        return Kind.NUMBER if scope.property == 'score' else Kind.KEYWORD

    def _suggestion_values(self, scope: SuggestionFilterScope) -> Elements:
        kind = self._suggestion_kind(scope)
        where = (Suggestion.record_id == Record.id, Suggestion.question_id == self.questions[scope.question][0])
        if scope.property in ('value', 'score'):
            values = _json_each(getattr(Suggestion, scope.property))
            tables = (Suggestion.__table__, values)
            return Elements(tables, _json_value(values.c.value, values.c.type, kind), where)
        # The server hands over str(property), which is 'None' for a null: no such property, no value.
        column = getattr(Suggestion, scope.property) if scope.property in ('agent', 'type') else literal(None)
        return Elements((Suggestion.__table__,), cast(column, String), where)

    def _response_values(self, scope: ResponseFilterScope) -> Elements:
        kind = self.questions[scope.question][1]
        answers = _json_each(Response.values)
        values = func.json_each(answers.c.value, '$.value').table_valued('value', 'type').alias()
        return Elements(
            (Response.__table__, answers, values),
            _json_value(values.c.value, values.c.type, kind),
            (*_response_conditions(scope), answers.c.key == scope.question),
        )


def _json_each(column: Any) -> Any:
    return _each(_valid_json(column), '$')


def _each(json: Any, path: str) -> Any:
    return func.json_each(json, path).table_valued('key', 'value', 'type').alias()


def _valid_json(column: Any) -> Any:
    # The server lets Infinity through, which is no JSON to SQLite.
    return case((func.json_valid(column), type_coerce(column, String)))


def _json_value(value: Any, json_type: Any, kind: Kind) -> ColumnElement[Any]:
    """The SQL of what a JSON value is as a value of some kind; NULL if it is none."""
    if kind is Kind.NUMBER:
        # Not true and false, which SQLite takes for 1 and 0.
        return case((json_type.in_(['integer', 'real']), value))
    if kind is Kind.KEYWORD:
        return case(
            (json_type.in_(['true', 'false']), json_type),
            (json_type.in_(['text', 'integer', 'real']), cast(value, String)),
        )
    return literal(None)


def _metadata_values(name: str, kind: Kind) -> Elements:
    if _PLAIN_NAME.fullmatch(name):
        path = f'$."{name}"'
        # Of an object the members would be taken for its values.
        metadata = type_coerce(Record.metadata_, String)
        is_value = func.json_type(_valid_json(Record.metadata_), path) != 'object'
        values = _each(case((is_value, metadata)), path)
        json_type: ColumnElement[Any] = func.json_type(metadata, path)
        value = _json_value(func.json_extract(metadata, path), json_type, kind)
        return Elements(
            (values,),
            _json_value(values.c.value, values.c.type, kind),
            single=(func.json_valid(metadata), json_type == 'array', value),
        )
    # By key, since a JSON path cannot say every name: not one with a quote, in older SQLites not "é".
    entries = _json_each(Record.metadata_)
    is_list = entries.c.type == 'array'
    values = (
        func.json_each(case((is_list, entries.c.value), else_=func.json_array(entries.c.value)))
        .table_valued('value', 'type')
        .alias()
    )
    # json_array makes 1 of true, so the type is looked up where it still is one.
    json_type = case((is_list, values.c.type), else_=entries.c.type)
    return Elements((entries, values), _json_value(values.c.value, json_type, kind), (entries.c.key == name,))


def metadata_values(metadata_property: MetadataProperty) -> Any:
    """All values that a metadata property has in its dataset, as a subquery with the column ``value``."""
    values = _metadata_values(metadata_property.name, _METADATA_KINDS[metadata_property.type])
    return (
        values.select(values.value.label('value'), Record.__table__)
        .where(Record.dataset_id == metadata_property.dataset_id, values.value.is_not(None))
        .subquery()
    )


def _record_property(scope: RecordFilterScope) -> ColumnElement[Any]:
    name = str(scope.property)
    if name == 'id':
        # Stored without its hyphens.
        digits = type_coerce(Record.id, String)
        groups = [
            func.substr(digits, start, length, type_=String)
            for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        ]
        return reduce(lambda text, group: text + '-' + group, groups)
    column = getattr(Record, name)
    return cast(column, String) if name == 'status' else column


def _responses(scope: ResponseFilterScope, value: ColumnElement[Any]) -> Elements:
    return Elements((Response.__table__,), value, _response_conditions(scope))


def _response_conditions(scope: ResponseFilterScope) -> tuple[ColumnElement[bool], ...]:
    of_user = (Response.user_id == scope.user.id,) if scope.user else ()
    return (Response.record_id == Record.id, *of_user)


def _response_status_filter(condition: TermsFilter | RangeFilter) -> ColumnElement[bool]:
    if condition.scope.property != 'status' or not isinstance(condition, TermsFilter):
        raise ValueFormatError("Responses can be filtered by a question, or by terms of the property 'status'")
    statuses = condition.values
    responses = _responses(condition.scope, cast(Response.status, String))
    if not statuses:
        # None is asked for: all records, or all that the user has a response to, whatever its status.
        return responses.any(lambda _: true()) if condition.scope.user else true()
    hits = [responses.any(lambda status: status.in_(statuses))]
    if ResponseStatusFilter.pending in statuses:
        # Of the user, if the filter is about one: no response yet.
        hits.append(not_(responses.any(lambda _: true())))
    return or_(*hits)


def _test(condition: TermsFilter | RangeFilter, kind: Kind) -> Test:
    """The condition on a single value."""
    if kind is Kind.NOT_INDEXED:
        return lambda _: false()
    if isinstance(condition, TermsFilter):
        if kind is Kind.DATE:
            # A date that is cut short means all of the day (hour, minute).
            spans = [(to_date(term, end=False), to_date(term, end=True)) for term in condition.values]
            return lambda value: or_(*(value.between(first, last) for first, last in spans))
        terms = [to_number(term) if kind is Kind.NUMBER else term for term in condition.values]
        return lambda value: value.in_(terms)
    low, high = _bound(condition.ge, kind, end=False), _bound(condition.le, kind, end=True)
    if low is not None and high is not None:
        return lambda value: value.between(low, high)
    return lambda value: and_(
        true(), *([] if low is None else [value >= low]), *([] if high is None else [value <= high])
    )


def _bound(value: float | str | None, kind: Kind, end: bool) -> Any:
    if value is None:
        return None
    if kind is Kind.NUMBER:
        return to_number(value)
    return to_date(value, end) if kind is Kind.DATE else str(value)
