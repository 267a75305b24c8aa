"""The PostgreSQL server that tests share: databases apart from each other, a clear word without it."""

from pathlib import Path

import psycopg
import pytest

from tests import postgres as server
from tests.postgres import new_database, postgres_server


def test_new_databases_are_empty_and_apart(postgres: str) -> None:
    first, second = new_database(postgres), new_database(postgres)
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(second) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'mine'")
        assert tables.fetchone() == (0,)


def test_a_missing_postgresql_names_debians_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="Debian's package postgresql"), postgres_server():
        pass
