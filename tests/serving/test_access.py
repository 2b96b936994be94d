"""Who is let in, by key and by address; keys are read again, and never asked for per request."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sensei import key_store
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.keys import Key
from sensei.log import Log
from sensei.settings import Settings
from serving.access import (
    Access,
    Refused,
    is_loopback,
    is_ours,
    keep_current,
    open_access,
    refuse_exposed,
)

LOOPBACK, OUTSIDE, HOST = "127.0.0.1", "192.0.2.7", b"127.0.0.1:8000"


def refusal(ask: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        ask()
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), (None, True), ("/run/s", True),
        ("0.0.0.0", False), ("::", False), ("192.0.2.7", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_an_address_is_loopback_or_reachable(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"127.0.0.1:8000", True), (b"localhost:8000", True), (b"LOCALHOST", True), (b"", True),
        (b"[::1]:8000", True), (b"::1", False), (b"evil.example:8000", False),
        (b"127.0.0.1.evil.example", False), (b"192.0.2.7:8000", False),
        (b"localhost:8000@evil.example", False), (b"[::1].evil.example", False),
    ],
)  # fmt: skip
def test_a_request_that_names_another_host_came_from_elsewhere(host: bytes, expected: bool) -> None:
    assert is_ours(host, LOOPBACK) is expected
    access = Access()
    if expected:
        assert access.admit(LOOPBACK, host, b"") is None
    else:
        assert refusal(lambda: access.admit(LOOPBACK, host, b""))[0] == 401


def test_without_keys_what_a_proxy_passed_on_needs_one() -> None:
    assert refusal(lambda: Access().admit(LOOPBACK, HOST, b"", is_passed_on=True))[0] == 401


def test_without_keys_loopback_is_open_and_any_other_address_says_what_to_do() -> None:
    access = Access()
    assert access.admit(LOOPBACK, HOST, b"") is None
    status, said = refusal(lambda: access.admit(OUTSIDE, HOST, b""))
    assert status == 401
    assert "`sensei keys create`" in said


@pytest.mark.parametrize("address", [LOOPBACK, OUTSIDE])
def test_with_a_key_every_caller_needs_one(log: Log, address: str) -> None:
    key, shown = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    assert access.admit(address, HOST, shown.encode()) == key
    other, _ = key_store.create(log.engine, "operator")
    swapped = shown.replace(key.key_id, other.key_id)
    for presented in (b"", b"\xff\xfe", shown[:-1].encode(), swapped.encode(), b"sensei_x_y"):
        status, said = refusal(lambda presented=presented: access.admit(address, HOST, presented))
        assert status == 401
        assert "_" not in said.replace("Authorization", "")  # nothing of a key is repeated


def test_where_the_last_key_is_revoked_nobody_is_let_in_even_on_loopback(log: Log) -> None:
    key, shown = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    key_store.revoke(log.engine, key.key_id)
    assert access.admit(LOOPBACK, HOST, shown.encode()) == key  # as read last
    access.refresh()
    assert not access.has_valid_key
    assert refusal(lambda: access.admit(LOOPBACK, HOST, shown.encode()))[0] == 401
    assert refusal(lambda: access.admit(LOOPBACK, HOST, b""))[0] == 401


def test_keys_that_cannot_be_read_any_more_go_on_to_count(log: Log) -> None:
    _, shown = key_store.create(log.engine, "platform")
    stored = key_store.read(log.engine)
    answers = [stored]

    def read() -> list[Key]:
        if not answers:
            raise StorageUnavailable("database: expected it to answer, got nothing; wait")
        return list(answers.pop())

    access = Access(read)
    access.refresh()
    assert access.admit(OUTSIDE, HOST, shown.encode())
    assert refusal(lambda: access.admit(LOOPBACK, HOST, b""))[0] == 401


def test_keys_that_were_never_read_close_every_address_but_loopback() -> None:
    def read() -> list[Key]:
        raise StorageUnavailable("database: expected it to answer, got nothing; wait")

    access = Access(read)
    assert access.admit(LOOPBACK, HOST, b"") is None
    with pytest.raises(Refused) as caught:
        access.admit(OUTSIDE, HOST, b"sensei_x_y")
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"]


def test_a_revoked_key_is_noticed_in_the_background(log: Log) -> None:
    key, shown = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    ended = keep_current(access, every=0.01)
    key_store.revoke(log.engine, key.key_id)
    until = time.monotonic() + 30
    while access.has_valid_key and time.monotonic() < until:
        time.sleep(0.01)
    ended.set()
    assert refusal(lambda: access.admit(LOOPBACK, HOST, shown.encode()))[0] == 401


def test_an_address_that_others_reach_is_refused_at_start_without_a_valid_key(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    refuse_exposed(LOOPBACK, settings)
    with pytest.raises(InvalidInput, match=r"keys: expected .* on 0\.0\.0\.0, got none; run `sens"):
        refuse_exposed("0.0.0.0", settings)
    assert not (tmp_path / "sensei.db").exists()


def test_a_valid_key_lets_it_start_on_any_address(log: Log, url: str) -> None:
    settings = Settings(database_url=url)
    key, _ = key_store.create(log.engine, "operator")
    refuse_exposed("::", settings)
    key_store.revoke(log.engine, key.key_id)
    with pytest.raises(InvalidInput, match="sensei keys create"):
        refuse_exposed("::", settings)


def test_a_log_that_does_not_exist_yet_holds_no_keys_and_is_not_made(tmp_path: Path) -> None:
    access = open_access(Settings(home=tmp_path))
    assert access.admit(LOOPBACK, HOST, b"") is None
    assert refusal(lambda: access.admit(OUTSIDE, HOST, b""))[0] == 401
    assert not list(tmp_path.iterdir())
