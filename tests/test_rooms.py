"""The rooms of the house: who may know whom, read from the imports."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import beam_argilla as ba

ROOT = Path(__file__).parents[1]
GROUND = 'ground floor'
# Room → the rooms it may know. Data goes one way, and so do imports: no room knows one that comes after it.
ROOMS: dict[str, set[str]] = {
    GROUND: set(),
    'input': {GROUND},
    'grouping': {GROUND},
    'server': {GROUND},
    'tasks': {GROUND, 'server'},
    'writing': {GROUND, 'input', 'grouping', 'server', 'tasks'},
    'answers': {GROUND, 'server'},
    'yaml': {GROUND, 'input', 'grouping', 'server', 'tasks', 'writing', 'answers'},
    'local': set(),
    'pipelines': {'beam_argilla', GROUND, 'server', 'local'},
}


def files() -> Iterator[Path]:
    yield from sorted((ROOT / 'beam_argilla').rglob('*.py'))
    yield from sorted((ROOT / 'pipelines').glob('*.py'))


def room_of(module: str) -> str:
    """The room that a module lives in, of one of ours."""
    parts = module.split('.')
    if parts[0] == 'pipelines':
        return 'pipelines'
    if len(parts) == 1:
        return 'beam_argilla'
    return parts[1] if (ROOT / 'beam_argilla' / parts[1]).is_dir() else GROUND


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import of ours, wherever in the file it stands."""
    package = '.'.join(file.relative_to(ROOT).with_suffix('').parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            module = f'{package}.{node.module or ""}'.rstrip('.') if node.level else node.module or ''
            for alias in node.names:
                path = ROOT / module.replace('.', '/') / f'{alias.name}.py'
                yield (f'{module}.{alias.name}', '') if path.exists() else (module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, '') for alias in node.names)


def arrows() -> Iterator[tuple[Path, str, str, str]]:
    """File, its room, and the module and name of ours that it imports."""
    for file in files():
        if file == ROOT / 'beam_argilla' / '__init__.py':
            continue  # the door: it names what every room offers
        module = '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        for imported, name in imports(file):
            if imported.split('.')[0] in ('beam_argilla', 'pipelines'):
                yield file, room_of(module), imported, name


def test_a_room_knows_only_the_rooms_before_it():
    wrong = [
        f'{file.relative_to(ROOT)} imports {imported}'
        for file, room, imported, _ in arrows()
        if room_of(imported) not in ROOMS[room] | {room}
    ]
    assert wrong == []


def test_tasks_know_no_more_of_the_server_than_its_settings():
    known = {imported for _, room, imported, _ in arrows() if room == 'tasks' and room_of(imported) == 'server'}
    assert known == {'beam_argilla.server.settings'}


def test_no_private_name_crosses_a_file():
    assert [f'{f.relative_to(ROOT)}: {name}' for f, _, _, name in arrows() if name.startswith('_')] == []
    for file in files():  # nor by way of a module
        tree = ast.parse(file.read_text(encoding='utf-8'))
        modules = {
            m.rsplit('.', 1)[-1] for m, n in imports(file) if m.startswith(('beam_argilla', 'pipelines')) and not n
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                assert not node.attr.startswith('_'), f'{file}: {ast.unparse(node)}'


def test_every_folder_is_a_room_and_its_tests_mirror_it():
    folders = {p.parent.name for p in (ROOT / 'beam_argilla').glob('*/__init__.py')} | {'pipelines'}
    assert folders == ROOMS.keys() - {GROUND}
    tested = {p.parent.name for p in (ROOT / 'tests').glob('*/test_*.py')}
    assert folders <= tested


def test_there_is_no_circle():
    after: dict[str, set[str]] = {}
    for file, _, imported, _ in arrows():
        module = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
        after.setdefault(module, set()).add(imported)
    done: set[str] = set()
    while ready := [m for m, needed in after.items() if m not in done and not (needed & after.keys()) - done - {m}]:
        done.update(ready)
    assert after.keys() - done == set()


@pytest.mark.parametrize(
    ('room', 'known'), [('tasks', set()), ('server', {'apache_beam.utils.secret', 'apache_beam.utils.retry'})]
)
def test_of_beam_the_tasks_know_nothing_and_the_server_room_a_secret_and_a_delay(room, known):
    found = {
        imported
        for file in (ROOT / 'beam_argilla' / room).glob('*.py')
        for imported, _ in imports(file)
        if imported.split('.')[0] == 'apache_beam'
    }
    assert found == known


def test_one_room_knows_the_network_and_one_file_the_hub():
    asking = {
        (package, str(file.relative_to(ROOT / 'beam_argilla').parts[0]))
        for file in files()
        if file.is_relative_to(ROOT / 'beam_argilla')
        for imported, _ in imports(file)
        if (package := imported.split('.')[0]) in ('httpx', 'requests', 'argilla', 'huggingface_hub')
    }
    assert {place for package, place in asking if package != 'huggingface_hub'} == {'server'}
    assert {place for package, place in asking if package == 'huggingface_hub'} == {'hub.py'}


def test_the_programs_hold_nothing_that_a_worker_unpickles():
    for file in (ROOT / 'pipelines').glob('*.py'):
        tree = ast.parse(file.read_text(encoding='utf-8'))
        bases = [ast.unparse(b) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for b in node.bases]
        assert bases == [], file  # nothing but dataclasses
        own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            if ast.unparse(call.func) in ('beam.Map', 'beam.FlatMap', 'beam.Filter', 'beam.ParDo'):
                function = call.args[0]
                assert not isinstance(function, ast.Lambda), file
                assert ast.unparse(function) not in own, file


def test_the_door_names_the_same_for_type_checkers_and_at_run_time():
    tree = ast.parse((ROOT / 'beam_argilla' / '__init__.py').read_text(encoding='utf-8'))
    named = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('beam_argilla.')
        for alias in node.names
    }
    assert named.keys() == set(ba.__all__) == set(ba.__all__) & set(dir(ba))
    for name, module in named.items():
        assert getattr(ba, name) is getattr(importlib.import_module(module), name)


LIGHT = """
import sys
import beam_argilla as ba
ba.Columns(); ba.Policies(); ba.Preference(4).settings(); ba.TextGeneration().settings()
heavy = {'argilla', 'datasets', 'huggingface_hub'}
print(sorted({*heavy, 'apache_beam', 'pyarrow', 'numpy', 'pandas'} & sys.modules.keys()))
for name in ba.__all__: getattr(ba, name)
print(sorted(heavy & sys.modules.keys()))
"""


def test_what_is_not_used_is_not_imported():
    done = subprocess.run([sys.executable, '-c', LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['[]', '[]']
