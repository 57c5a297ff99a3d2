"""Tokens in a SQLite database: `sqlite:FILE/NAME`, from a table `secrets (name, value, version)`."""

import sqlite3
from contextlib import closing

from astro_token import BackendDownError, InvalidRefError, SecretNotFoundError, SecretRef, SecretValue

QUERY = "SELECT value, version FROM secrets WHERE name = ? ORDER BY version DESC LIMIT 1"


class Sqlite:
    """Credentials: none. Permissions: to read the file."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.options:
            raise InvalidRefError(f"{ref}: sqlite takes no options", hint="remove the options after the ?")
        file, _, name = ref.name.rpartition("/")
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=timeout)) as database:
                rows = database.execute(QUERY, [name]).fetchall()
        except sqlite3.Error:
            rows = None  # raise below: an exception that is raised here would keep this one as its context
        if rows is None:
            raise BackendDownError("the database cannot be read", hint="check that it is a SQLite database")
        for value, version in rows:
            return SecretValue(value.encode(), version=str(version))
        raise SecretNotFoundError(f"{ref}: no such name", hint="list the names in the table secrets")
