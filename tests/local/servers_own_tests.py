"""argilla-server's own tests, on an argilla-server with this package's faster ways in it.

    python -m tests.local.servers_own_tests [--stock] [path of tests, or other arguments of pytest]
    python -m tests.local.servers_own_tests --search [arguments of pytest]

They ship in its source distribution, which is fetched once into `.engines`, with what they are run by. Without
arguments: those of datasets, of their records and of users. With --search: those of searches, which are written for
Elasticsearch, on this package's search engine, see `rows_for_documents`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from beam_argilla.local.requirements import redis_server
from tests.engines.installed import ENGINES, ROOT

FOLDER = 'tests/unit/api/handlers/v1'
_BULK = f'{FOLDER}/datasets/records/records_bulk'
TESTS = [f'{FOLDER}/datasets', f'{FOLDER}/test_datasets.py', f'{FOLDER}/test_list_dataset_records.py']
_LEFT_OUT = [
    # Its search engine finds a mock in place of a number of records, and pydantic takes it for 1.
    f'{FOLDER}/datasets/test_search_dataset_records.py::TestSearchDatasetRecords::test_as_owner',
    # They share the server's session, and look at its objects, which what is written in sets goes past; the database
    # and the answers are compared in test_same_as_stock.
    f'{_BULK}/test_dataset_records_bulk_with_responses.py'
    '::TestDatasetRecordsBulkWithResponses::test_update_record_responses_in_bulk',
    f'{_BULK}/test_upsert_dataset_records_bulk.py'
    '::TestUpsertDatasetRecordsBulk::test_upsert_dataset_records_bulk_update_record_fields',
    f'{_BULK}/test_upsert_dataset_records_bulk.py'
    '::TestUpsertDatasetRecordsBulk::test_upsert_dataset_records_bulk_updates_records_status',
    *(
        f'{FOLDER}/test_datasets.py::TestSuiteDatasets::test_update_dataset_records{which}'
        for which in ('[owner]', '[admin]', '_with_suggestions', '_with_vectors')
    ),
]
TESTS += [f'--deselect={test}' for test in _LEFT_OUT]
# Whose API key it is.
TESTS += ['tests/unit/security', f'{FOLDER}/test_users.py', f'{FOLDER}/users', f'{FOLDER}/authentication']
# Of its search engines' tests those that look at what is found, not into an index; but for one of a number in metadata,
# of which Elasticsearch keeps 32 bits. Here it is as it was written.
SEARCHES = [
    'tests/unit/search_engine/test_commons.py',
    '-k',
    '(search_with or search_for or similarity or progress or metrics) and not (metrics_for and seq_float)',
]
# In the versions that these tests were written for; some are older than those of our own. What these need is there.
RUN_BY = ['pytest<8.4', 'pytest-asyncio~=0.21.1', 'pytest-env', 'pytest-mock', 'factory-boy~=3.2.1', 'faker', 'respx']

PLUGIN = """
import opensearchpy

class Indices:
    def indices(self, **_):
        return []

class NoOpenSearch:
    # All that a fixture for every test wants of one is to be told that it is empty.
    def __init__(self, **_):
        self.cat = Indices()

opensearchpy.OpenSearch = NoOpenSearch

import os
from argilla_server import app  # noqa
if not os.environ['STOCK']:
    from beam_argilla.local import speedups
    speedups.apply()
"""


def fetched() -> Path:
    """The folder with argilla-server's source distribution, and what its tests are run by in `run_by`."""
    name = f'argilla_server-{version("argilla-server")}'
    folder = ENGINES / name
    if not folder.exists():
        pip = [sys.executable, '-m', 'pip', '--quiet']
        with tempfile.TemporaryDirectory(dir=ENGINES) as coming:
            wanted = ['--no-deps', '--no-binary', ':all:', name.replace('_', '-', 1).replace('-2', '==2', 1)]
            subprocess.run([*pip, 'download', *wanted, '--dest', coming], check=True)
            with tarfile.open(Path(coming) / f'{name}.tar.gz') as archive:
                archive.extractall(coming, filter='data')
            shutil.rmtree(Path(coming) / name / 'src')  # it is installed
            subprocess.run(
                [*pip, 'install', '--no-deps', '--target', Path(coming) / name / 'run_by', *RUN_BY], check=True
            )
            (Path(coming) / name).rename(folder)  # whole or not at all
    return folder


def main(arguments: list[str]) -> int:
    stock, searches = '--stock' in arguments, '--search' in arguments
    arguments = [argument for argument in arguments if argument not in ('--stock', '--search')]
    arguments = [*SEARCHES, *arguments] if searches else arguments or TESTS
    folder = fetched()
    with tempfile.TemporaryDirectory(dir='/tmp') as home:
        (Path(home) / 'faster_ways.py').write_text(PLUGIN)
        shutil.copy(Path(__file__).with_name('rows_for_documents.py'), home)  # since `tests` are the server's own there
        redis = [redis_server(), '--port', '0', '--unixsocket', f'{home}/redis.sock', '--save', '', '--dir', home]
        queue = subprocess.Popen(redis, stdout=subprocess.DEVNULL)
        try:
            while not Path(home, 'redis.sock').exists():
                time.sleep(0.05)
            environment = {name: value for name, value in os.environ.items() if not name.startswith('ARGILLA_')} | {
                'ARGILLA_DATABASE_URL': f'sqlite+aiosqlite:///{home}/argilla.db?check_same_thread=False',
                'ARGILLA_HOME_PATH': home,
                'ARGILLA_REDIS_URL': f'unix://{home}/redis.sock',
                'ARGILLA_SEARCH_ENGINE': 'elasticsearch',
                'PYTHONPATH': os.pathsep.join(map(str, [folder / 'run_by', home, folder, ROOT])),
                'STOCK': 'yes' if stock else '',
                'TMPDIR': home,
            }
            # Without plugins that are installed for our own tests.
            ours = 'rows_for_documents' if searches else 'faster_ways'
            plugins = ['pytest_asyncio.plugin', 'pytest_env.plugin', 'pytest_mock', ours]
            named = [part for plugin in plugins for part in ('-p', plugin)]
            command = [sys.executable, '-m', 'pytest', *named, '-q', '-o', 'log_cli=false', *arguments]
            environment['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'
            return subprocess.run(command, cwd=folder, env=environment).returncode
        finally:
            queue.terminate()
            queue.wait()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
