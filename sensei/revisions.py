"""What every writer of the log shares, whether it writes rows or columns."""

from collections.abc import Collection

from sqlalchemy import Connection


def raise_revisions(connection: Connection, user_ids: Collection[str]) -> None:
    """Count one more write for each learner; makes those never seen."""
    if user_ids:
        # Sorted, so that two writers of the same learners cannot wait for each other.
        connection.connection.cursor().executemany(
            f"INSERT INTO learners (user_id, revision) VALUES ({signs(connection, 1)}, 1) "  # noqa: S608
            "ON CONFLICT (user_id) DO UPDATE SET revision = learners.revision + 1",
            [(user_id,) for user_id in sorted(user_ids)],
        )


def conflict(event_id: str) -> str:
    """The sentence about an event id that came with two payloads."""
    return (
        f"event_id: expected the payload that first came with it, got another for {event_id!r}; "
        "give a new event an id of its own"
    )


def signs(connection: Connection, count: int) -> str:
    """Places for so many values in a statement of the connection's driver."""
    return ", ".join(["?" if connection.dialect.name == "sqlite" else "%s"] * count)
