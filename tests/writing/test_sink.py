"""What the sink promises beyond writing: human work is safe, reruns are cheap, ids are unique. On a real server."""

from __future__ import annotations

import json
import pickle
from typing import Any

import apache_beam as beam
import orjson
import pytest
from apache_beam.metrics.metric import Lineage
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window
from apache_beam.utils.secret import RawSecret

import beam_argilla as ba
from beam_argilla.server.bulk import decode_item
from beam_argilla.server.datasets import Dataset
from beam_argilla.server.settings import metadata_property, rating_question, text_field, text_question
from beam_argilla.writing.existing import ReadExisting, fingerprint
from beam_argilla.writing.flow import FlowControl
from tests.faults import Answer, FakeServer
from tests.samples import counters, pipeline, unique

SETTINGS = ba.DatasetSettings(
    fields=[text_field('text')],
    questions=[rating_question('stars', 'Stars', [1, 2, 3]), text_question('why', 'Why', required=False)],
    metadata=[metadata_property('n', 'integer'), metadata_property('f', 'float'), metadata_property('t', 'terms')],
)


def record(i: int, **changes: Any) -> ba.Record:
    suggestions = [ba.Suggestion('stars', 1 + i % 3, 'judge', 1), ba.Suggestion('why', f'Because {i} is {i}.')]
    metadata = {'n': i, 'f': i / 7, 't': ['odd', 'even'][i % 2]}
    return ba.Record(f'r{i}', {'text': f'Text {i} é'}, suggestions, metadata)._replace(**changes)


def write(connection, name, records, **options) -> dict[str, int]:
    p = beam.Pipeline(runner=FnApiRunner())
    _ = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=SETTINGS, **options)
    result = p.run()
    result.wait_until_finish()
    return counters(result)


def stored(api, name) -> dict[str, dict[str, Any]]:
    (dataset,) = api.get('/me/datasets', params={'name': name}).json()['items']
    params = {'limit': 1000, 'include': 'suggestions,responses'}
    return {r['external_id']: r for r in api.get(f'/datasets/{dataset["id"]}/records', params=params).json()['items']}


def suggested(api, name, stored_record) -> dict[str, Any]:
    (dataset,) = api.get('/me/datasets', params={'name': name}).json()['items']
    names = {q['id']: q['name'] for q in api.get(f'/datasets/{dataset["id"]}/questions').json()['items']}
    return {names[s['question_id']]: s['value'] for s in stored_record['suggestions']}


# -- people's work


@pytest.mark.parametrize('mode', ['merge', 'replace'])
def test_human_answers_survive_every_kind_of_rewrite(connection, api, mode):
    write(connection, name := unique('human'), [record(1), record(2)])
    target = stored(api, name)['r1']['id']
    values = {'stars': {'value': 3}, 'why': {'value': 'A person said so.'}}
    answer = api.post(f'/records/{target}/responses', json={'status': 'submitted', 'values': values})
    assert answer.status_code == 201
    before = stored(api, name)['r1']['responses']
    rewrites = (
        record(1, fields={'text': 'Another text'}),
        record(1, suggestions=[ba.Suggestion('stars', 1, 'somebody else')]),
        record(1, suggestions=[], metadata={}),
    )
    for rewrite in rewrites:
        write(connection, name, [rewrite, record(2)], suggestions=mode)
        after = stored(api, name)['r1']
        assert after['responses'] == before
        assert after['status'] == 'completed'
        assert after['fields'] == rewrite.fields
        assert after['metadata'] == rewrite.metadata


def test_merge_leaves_suggestions_that_are_not_sent_and_replace_removes_them(connection, api):
    write(connection, name := unique('mode'), [record(1), record(2)])
    fewer = record(1, suggestions=[ba.Suggestion('stars', 3)])
    write(connection, name, [fewer])
    assert suggested(api, name, stored(api, name)['r1']) == {'stars': 3, 'why': 'Because 1 is 1.'}
    write(connection, name, [fewer], suggestions='replace')
    assert suggested(api, name, stored(api, name)['r1']) == {'stars': 3}
    assert suggested(api, name, stored(api, name)['r2']) == {'stars': 3, 'why': 'Because 2 is 2.'}  # not in the job
    write(connection, name, [record(1, suggestions=[])], suggestions='replace')
    assert suggested(api, name, stored(api, name)['r1']) == {}


# -- reruns


