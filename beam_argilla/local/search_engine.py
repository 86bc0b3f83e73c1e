"""argilla-server's search engine, on its own SQLite database in place of Elasticsearch.

Records, responses, suggestions, metadata and vectors are rows already: a search is a query over them, and there is
nothing to index, to refresh or to get out of step. The full text is the exception, see `text_index`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy
from argilla_server.database import AsyncSessionLocal
from argilla_server.enums import MetadataPropertyType, SimilarityOrder
from argilla_server.models import Dataset, Field, MetadataProperty, Record, Response, User, Vector, VectorSettings
from argilla_server.search_engine.base import (
    Filter,
    FloatMetadataMetrics,
    IntegerMetadataMetrics,
    MetadataMetrics,
    Order,
    SearchEngine,
    SearchResponseItem,
    SearchResponses,
    TermsMetrics,
    TextQuery,
)
from sqlalchemy import ColumnElement, Select, String, and_, cast, column, func, literal, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from beam_argilla.local.conditions import Conditions, metadata_values
from beam_argilla.local.random_order import random_number
from beam_argilla.local.similar_words import FuzzyWord
from beam_argilla.local.text_index import COLUMNS, INDEX_TABLE, TEXT_TABLE, WORDS_TABLE
from beam_argilla.local.text_query import match, parse

NAME = 'sqlite'

# Elasticsearch's own limit for the terms of a metadata property.
MAX_TERMS = 2**14
_MAX_OFFSET = 2**63 - 1

# The order in which the records were added, as that of the documents in an Elasticsearch index.
_INSERTION_ORDER: ColumnElement[int] = literal_column('records.rowid')


@SearchEngine.register(NAME)
class SqliteSearchEngine(SearchEngine):
    """Finds records with SQL. See argilla_server.search_engine.base.SearchEngine for the methods."""

    @classmethod
    async def new_instance(cls) -> SqliteSearchEngine:
        return cls()

    async def ping(self) -> bool:
        async with AsyncSessionLocal() as session:
            return await session.scalar(select(literal(1))) == 1

    async def info(self) -> dict[str, Any]:
        async with AsyncSessionLocal() as session:
            return {'name': NAME, 'version': await session.scalar(select(func.sqlite_version()))}

    async def _nothing_to_do(self, *args: Any, **kwargs: Any) -> None:
        """The rows are the index, and they have been committed before these are called."""

    close = create_index = delete_index = configure_metadata_property = configure_index_vectors = _nothing_to_do
    index_records = partial_record_update = delete_records = _nothing_to_do
    update_record_response = delete_record_response = _nothing_to_do
    update_record_suggestion = delete_record_suggestion = _nothing_to_do

    async def get_dataset_progress(self, dataset: Dataset) -> dict[str, int]:
        return await _progress(dataset, select(Record.status).where(Record.dataset_id == dataset.id))

    async def get_dataset_user_progress(self, dataset: Dataset, user: User) -> dict[str, int]:
        # On Elasticsearch the responses of others to the same records are counted too, a known bug.
        statuses = (
            select(Response.status).join(Record).where(Record.dataset_id == dataset.id, Response.user_id == user.id)
        )
        return await _progress(dataset, statuses)

    async def search(
        self,
        dataset: Dataset,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        sort: list[Order] | None = None,
        offset: int = 0,
        limit: int = 100,
        user_id: UUID | None = None,
    ) -> SearchResponses:
        async with AsyncSessionLocal() as session:
            conditions = await Conditions.of(session, dataset)
            found, score = await _find(session, dataset, conditions, query, filter)
            if user_id is not None:
                # Another order for each user. With a text query, Elasticsearch multiplies the two as well.
                score = score * random_number(user_id)
            found = found.add_columns(score)
            if query is None and filter is None and not sort:
                rows, total = await _page_of_all(session, found, score, offset, limit)
            else:
                order = [conditions.sort_key(one) for one in sort] if sort else [score.desc()]
                rows, total = await _page(session, found.order_by(*order, _INSERTION_ORDER), offset, limit)
        items = [SearchResponseItem(record_id=record_id, score=score) for record_id, score, *_ in rows]
        return SearchResponses(items=items, total=total)

    async def similarity_search(
        self,
        dataset: Dataset,
        vector_settings: VectorSettings,
        value: list[float] | None = None,
        record: Record | None = None,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        max_results: int = 100,
        order: SimilarityOrder = SimilarityOrder.most_similar,
        threshold: float | None = None,
    ) -> SearchResponses:
        if bool(value) == bool(record):
            raise ValueError('Must provide either vector value or record to compute the similarity search')
        wanted = value or (record.vector_value_by_vector_settings(vector_settings) if record else None)
        if not wanted:
            raise ValueError('Cannot find a vector value to apply with provided info')
        if len(wanted) != vector_settings.dimensions:
            raise ValueError(f'The vector must have {vector_settings.dimensions} elements, not {len(wanted)}')
        async with AsyncSessionLocal() as session:
            found, _ = await _find(session, dataset, await Conditions.of(session, dataset), query, filter)
            of_settings = and_(Vector.record_id == Record.id, Vector.vector_settings_id == vector_settings.id)
            # As text: decoding the JSON of all vectors takes far longer than comparing them.
            statement = found.add_columns(cast(Vector.value, String)).join(Vector, of_settings)
            if record is not None:
                statement = statement.where(Record.id != record.id)
            rows = (await session.execute(statement.order_by(_INSERTION_ORDER))).all()
        sign = 1 if order == SimilarityOrder.most_similar else -1
        # In a thread: for many records it takes a while, and the server has other requests to answer.
        ranked = await asyncio.to_thread(
            most_similar, [vector for _, vector in rows], sign * np.array(wanted, dtype=float), max_results, threshold
        )
        items = [SearchResponseItem(record_id=rows[index][0], score=score) for index, score in ranked]
        return SearchResponses(items=items, total=len(items))

    async def compute_metrics_for(self, metadata_property: MetadataProperty) -> MetadataMetrics:
        values = metadata_values(metadata_property)
        async with AsyncSessionLocal() as session:
            if metadata_property.type == MetadataPropertyType.terms:
                number = func.count()
                statement = (
                    select(values.c.value, number)
                    .group_by(values.c.value)
                    .order_by(number.desc(), values.c.value)
                    .limit(MAX_TERMS)
                )
                rows = (await session.execute(statement)).all()
                total = await session.scalar(select(func.count()).select_from(values))
                return TermsMetrics(
                    total=total or 0, values=[TermsMetrics.TermCount(term=term, count=count) for term, count in rows]
                )
            low, high = (await session.execute(select(func.min(values.c.value), func.max(values.c.value)))).one()
        is_integer = metadata_property.type == MetadataPropertyType.integer
        return (IntegerMetadataMetrics if is_integer else FloatMetadataMetrics)(min=low, max=high)


async def _page(session: AsyncSession, found: Select[Any], offset: int, limit: int) -> tuple[Sequence[Any], int]:
    """Some rows of what is found, and of how many they are."""
    # Counted as they are put in order: to find them takes most of the time, and so it is done once.
    page = found.add_columns(func.count().over()).offset(min(offset, _MAX_OFFSET)).limit(limit)
    rows = (await session.execute(page)).all()
    return rows, rows[0][-1] if rows else await _count(session, found)


async def _page_of_all(
    session: AsyncSession, all_: Select[Any], score: ColumnElement[Any], offset: int, limit: int
) -> tuple[Sequence[Any], int]:
    """Some rows of a whole dataset in the order of scores, and how many it has."""
    total = await _count(session, all_)
    if offset <= total / 2:
        page = all_.order_by(score.desc(), _INSERTION_ORDER).offset(offset).limit(limit)
        return (await session.execute(page)).all(), total
    # What comes before a page has to be put in order as well, so this one is found from the other end.
    limit = max(min(limit, total - offset), 0)
    page = all_.order_by(score.asc(), _INSERTION_ORDER.desc()).offset(max(total - offset - limit, 0)).limit(limit)
    return (await session.execute(page)).all()[::-1], total


async def _count(session: AsyncSession, found: Select[Any]) -> int:
    return await session.scalar(select(func.count()).select_from(found.order_by(None).subquery())) or 0


async def _progress(dataset: Dataset, statuses: Select[Any]) -> dict[str, int]:
    if dataset.is_draft:
        return {}
    status = statuses.selected_columns[0]
    async with AsyncSessionLocal() as session:
        rows = (await session.execute(statuses.add_columns(func.count()).group_by(status))).all()
    counts = {str(status): count for status, count in rows}
    return {'total': sum(counts.values()), **counts}


async def _find(
    session: AsyncSession,
    dataset: Dataset,
    conditions: Conditions,
    query: TextQuery | str | None,
    filter: Filter | None,
) -> tuple[Select[Any], ColumnElement[Any]]:
    """The statement that selects the ids of the records that are asked for, and the SQL of how well each one fits."""
    found: Select[Any] = select(Record.id).where(Record.dataset_id == dataset.id)
    score: ColumnElement[Any] = literal(1.0)
    if filter is not None:
        found = found.where(conditions.filter(filter))
    if query is not None:
        text_query = TextQuery(q=query) if isinstance(query, str) else query
        tree = parse(text_query.q)
        if tree is None:
            return found.where(sqlalchemy.false()), score
        matched = match(tree, {word: await _similar(session, word) for word in set(tree.fuzzy_words())})
        expression = matched.expression
        if text_query.field:
            expression = f'{{{await _column_of_field(session, dataset, text_query.field)}}} : ({expression})'
        hits = _hits(expression)
        if matched.negated:
            found = found.where(Record.id.not_in(select(hits.c.record_id)))
        else:
            found, score = found.join(hits, hits.c.record_id == Record.id), hits.c.score
    return found, score


async def _column_of_field(session: AsyncSession, dataset: Dataset, name: str) -> str:
    fields = select(Field.name).filter_by(dataset_id=dataset.id).order_by(Field.inserted_at, Field.id)
    names = (await session.scalars(fields)).all()
    return f'f{min(names.index(name), COLUMNS - 1)}'


async def _similar(session: AsyncSession, word: FuzzyWord) -> list[str]:
    """The words of the index that a fuzzy one stands for."""
    fewest, most = word.lengths
    term: ColumnElement[str] = literal_column('term')
    statement = select(term).select_from(text(WORDS_TABLE)).where(func.length(term).between(fewest, most))
    terms = (await session.scalars(statement)).all()
    return await asyncio.to_thread(word.among, terms)


def _hits(expression: str) -> Any:
    """The records that match, of all datasets, as a subquery with the columns ``record_id`` and ``score``."""
    # CROSS JOIN and LIMIT tell SQLite to ask the index first, and once. Left to itself it may go through the records
    # and ask it about each of them, which for 50,000 takes seconds in place of a tenth.
    return (
        text(
            f'SELECT t.record_id, -bm25({INDEX_TABLE}) AS score FROM {INDEX_TABLE} CROSS JOIN {TEXT_TABLE} AS t '
            f'ON t.id = {INDEX_TABLE}.rowid WHERE {INDEX_TABLE} MATCH :expression LIMIT -1'
        )
        .bindparams(sqlalchemy.bindparam('expression', expression, unique=True))
        .columns(column('record_id', Record.id.type), column('score', sqlalchemy.Float))
        .subquery()
    )


def most_similar(
    vectors: Sequence[str], wanted: np.ndarray, max_results: int, threshold: float | None = None
) -> list[tuple[int, float]]:
    """Ranks vectors by their cosine similarity to another one.

    Args:
      vectors: Each one as JSON.
      wanted: The vector to compare with.
      max_results: How many to return at most.
      threshold: The score from which on to return.

    Returns:
      The positions of the best, and their scores, as Elasticsearch computes them: from 0 (opposite) to 1 (same
      direction).
    """
    if not vectors:
        return []
    matrix = np.array([np.fromstring(vector.strip('[]'), dtype=float, sep=',') for vector in vectors])
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
    cosines = np.divide(matrix @ wanted, norms, out=np.zeros(len(matrix)), where=norms > 0)
    # A vector with NaN is like no other.
    scores = np.nan_to_num((1 + cosines) / 2)
    best = np.argsort(-scores, kind='stable')[:max_results]
    return [(int(i), float(scores[i])) for i in best if threshold is None or scores[i] >= threshold]
