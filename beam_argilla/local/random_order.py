"""An order of records that looks random, is another one for each user, and stays the same for one user.

Annotators who work at the same time so meet different records first.
"""

import hashlib
import sqlite3

RANDOM_FUNCTION = 'beam_argilla_random'


def random_number(seed: str, record_id: str) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    digest = hashlib.blake2b(record_id.encode(), key=seed.encode(), digest_size=6).digest()
    return int.from_bytes(digest, 'big') / 2**48


def add_functions(connection: sqlite3.Connection) -> None:
    """Gives a connection `random_number`."""
    connection.create_function(RANDOM_FUNCTION, 2, random_number, deterministic=True)
