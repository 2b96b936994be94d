"""A database's own errors come with the step that helps."""

import secrets
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from sensei.errors import StorageUnavailable
from sensei.storage import database


def said_about(url: str, statement: str = "SELECT 1") -> str:
    engine = database.connect(url)
    try:
        with (
            pytest.raises(StorageUnavailable) as raised,
            database.write_transaction(engine) as connection,
        ):
            connection.execute(text(statement))
    finally:
        engine.dispose()
    return str(raised.value)


def with_(url: str, **parts: str) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)


def test_a_postgresql_database_or_user_that_is_not_there_is_to_be_created(
    postgres_url: str,
) -> None:
    database_said = said_about(with_(postgres_url, database="nowhere"))
    assert "got" in database_said
    assert 'database "nowhere" does not exist' in database_said
    assert "createdb nowhere" in database_said
    user_said = said_about(with_(postgres_url, username="nobody_here"))
    assert 'role "nobody_here" does not exist' in user_said
    assert "createuser nobody_here" in user_said
    assert "upgrade" not in user_said


def test_a_missing_table_or_column_is_to_be_upgraded(log_url: str) -> None:
    for statement in ("SELECT 1 FROM absent", "SELECT absent FROM facts"):
        assert "run `sensei db upgrade`" in said_about(log_url, statement)


def test_rights_that_are_missing_on_postgresql_are_to_be_granted(empty_postgres_url: str) -> None:
    user = f"poor_{secrets.token_hex(4)}"
    engine = database.connect(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {user} LOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {user}"))
    engine.dispose()
    said = said_about(with_(empty_postgres_url, username=user), "SELECT * FROM facts")
    assert "permission denied" in said
    assert "grant" in said
    assert "SENSEI_HOME" not in said


def test_several_attempts_to_connect_name_the_reason_and_not_their_heading() -> None:
    said = said_about("postgresql://u:secret@127.0.0.1,127.0.0.2:1/x")
    assert "secret" not in said
    assert "refused" in said.lower()


def test_a_damaged_sqlite_file_is_to_be_restored(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("no database at all, but a text of some length")
    assert "restore a backup" in said_about(f"sqlite:///{tmp_path / 'log.db'}")
