import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensei.access import key_store, keys
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.events.log import Log

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_key_opens_and_its_neighbours_do_not(log: Log) -> None:
    stored, shown = key_store.create(log.engine, "platform", NOON)
    other, _ = key_store.create(log.engine, "platform", NOON)
    assert keys.id_of(shown.encode()) == stored.key_id
    assert stored.fits(shown.encode())
    assert not other.fits(shown.encode())
    assert not stored.fits(shown.encode()[:-1])
    assert not stored.fits(b"")


def test_what_is_stored_is_read_back_oldest_first(log: Log) -> None:
    second, _ = key_store.create(log.engine, "operator", NOON + timedelta(seconds=1))
    first, _ = key_store.create(log.engine, "platform", NOON)
    assert key_store.read(log.engine) == [first, second]
    assert first.is_valid


def test_a_revoked_key_stays_in_the_list_and_is_revoked_once(log: Log) -> None:
    key, _ = key_store.create(log.engine, "platform", NOON)
    key_store.revoke(log.engine, key.key_id, NOON + timedelta(days=1))
    (found,) = key_store.read(log.engine)
    assert found.revoked_at == NOON + timedelta(days=1)
    assert not found.is_valid
    for key_id in (key.key_id, "0000"):
        with pytest.raises(InvalidInput, match=rf"got '{key_id}'; see `sensei keys list`"):
            key_store.revoke(log.engine, key_id)


def test_no_secret_is_at_rest(sqlite_url: str) -> None:
    log = Log(sqlite_url)
    secrets = [key_store.create(log.engine, "platform")[1].split("_", 2)[2] for _ in range(20)]
    log.close()
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    held = b"".join(each.read_bytes() for each in folder.iterdir())
    assert not [each for each in secrets if each.encode() in held]
    assert len(set(secrets)) == len(secrets)
    assert {len(each) for each in secrets} == {43}  # 256 bits in base64


def test_a_role_that_does_not_exist_is_refused(log: Log) -> None:
    with pytest.raises(InvalidInput, match="role: expected platform or operator, got 'root'"):
        key_store.create(log.engine, "root")
    assert key_store.read(log.engine) == []


@pytest.mark.parametrize("presented", [b"", b"sensei", b"_", b"sensei__", b"\xff_\xff_\xff"])
def test_what_is_no_key_names_none(presented: bytes) -> None:
    assert not re.fullmatch("[0-9a-f]{8}", keys.id_of(presented))


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="sensei db upgrade"):
        key_store.read(Log(f"sqlite:///{tmp_path / 'sensei.db'}").engine)
