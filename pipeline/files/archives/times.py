"""Times of the archives."""

from datetime import UTC, datetime


def naive_utc(time: datetime) -> datetime:
    """`time` in UTC without its zone; one without a zone is UTC already.

    >>> naive_utc(datetime.fromisoformat("2025-07-01T12:00+02:00"))
    datetime.datetime(2025, 7, 1, 10, 0)
    """
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
