import hashlib
import logging
import re
import shutil
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.files.archives import attempts, byte_bar, targets

Usage = namedtuple("Usage", "total used free")


def test_keys_stay_inside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    (folder / "kept").mkdir(parents=True)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "kept/linked.nc").symlink_to(tmp_path / "elsewhere.nc")
    assert targets.local_path(folder, "kept/new/a..b.nc") == folder / "kept/new/a..b.nc"
    for key in (
        "../evil.nc",
        "kept/../../evil.nc",
        "/etc/evil.nc",
        "kept//evil.nc",
        "kept\\..\\..\\evil.nc",
        "kept/ev\0il.nc",
        "linked/evil.nc",
        "kept/linked.nc",
        "",
    ):
        refused = re.escape(f"the key {key!r} is refused, since it leads out of {folder}")
        with pytest.raises(ValueError, match=refused):
            targets.local_path(folder, key)


def test_a_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    assert targets.local_path(tmp_path / "archive", "a/b.nc") == tmp_path / "archive/a/b.nc"


def test_a_file_is_whole_by_what_is_known_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    assert not targets.is_whole(path, size=None, md5=None)
    path.write_bytes(b"cloud")
    md5 = hashlib.md5(b"cloud").hexdigest()
    assert targets.is_whole(path, size=5, md5=md5)
    assert targets.is_whole(path, size=None, md5=None)
    assert not targets.is_whole(path, size=6, md5=None)
    assert not targets.is_whole(path, size=5, md5=md5[::-1])


def test_a_small_disk_is_refused_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = targets.RESERVE_BYTES + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2 * free, free, free))
    targets.refuse_full_disk(tmp_path, 1000)
    message = rf"1001 bytes are to be fetched and {2**30} kept free, but .* has {free}; make room"
    with pytest.raises(ValueError, match=message):
        targets.refuse_full_disk(tmp_path, 1001)


def test_bytes_are_logged_off_a_terminal(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with caplog.at_level(logging.INFO), byte_bar.byte_bar("fetched", 3_000_000) as count:
        count(2_500_000)
        count(-1_000_000)  # of no use
        count(1_500_000)
    assert "fetched: 100% 3.00M/3.00M" in caplog.messages[-1]


def test_a_terminal_gets_a_bar_in_bytes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with byte_bar.byte_bar("fetched", 3_000_000) as count:
        count(3_000_000)
    assert re.search(r"fetched: 100%.*3\.00M/3\.00M .*B/s", capsys.readouterr().err)


class _NotedWaits(threading.Event):
    def __init__(self, sets_itself_after: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.last = sets_itself_after

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        if len(self.waits) == self.last:
            self.set()
        return self.is_set()


def _fail() -> None:
    raise attempts.TransientError("busy")


def test_waits_grow_by_chance_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "N_ATTEMPTS", 200)
    event = _NotedWaits(sets_itself_after=1000)
    with pytest.raises(attempts.TransientError, match="busy"):
        attempts.retrying(event)(_fail)
    assert len(event.waits) == 199
    for number, wait in enumerate(event.waits[:6]):
        assert 0 <= wait <= 2**number
    assert 30 < max(event.waits) <= attempts.LONGEST_WAIT_SECONDS
    assert len(set(event.waits)) > 150


def test_nothing_is_tried_again_after_the_end() -> None:
    event = _NotedWaits(sets_itself_after=2)
    with pytest.raises(attempts.TransientError, match="busy"):
        attempts.retrying(event)(_fail)
    assert len(event.waits) == 2


def test_the_first_error_ends_the_other_threads() -> None:
    seen = []

    def work(item: int, stop: threading.Event) -> int:
        if item == 1:
            raise ValueError("one is wrong")
        seen.append((item, stop.wait(5)))
        return item

    with pytest.raises(ValueError, match="one is wrong"):
        attempts.spread(work, range(50), 2)
    assert set(seen) <= {(item, True) for item in range(50)}
    assert len(seen) < 5
    assert attempts.spread(lambda item, _: 2 * item, range(5), 2) == [0, 2, 4, 6, 8]