def test_skip_unchanged_sends_only_what_differs_or_is_missing(connection, api):
    records = [record(i) for i in range(1200)]  # eight pages
    first = write(connection, name := unique('skip'), records)
    assert first['records_created'] == 1200
    before = stored(api, name)
    again = write(connection, name, records, skip_unchanged=True)
    assert again['records_unchanged'] == 1200
    assert 'requests' not in again
    assert stored(api, name) == before  # to the last timestamp

    changes = {
        1: record(1, fields={'text': 'New'}),
        2: record(2, metadata={'n': 2}),
        3: record(3, suggestions=[ba.Suggestion('stars', 1 + 3 % 3, 'another judge', 1), record(3).suggestions[1]]),
        4: record(4, suggestions=[ba.Suggestion('stars', 1 + 4 % 3, 'judge', 0.5), record(4).suggestions[1]]),
        1200: record(1200),
    }
    changed = [changes.get(i, r) for i, r in enumerate(records)] + [record(1200)]
    p = beam.Pipeline(runner=FnApiRunner())
    result = p | beam.Create(changed) | ba.WriteRecords(name, connection=connection, skip_unchanged=True)
    sent = result.written | beam.Filter(lambda w: w.outcome != 'unchanged') | beam.Map(lambda w: w.external_id)
    assert_that(sent, equal_to([f'r{i}' for i in changes]))
    assert_that(result.written | beam.combiners.Count.Globally(), equal_to([1201]), 'all are accounted for')
    p.run().wait_until_finish()
    after = stored(api, name)
    assert after['r1']['fields'] == {'text': 'New'}
    assert after['r2']['metadata'] == {'n': 2}
    assert len(after) == 1000  # the API's limit on a page; r1200 comes last
    untouched = set(after) - {f'r{i}' for i in changes}
    assert {k: after[k] for k in untouched} == {k: before[k] for k in untouched}


def test_skip_unchanged_sees_what_others_did_to_the_dataset(connection, api):
    write(connection, name := unique('others'), [record(1), record(2)])
    target = stored(api, name)['r1']
    assert api.patch(f'/records/{target["id"]}', json={'metadata': {'n': 99}}).status_code == 200
    counts = write(connection, name, [record(1), record(2)], skip_unchanged=True)
    assert (counts['records_created'], counts['records_updated'], counts['records_unchanged']) == (0, 1, 1)
    assert stored(api, name)['r1']['metadata'] == record(1).metadata


def test_fewer_suggestions_are_no_change_to_merge_and_one_to_replace(connection, api):
    write(connection, name := unique('fewer'), [record(1)])
    fewer = record(1, suggestions=record(1).suggestions[:1])
    assert write(connection, name, [fewer], skip_unchanged=True)['records_unchanged'] == 1
    assert 'records_unchanged' not in write(connection, name, [fewer], skip_unchanged=True, suggestions='replace')
    assert suggested(api, name, stored(api, name)['r1']) == {'stars': 2}


def test_skip_unchanged_needs_an_input_that_ends():
    p = beam.Pipeline(runner=FnApiRunner())
    records = p | beam.Create([record(1)]) | beam.WindowInto(window.FixedWindows(1))
    with pytest.raises(ValueError, match='skip_unchanged=True needs bounded input'):
        _ = records | ba.WriteRecords('x', connection=ba.ArgillaConnection('http://x'), skip_unchanged=True)


def test_a_listing_of_another_form_ends_the_job_at_once():
    with FakeServer(Answer(200, b'{"items": [{"id": "i", "fields": "not an object"}], "total": 1}')) as server:
        connection = ba.ArgillaConnection(server.url, api_key=RawSecret('key'))
        with pytest.raises(Exception, match=r'answers of another form than argilla-server .*fields'), pipeline() as p:
            once = p | beam.Create([Dataset('d', 'http://x', SETTINGS, {})])
            _ = once | ReadExisting(connection, ba.RetryPolicy(limit=60))


def test_a_fingerprint_tells_apart_what_differs_and_nothing_else():
    def of(item):
        return fingerprint(decode_item(orjson.dumps({'external_id': 'x', **item})))

    item = {'fields': {'a': 'x', 'b': None}, 'metadata': {'m': 1.0}, 'suggestions': [{'question_id': 'q', 'value': 1}]}
    back = {
        'id': 'i',
        'fields': {'a': 'x'},
        'metadata': {'m': 1.0, 'gone': None},
        'suggestions': [{'question_id': 'q', 'value': 1, 'agent': None, 'score': None, 'type': None, 'id': 'i'}],
    }
    assert of(item) == of(back)
    assert of({**item, 'suggestions': None}).content == of(item).content
    for change in ({'fields': {'a': 'y'}}, {'metadata': {'m': 1}}, {'metadata': None}):
        assert of({**item, **change}).content != of(item).content
    for change in (
        {'value': '1'},
        {'value': 1, 'agent': 'x'},
        {'value': 1, 'score': 0.5},
        {'value': 1, 'type': 'model'},
    ):
        other = {**item, 'suggestions': [{'question_id': 'q', **change}]}
        assert of(other).suggestions != of(item).suggestions


# -- ids


