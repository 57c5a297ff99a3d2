"""The contract that every backend passes. Run by pytest, with astro-token and this plugin installed."""

import sqlite3
from pathlib import Path

import pytest
from astro_token_sqlite import Sqlite

from astro_token.testing import BackendContract, Harness


class TestSqlite(BackendContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        file = tmp_path / "tokens.db"

        def store(value: bytes) -> None:
            with sqlite3.connect(file) as database:
                database.execute("CREATE TABLE IF NOT EXISTS secrets (name, value, version)")
                database.execute(
                    "INSERT INTO secrets SELECT 'prod', ?, count(*) + 1 FROM secrets", [value.decode()]
                )
            database.close()

        store(b"first")
        return Harness(Sqlite(), store=store, present=f"sqlite:{file}/prod", missing=f"sqlite:{file}/nothing")
