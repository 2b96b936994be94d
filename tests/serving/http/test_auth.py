"""Access by key and by address; keys are read again, and never queried per request."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sensei.access import key_store
from sensei.access.keys import Key
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.events.log import Log
from sensei.settings import Settings
from sensei.storage import database
from serving.http.auth import Access, RequestRefused, keep_current, open_access, refuse_exposed

LOOPBACK, OUTSIDE = "127.0.0.1", "192.0.2.7"


def admit(
    access: Access, credential: bytes = b"", address: str = LOOPBACK, **headers: str
) -> object:
    """Ask as a program of this machine does, with an address and headers of its own."""
    scope = {"server": (address, 8000), "client": ("a test", 1), "http_version": "1.1"}
    text_headers = {"host": f"{address}:8000"} | {
        n.replace("_", "-"): v for n, v in headers.items()
    }
    key = {b"x-api-key": credential} if credential else {}
    return access.admit(scope, {n.encode(): v.encode() for n, v in text_headers.items()} | key)


def refusal(ask: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as error:
        ask()
    return error.value.status, str(error.value)


def test_without_keys_a_request_for_another_host_or_by_a_proxy_needs_one() -> None:
    for headers in ({"host": "evil.example:8000"}, {"x_forwarded_proto": "https"}):
        status, sentence = refusal(lambda headers=headers: admit(Access(), **headers))
        assert status == 401
        assert "`sensei keys create`" in sentence


def test_without_keys_a_page_of_another_site_is_refused() -> None:
    assert refusal(lambda: admit(Access(), sec_fetch_site="cross-site"))[0] == 403
    assert refusal(lambda: admit(Access(), origin="http://evil.example"))[0] == 403
    assert admit(Access(), origin="http://127.0.0.1:8000", sec_fetch_site="same-origin") is None


def test_without_keys_loopback_is_open_and_any_other_address_gets_the_next_step() -> None:
    access = Access()
    assert admit(access) is None
    status, sentence = refusal(lambda: admit(access, address=OUTSIDE))
    assert status == 401
    assert "`sensei keys create`" in sentence


@pytest.mark.parametrize("address", [LOOPBACK, OUTSIDE])
def test_with_a_key_every_caller_needs_one(log: Log, address: str) -> None:
    key, secret = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    assert admit(access, secret.encode(), address) == key
    other_key, _ = key_store.create(log.engine, "operator")
    swapped_key = secret.replace(key.key_id, other_key.key_id)
    for credential in (b"", b"\xff\xfe", secret[:-1].encode(), swapped_key.encode(), b"sensei_x_y"):
        status, sentence = refusal(lambda credential=credential: admit(access, credential, address))
        assert status == 401
        assert "_" not in sentence.replace("Authorization", "")  # nothing of a key is repeated


def test_where_the_last_key_is_revoked_nobody_is_let_in_even_on_loopback(log: Log) -> None:
    key, secret = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    key_store.revoke(log.engine, key.key_id)
    assert admit(access, secret.encode()) == key  # as read last
    access.refresh()
    assert not access.has_valid_key
    assert refusal(lambda: admit(access, secret.encode()))[0] == 401
    assert refusal(lambda: admit(access))[0] == 401


def test_keys_remain_valid_while_the_database_cannot_be_read(log: Log) -> None:
    _, secret = key_store.create(log.engine, "platform")
    keys = key_store.read(log.engine)
    answers = [keys]

    def read_keys() -> list[Key]:
        if not answers:
            raise StorageUnavailable("database: expected it to answer, got nothing; wait")
        return list(answers.pop())

    access = Access(read_keys)
    access.refresh()
    assert admit(access, secret.encode(), OUTSIDE)
    assert refusal(lambda: admit(access))[0] == 401


def fails() -> list[Key]:
    raise StorageUnavailable("database: expected it to answer, got nothing; wait")


@pytest.mark.parametrize("address", [LOOPBACK, OUTSIDE])
@pytest.mark.parametrize("presented", [b"", b"sensei_x_y"])
def test_while_keys_were_never_read_nobody_is_let_in(address: str, presented: bytes) -> None:
    access = Access(fails)
    with pytest.raises(RequestRefused) as error:
        admit(access, presented, address)
    assert error.value.status == 503
    assert error.value.headers["Retry-After"]
    assert access.status().state == "unread"
    assert not access.status().is_ready


@pytest.mark.parametrize("with_key", [True, False])
def test_keys_and_their_absence_are_believed_up_to_a_maximum_age(log: Log, with_key: bool) -> None:
    credential = key_store.create(log.engine, "platform")[1].encode() if with_key else b""
    keys = key_store.read(log.engine)
    now, answers = [100.0], [keys]
    access = Access(lambda: answers.pop() if answers else fails(), 60, lambda: now[0])
    now[0] = 159
    access.refresh()
    admit(access, credential)
    assert access.status().read_seconds == 59
    now[0] = 161
    assert refusal(lambda: admit(access, credential))[0] == 503
    assert (access.status().state, access.status().is_ready) == ("expired", False)
    answers.append(keys)
    access.refresh()
    admit(access, credential)


def test_the_state_of_the_keys_is_logged_at_the_start_and_at_a_change(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(lambda: key_store.read(log.engine))
    stopping = keep_current(access, every=0.01)
    wait_until(lambda: "keys: none exists" in caplog.text)
    key_store.create(log.engine, "platform")
    wait_until(lambda: access.has_valid_key)
    stopping.set()
    assert caplog.text.count("keys: none exists") == 1


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_revoked_key_is_noticed_in_the_background(log: Log) -> None:
    key, secret = key_store.create(log.engine, "platform")
    access = Access(lambda: key_store.read(log.engine))
    stopping = keep_current(access, every=0.01)
    key_store.revoke(log.engine, key.key_id)
    wait_until(lambda: not access.has_valid_key)
    stopping.set()
    assert refusal(lambda: admit(access, secret.encode()))[0] == 401


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
    assert admit(access) is None
    assert refusal(lambda: admit(access, address=OUTSIDE))[0] == 401
    assert not list(tmp_path.iterdir())


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """The home of a database that holds a key."""
    database.upgrade(Settings(home=tmp_path).log_url)
    engine = database.connect(Settings(home=tmp_path).log_url)
    key_store.create(engine, "platform")
    engine.dispose()
    return tmp_path


def test_a_home_that_had_keys_does_not_open_if_its_database_is_missing(keyed: Path) -> None:
    for file in keyed.glob("sensei.db*"):
        file.unlink()
    access = open_access(Settings(home=keyed))
    assert refusal(lambda: admit(access))[0] == 503
    assert not (keyed / "sensei.db").exists()


def test_a_home_that_had_keys_does_not_open_where_another_database_holds_none(
    keyed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in keyed.glob("sensei.db*"):
        file.unlink()
    database.upgrade(Settings(home=keyed).log_url)
    assert refusal(lambda: admit(open_access(Settings(home=keyed))))[0] == 503
    assert "`sensei keys create`" in caplog.text
    (keyed / key_store.HAD_KEYS).unlink()  # as the sentence says
    assert admit(open_access(Settings(home=keyed))) is None


def test_reading_keys_leaves_the_mark_again(keyed: Path) -> None:
    mark = keyed / key_store.HAD_KEYS
    mark.unlink()
    open_access(Settings(home=keyed))
    assert mark.stat().st_mode & 0o777 == 0o600


def test_a_database_that_an_address_names_is_expected_to_exist(tmp_path: Path) -> None:
    access = open_access(Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path / 'other.db'}"))
    assert refusal(lambda: admit(access))[0] == 503
    assert not list(tmp_path.iterdir())


def test_a_file_without_tables_is_no_database_without_keys(tmp_path: Path) -> None:
    (tmp_path / "sensei.db").touch()
    assert refusal(lambda: admit(open_access(Settings(home=tmp_path))))[0] == 503


@pytest.mark.parametrize("is_replaced", [False, True])
def test_keys_are_not_read_from_a_file_that_was_moved(
    keyed: Path, is_replaced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(home=keyed)
    access = open_access(settings)
    new_home = keyed / "moved"
    new_home.mkdir()
    for file in keyed.glob("sensei.db*"):
        file.rename(new_home / file.name)
    if is_replaced:
        database.upgrade(settings.log_url)
    engine = database.connect(Settings(home=new_home).log_url)
    _, secret = key_store.create(engine, "platform")
    engine.dispose()
    access.refresh()
    assert refusal(lambda: admit(access, secret.encode()))[0] == 401
    assert "the last ones stay valid" in caplog.text
    assert access.has_valid_key  # the key of before


def test_keys_share_the_opened_file_of_the_worker(keyed: Path) -> None:
    settings = Settings(home=keyed)
    log_file = database.database_file(settings.log_url)
    assert log_file
    access = open_access(settings, log_file)
    (keyed / "sensei.db").rename(keyed / "moved.db")
    database.upgrade(settings.log_url)
    access.refresh()
    assert log_file.trouble
    log_file.close()