def test_equal_records_with_one_id_are_written_once_and_different_ones_refused(connection, api):
    name = unique('ids')
    records = [record(1), record(1), record(2), record(2, fields={'text': 'Other'}), record(3)]
    with pipeline() as p:
        result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=SETTINGS)
        assert_that(result.written | beam.Map(lambda w: w.external_id), equal_to(['r1', 'r3']))
        failed = result.failed | beam.Map(
            lambda f: (f.external_id, f.error, json.loads(f.data)['record']['fields']['text'])
        )
        expected = [('r2', 'DuplicateExternalId', 'Text 2 é'), ('r2', 'DuplicateExternalId', 'Other')]
        assert_that(failed, equal_to(expected), 'failed')
    assert set(stored(api, name)) == {'r1', 'r3'}


def test_where_ids_are_said_to_be_unique_the_later_record_of_a_bundle_stays(connection, api):
    name = unique('later')
    versions = [record(1, fields={'text': f'v{i}'}) for i in range(5)]
    p = beam.Pipeline(runner=FnApiRunner())
    bundle = p | beam.Create([None]) | beam.FlatMap(lambda _: [*versions[:4], record(2), versions[4]])
    _ = bundle | ba.WriteRecords(name, connection=connection, settings=SETTINGS, distinct=False)
    p.run().wait_until_finish()
    assert stored(api, name)['r1']['fields'] == {'text': 'v4'}


def test_max_parallelism_bounds_the_workers_that_write(connection, api):
    p = beam.Pipeline(runner=FnApiRunner())
    write_it = ba.WriteRecords(unique('x'), connection=connection, settings=SETTINGS, max_parallelism=2)
    written = (p | beam.Create([record(i) for i in range(30)]) | write_it).written
    assert_that(written | beam.combiners.Count.Globally(), equal_to([30]))
    p.run().wait_until_finish()


# -- what can be seen of it


def test_metrics_and_lineage(connection):
    name = unique('metrics')
    p = beam.Pipeline(runner=FnApiRunner())
    records = [*(record(i) for i in range(30)), record(30, metadata={'n': 'x'})]
    result = p | beam.Create(records) | ba.WriteRecords(name, connection=connection, settings=SETTINGS, max_records=10)
    assert_that(result.failed | beam.Map(lambda f: (f.stage, f.error)), equal_to([('validate', 'MetadataValue')]))
    done = p.run()
    done.wait_until_finish()
    counts = counters(done)
    assert counts['records_created'] == 30
    assert counts['failed_MetadataValue'] == 1
    assert counts['requests'] >= 3
    distributions = {m.key.metric.name: m.committed for m in done.metrics().query()['distributions']}
    assert distributions['records_per_request'].sum == 30
    assert distributions['records_per_request'].max <= 10
    assert distributions['bytes_per_request'].sum > 30 * 100
    assert distributions['request_milliseconds'].min > 0
    assert distributions['in_flight_limit'].min >= 1
    assert Lineage.query(done.metrics(), Lineage.SINK) == {f'argilla:default.{name}'}


# -- flow control


def drive(flow: FlowControl, capacity: int, seconds_per_record: float, overhead: float, steps: int = 400) -> None:
    """A server that works on `capacity` requests at a time; the rest wait in its queue."""
    for _ in range(steps):
        records, waiting = flow.records, max(flow.limit / capacity, 1)
        flow.succeeded(records, (overhead + records * seconds_per_record) * waiting)


def test_flow_control_finds_out_what_a_server_can_do():
    one = FlowControl(500, 32)
    drive(one, 1, 0.003, 0.01)
    eight = FlowControl(500, 32)
    drive(eight, 8, 0.003, 0.01)
    assert 1 <= one.limit <= 4
    assert 8 <= eight.limit <= 16
    fast = FlowControl(500, 32)
    drive(fast, 4, 0.00001, 0.001)
    assert fast.records == 500  # an instant answer leaves only the fixed cost to save


def test_flow_control_backs_off_when_told_and_recovers():
    flow = FlowControl(500, 32)
    drive(flow, 16, 0.001, 0.01)
    limit, records = flow.limit, flow.records
    sent = 1e12  # after anything before
    flow.overloaded(sent)
    assert (flow.limit, flow.records) == (limit // 2, int(records * 0.75))
    flow.overloaded(0.0)  # sent before the limit was lowered: the same sign
    assert flow.limit == limit // 2
    for _ in range(20):
        flow.overloaded(sent)
    assert (flow.limit, flow.records) == (1, 10)
    drive(flow, 16, 0.001, 0.01)
    assert flow.limit >= limit - 1


def test_flow_control_keeps_to_its_bounds():
    flow = FlowControl(7, 1)
    drive(flow, 16, 0.00001, 0.001)
    assert (flow.records, flow.limit) == (7, 1)
    slow = FlowControl(500, 32)
    drive(slow, 1, 1.0, 1.0)
    assert slow.records == 10


def test_the_sink_is_pickled_without_its_connection(connection):
    fn = ba.WriteRecords('x', connection=connection).fn
    fn.setup()
    assert type(pickle.loads(pickle.dumps(ba.WriteRecords('x', connection=connection).fn))) is ba.WriteRecordsFn
