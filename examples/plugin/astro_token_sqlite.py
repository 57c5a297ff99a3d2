"""Tokens in a SQLite database: `sqlite:FILE/NAME`, from a table `secrets (name, value, version)`."""

import sqlite3
from contextlib import closing

from astro_token import BackendDownError, InvalidRefError, SecretNotFoundError, SecretRef, SecretValue

QUERY = "SELECT value, version FROM secrets WHERE name = ? ORDER BY version DESC LIMIT 1"


class Sqlite:
    """Credentials: none. Permissions: to read the file."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.options:
            raise InvalidRefError(f"{ref}: sqlite takes no options", hint="leave out what follows the ?")
        file, _, name = ref.name.rpartition("/")
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=timeout)) as database:
                rows = database.execute(QUERY, [name]).fetchall()
        except sqlite3.Error:
            rows = None  # raised below: an exception raised here would carry this one along
        if rows is None:
            raise BackendDownError("the database cannot be read", hint="see that the file is one")
        for value, version in rows:
            return SecretValue(value.encode(), version=str(version))
        raise SecretNotFoundError(f"{ref}: no such name", hint="see what the table secrets holds")
