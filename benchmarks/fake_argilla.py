"""An Argilla server that does nothing and answers at once, to measure what a client costs.

python -m benchmarks.fake_argilla PORT NUM_GENERATIONS
"""

from __future__ import annotations

import sys
from typing import Any

import orjson
import uvicorn

import beam_argilla as ba

STAMPS = {'inserted_at': '2020-01-01T00:00:00', 'updated_at': '2020-01-01T00:00:00'}
DATASET_ID, WORKSPACE_ID, USER_ID = (f'00000000-0000-0000-0000-{i:012d}' for i in range(3))
DATASET = {
    'id': DATASET_ID,
    'name': 'fake',
    'status': 'ready',
    'workspace_id': WORKSPACE_ID,
    'guidelines': None,
    'allow_extra_metadata': False,
    'distribution': {'strategy': 'overlap', 'min_submitted': 1},
    'last_activity_at': STAMPS['updated_at'],
    **STAMPS,
}
USER = {'id': USER_ID, 'username': 'u', 'first_name': 'u', 'last_name': None, 'role': 'owner', 'api_key': 'k', **STAMPS}


def with_ids(properties: Any) -> list[dict[str, Any]]:
    ids = (f'00000000-0000-0000-0001-{i:012d}' for i in range(1000))
    same = {'dataset_id': DATASET_ID, **STAMPS}
    return [{'description': None, **p, 'id': id, **same} for id, p in zip(ids, properties, strict=False)]


def upserted(body: bytes) -> dict[str, Any]:
    items = orjson.loads(body)['items']
    for i, item in enumerate(items):
        item.update(id=f'00000000-0000-0000-0002-{i:012d}', status='pending', dataset_id=DATASET_ID, **STAMPS)
        item.update(responses=[], vectors={})
        for suggestion in item['suggestions']:
            suggestion.update(id=USER_ID, type=None, agent=None, score=None, **STAMPS)
    return {'items': items}


def main() -> None:
    port, num_generations = int(sys.argv[1]), int(sys.argv[2])
    settings = ba.Preference(num_generations).settings()
    fixed = {
        'version': {'version': '2.8.0'},
        'me': USER,
        'workspaces': {'items': [{'id': WORKSPACE_ID, 'name': 'default', **STAMPS}]},
        'datasets': {'items': [DATASET]},
        'fields': {'items': with_ids(settings.fields)},
        'questions': {'items': with_ids(settings.questions)},
        'metadata-properties': {'items': []},
        'vectors-settings': {'items': []},
        'records': {'items': [], 'total': 0},
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] != 'http':
            return
        body, more = b'', True
        while more:
            message = await receive()
            body += message.get('body', b'')
            more = message.get('more_body', False)
        last = scope['path'].rsplit('/', 1)[-1]
        answer = orjson.dumps(upserted(body) if last == 'bulk' else fixed.get(last, DATASET))
        headers = [(b'content-type', b'application/json'), (b'content-length', str(len(answer)).encode())]
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        await send({'type': 'http.response.body', 'body': answer})

    uvicorn.run(app, host='127.0.0.1', port=port, log_level='error')


if __name__ == '__main__':
    main()
