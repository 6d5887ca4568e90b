"""GOES from a local S3 server that holds NOAA's layout, behind a proxy that breaks things."""

import http.client
import logging
import re
import shutil
import signal
import socket
import struct
import threading
import time
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_server import Bucket

from pipeline.files.archives import attempts, fetch_goes, targets
from pipeline.files.archives.bucket import RemoteFile
from pipeline.files.archives.scans import choose_scans, find_scans

Usage = namedtuple("Usage", "total used free")
START = datetime(2025, 7, 1, 15)
BODY = np.random.default_rng(9).bytes(3_000_000)
RESET = struct.pack("ii", 1, 0)  # linger for no time: the connection is reset


def _key(start: datetime, *, sector: str = "M1", band: str = "", created: int = 0) -> str:
    product = f"ABI-{'L1b-Rad' if band else 'L2-MCMIP'}"
    stamp = f"{start:%Y%j%H%M%S}{start.microsecond // 100_000}"
    name = f"OR_{product}{sector}-M6{band}_G19_s{stamp}_e{stamp}_c{int(stamp) + created}.nc"
    return f"{product}{sector[0]}/{start:%Y/%j/%H}/{name}"


class Proxy(ThreadingHTTPServer):
    """Stands before the S3 server, notes the requests and commits the faults it is told to."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = address
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.on_file: Callable[[], None] = lambda: None

    def handle_error(self, *_: Any) -> None:
        """The other side hung up."""

    def fetched(self) -> list[str]:
        return [path.rpartition("/")[2] for path, _ in self.requests if path.endswith(".nc")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        listed = "list-type" in self.path
        faults = server.faults["listing" if listed else self.path.rpartition("/")[2]]
        if self.path.endswith(".nc"):
            server.on_file()
        fault = (faults[0] if faults[0].endswith("!") else faults.pop(0)) if faults else ""
        if fault.rstrip("!").isdigit():
            self.send_response(int(fault.rstrip("!")))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status, headers, body = self._ask_behind()
        half = len(body) // 2
        if fault == "short":
            body = body[:half]
        elif fault.startswith("wrong"):
            body = bytes(len(body))
        elif fault == "long":
            body += b"more"
        self.send_response(status)
        for name in ("ETag", "Last-Modified", "Content-Type", "Content-Range"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("cut", "truncated"):
            self.wfile.write(body[:half])
            self.wfile.flush()
            if fault == "cut":
                time.sleep(0.1)  # for what was sent to arrive
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.close_connection = True
        elif fault == "interrupt":
            self.wfile.write(body[:half])
            time.sleep(0.1)
            signal.pthread_kill(int(threading.main_thread().ident or 0), signal.SIGINT)
            time.sleep(0.2)
            self.wfile.write(body[half:])
        else:
            self.wfile.write(body)

    def _ask_behind(self) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(*self.server.behind)
        asked = {name: self.headers[name] for name in ("Range",) if name in self.headers}
        connection.request("GET", self.path, headers=asked)
        answer = connection.getresponse()
        try:
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@pytest.fixture
def bucket(whole_bucket: Bucket) -> Iterator[Bucket]:
    yield whole_bucket
    whole_bucket.delete_all()


@pytest.fixture
def proxy(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(attempts, "FIRST_WAIT_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Proxy(s3_server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(proxy: Proxy, tmp_path: Path) -> Callable[..., list[Path]]:
    """fetch_goes of one hour of mesoscale granules, with changes."""

    def fetch(**changes: Any) -> list[Path]:
        settings = {
            "endpoint": proxy.endpoint,
            "satellite": 19,
            "product": "ABI-L2-MCMIPM",
            "bands": [],
            "sectors": ["M1"],
            "start": START,
            "end": START + timedelta(hours=1),
            "days": [],
            "cadence_minutes": 0,
            "n_parallel": 2,
        }
        return fetch_goes(tmp_path / "raw", **{**settings, **changes})

    return fetch


def _names(folder: Path) -> list[str]:
    """Files that can be seen."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")


def _minutes(*minutes: float) -> list[datetime]:
    return [START + timedelta(minutes=minute) for minute in minutes]


def test_files_lie_under_their_keys(
    bucket: Bucket, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    keys = [bucket.put(_key(start)) for start in _minutes(0.35, 1.35, 2.35)]
    assert fetch() == [tmp_path / "raw/goes19" / key for key in keys]
    for key in keys:
        assert (tmp_path / "raw/goes19" / key).read_text() == key
    assert not list(tmp_path.rglob(".*"))


def test_only_what_is_wanted_is_fetched(bucket: Bucket, fetch: Callable[..., list[Path]]) -> None:
    for start in _minutes(-0.1, 0, 4.9, 10, 59.9, 60):
        for sector in ("M1", "M2"):
            bucket.put(_key(start, sector=sector))
    bucket.put("ABI-L2-MCMIPM/2025/182/15/index.html")
    paths = fetch(sectors=["M2"], cadence_minutes=5)
    assert [path.name for path in paths] == [
        Path(_key(start, sector="M2")).name for start in _minutes(0, 10, 59.9)
    ]
    assert len(fetch(sectors=["M1", "M2"])) == 8


def test_days_are_those_of_a_list(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]]
) -> None:
    starts = [START + timedelta(days=day, minutes=1) for day in range(4)]
    for start in starts:
        bucket.put(_key(start))
    end = START + timedelta(days=3)
    paths = fetch(end=end, days=[date(2025, 7, 1), date(2025, 7, 3), date(2025, 7, 9)])
    assert [path.name for path in paths] == [Path(_key(starts[n])).name for n in (0, 2)]
    assert not any("2025/183" in path for path, _ in proxy.requests)
    with pytest.raises(ValueError, match=r"no day of fetch\.goes\.days lies from"):
        fetch(days=[date(2025, 8, 1)])


def test_times_with_a_zone_are_taken_to_utc(
    bucket: Bucket, fetch: Callable[..., list[Path]]
) -> None:
    bucket.put(_key(START))
    assert len(fetch(start=START.replace(tzinfo=UTC), end=datetime(2025, 7, 1, 15, 1))) == 1


def test_bands_of_one_scan_come_together(
    bucket: Bucket, fetch: Callable[..., list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    tenths = {"C02": 0.0, "C07": 0.1, "C13": 0.5, "C14": 0.3}
    for minute in (0.5, 1.5, 2.5, 6.5):
        for band, tenth in tenths.items():
            if (minute, band) != (0.5, "C07"):
                start = START + timedelta(minutes=minute, seconds=tenth)
                bucket.put(_key(start, band=band))
    paths = fetch(product="ABI-L1b-RadM", bands=["C07", "C13"], cadence_minutes=5)
    assert [path.name for path in paths] == [
        Path(_key(START + timedelta(minutes=minute, seconds=tenths[band]), band=band)).name
        for minute in (1.5, 6.5)
        for band in ("C07", "C13")
    ]
    incomplete = Path(_key(START + timedelta(minutes=0.5, seconds=0.5), band="C13")).name
    assert f"the scan of {incomplete} is left out, it lacks C07" in caplog.messages


@pytest.mark.parametrize("sector", ["F", "C"])
def test_full_disk_and_conus_have_one_sector(
    sector: str, bucket: Bucket, fetch: Callable[..., list[Path]]
) -> None:
    bucket.put(_key(START, sector=sector))
    paths = fetch(product=f"ABI-L2-MCMIP{sector}", sectors=[])
    assert [path.name for path in paths] == [Path(_key(START, sector=sector)).name]


def test_the_newer_of_two_makings_counts() -> None:
    files = [RemoteFile(_key(START, created=created), 1, "") for created in (3, 90, 5)]
    scans = find_scans(files, sectors=["M1"], bands=[""])
    assert [scan.files for scan in scans] == [{"": files[1]}]


def test_cadence_beside_a_slow_reference() -> None:
    rng = np.random.default_rng(4)
    starts = [START + timedelta(seconds=int(second)) for second in sorted(rng.choice(7200, 60))]
    scans = find_scans(
        [RemoteFile(_key(start), 1, "") for start in starts], sectors=["M1"], bands=[""]
    )
    end = START + timedelta(minutes=100)
    chosen = choose_scans(
        scans, bands=[""], start=START, end=end, days=[], cadence=timedelta(minutes=7.5)
    )
    expected = []
    low = START
    while low < end:
        high = min(low + timedelta(minutes=7.5), end)
        expected += [scan for scan in scans if low <= scan.start < high][:1]
        low = high
    assert chosen == expected
    assert len(expected) > 5


def test_no_account_is_used(
    bucket: Bucket,
    proxy: Proxy,
    fetch: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    bucket.put(_key(START))
    assert len(fetch()) == 1
    assert len(proxy.requests) == 2
    assert not any("authorization" in map(str.lower, asked) for _, asked in proxy.requests)


def test_finished_files_are_not_fetched_again(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]]
) -> None:
    first, second, third = _minutes(0, 1, 2)
    bucket.put(_key(first))
    bucket.put_in_parts(_key(second), BODY)
    bucket.put(_key(third))
    paths = fetch()
    assert paths[1].read_bytes() == BODY
    proxy.requests.clear()
    assert fetch() == paths
    assert proxy.fetched() == []
    size = paths[0].stat().st_size
    paths[0].write_bytes(bytes(size))  # its checksum is wrong now
    paths[1].write_bytes(BODY[:-1])  # and this size
    assert fetch() == paths
    assert sorted(proxy.fetched()) == [paths[0].name, paths[1].name]
    assert paths[0].stat().st_size == size
    assert paths[0].read_bytes().strip(b"\0")
    assert paths[1].read_bytes() == BODY


@pytest.mark.parametrize("fault", ["cut", "truncated", "short"])
def test_a_broken_file_goes_on_where_it_broke(
    fault: str, bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]]
) -> None:
    name = Path(bucket.put(_key(START), BODY)).name
    proxy.faults[name] = [fault, fault]
    (path,) = fetch()
    assert path.read_bytes() == BODY
    assert not list(path.parent.glob(".*"))
    ranges = [asked.get("range") for asked_path, asked in proxy.requests if name in asked_path]
    offsets = [int(re.findall(r"\d+", value or "0")[0]) for value in ranges]
    assert offsets[0] == 0
    assert 0 < offsets[1] < offsets[2] < len(BODY)


@pytest.mark.parametrize("fault", ["wrong", "long"])
def test_other_content_is_fetched_anew(
    fault: str,
    bucket: Bucket,
    proxy: Proxy,
    fetch: Callable[..., list[Path]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = Path(bucket.put(_key(START), BODY)).name
    proxy.faults[name] = [fault]
    with caplog.at_level(logging.INFO):
        (path,) = fetch()
    assert path.read_bytes() == BODY
    assert proxy.fetched() == [name, name]
    assert any(
        "the content is not the listed one by size or che" in line for line in caplog.messages
    )


def test_a_busy_server_is_asked_again(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]]
) -> None:
    name = Path(bucket.put(_key(START))).name
    proxy.faults[name] = ["503", "503"]
    proxy.faults["listing"] = ["500", "503"]
    assert len(fetch()) == 1
    assert proxy.fetched() == [name] * 3
    assert len(proxy.requests) == 6


def test_a_server_that_stays_busy_is_one_sentence(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    names = [Path(bucket.put(_key(start))).name for start in _minutes(0, 1)]
    proxy.faults[names[1]] = ["503!"]
    with pytest.raises(ConnectionError, match=rf"cannot fetch .*{names[1]}: .* 503 .*run the sta"):
        fetch(n_parallel=1)
    assert proxy.fetched().count(names[1]) == attempts.N_ATTEMPTS
    assert _names(tmp_path) == [names[0]]
    proxy.faults["listing"] = ["503!"]
    with pytest.raises(ConnectionError, match=r"cannot list ABI-L2-MCMIPM/2025/182/15: .* 503"):
        fetch()


def test_content_that_stays_wrong_never_gets_its_name(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    name = Path(bucket.put(_key(START), BODY)).name
    proxy.faults[name] = ["wrong!"]
    with pytest.raises(ConnectionError, match=rf"{name}: the content is not the listed one"):
        fetch()
    assert _names(tmp_path) == []


def test_a_vanished_file_is_named_and_the_others_kept(
    bucket: Bucket,
    proxy: Proxy,
    fetch: Callable[..., list[Path]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = [bucket.put(_key(start)) for start in _minutes(0, 1, 2)]
    proxy.faults[Path(keys[1]).name] = ["404"]
    assert [path.name for path in fetch()] == [Path(keys[0]).name, Path(keys[2]).name]
    assert f"1 listed files have vanished, {keys[1]} the first of them" in caplog.messages
    assert not list(tmp_path.rglob(".*"))


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C works, also in a process that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interruption_leaves_hidden_files_to_go_on_with(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    names = [Path(bucket.put(_key(start), BODY)).name for start in _minutes(0, 1, 2)]
    proxy.faults[names[1]] = ["interrupt"]
    with pytest.raises(KeyboardInterrupt):
        fetch(n_parallel=1)
    assert _names(tmp_path) == [names[0]]
    assert [path.name[:-38] for path in tmp_path.rglob(".*")] == [f".{names[1]}"]
    assert proxy.fetched() == names[:2]
    proxy.requests.clear()
    paths = fetch()
    assert [path.read_bytes() for path in paths] == [BODY] * 3
    assert sorted(proxy.fetched()) == names[1:]
    ranges = {path.rpartition("/")[2]: asked.get("range") for path, asked in proxy.requests}
    assert re.fullmatch(r"bytes=[1-9]\d*-", str(ranges[names[1]]))
    assert ranges[names[2]] is None


def test_no_final_name_holds_a_part(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """Whatever is visible when a file is asked for is whole."""
    names = [Path(bucket.put(_key(start), BODY)).name for start in _minutes(*range(6))]
    for name in names[::2]:
        proxy.faults[name] = ["cut", "wrong", "truncated"]
    seen = []

    def look() -> None:
        for path in tmp_path.rglob("OR_*.nc"):
            seen.append(path.read_bytes() == BODY)

    proxy.on_file = look
    assert len(fetch()) == 6
    assert len(seen) > 6
    assert all(seen)


def test_transfers_at_a_time_are_limited(
    bucket: Bucket, proxy: Proxy, fetch: Callable[..., list[Path]]
) -> None:
    for start in _minutes(*range(9)):
        bucket.put(_key(start))
    lock, now, most = threading.Lock(), [0], [0]

    def occupy() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1

    proxy.on_file = occupy
    assert len(fetch(n_parallel=3)) == 9
    assert most[0] == 3


def test_a_small_disk_is_refused_before_the_first_byte(
    bucket: Bucket,
    proxy: Proxy,
    fetch: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for start in _minutes(0, 1):
        bucket.put(_key(start), BODY)
    free = targets.RESERVE_BYTES + 2 * len(BODY) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    with pytest.raises(ValueError, match=r"6000000 bytes are to be fetched and .* kept free"):
        fetch()
    assert proxy.fetched() == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free + 1))
    with caplog.at_level(logging.INFO):
        assert len(fetch()) == 2
    assert "2 files to fetch, 6.00MB; 0 are there already" in caplog.messages


def test_keys_that_lead_outside_are_refused(
    bucket: Bucket, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    folder, name = _key(START).rsplit("/", 1)
    bucket.put(f"{folder}/..\\..\\{name}")
    with pytest.raises(ValueError, match=r"the key '.*\\\\.*' is refused, since it leads out of"):
        fetch()
    bucket.delete_all()
    bucket.put(f"{folder}/../../../../../{name}")
    with pytest.raises(ValueError, match=rf"15 holds a key which is refused .*\.\./{name}"):
        fetch()
    assert not list(tmp_path.rglob("OR*"))


def test_what_is_not_there_names_the_keys(bucket: Bucket, fetch: Callable[..., list[Path]]) -> None:
    with pytest.raises(ValueError, match=r"no bucket noaa-goes17; change fetch\.goes\.satellite"):
        fetch(satellite=17)
    with pytest.raises(
        ValueError, match=r"noaa-goes19 has nothing from ABI-L2-MCMIPM/2025/182/15 to"
    ):
        fetch()
    bucket.put(_key(START))
    with pytest.raises(ValueError, match=r"none of 1 files .* complete scan.*fetch\.goes\.sectors"):
        fetch(sectors=["M2"])
    with pytest.raises(ValueError, match=r"is not before .*; change fetch\.goes\.start"):
        fetch(end=START)
    with pytest.raises(ValueError, match=r"at least one band; change fetch\.goes\.bands"):
        fetch(product="ABI-L1b-RadM")
    with pytest.raises(ValueError, match=r"need a sector; change fetch\.goes\.sectors"):
        fetch(sectors=[])


def test_a_server_that_is_not_there_is_one_sentence(fetch: Callable[..., list[Path]]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=r"cannot list ABI.*; run the stage again later"):
            fetch(endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["localhost:9000", "ftp://127.0.0.1", "mirror", "http://"])
def test_an_endpoint_is_a_url(endpoint: str, fetch: Callable[..., list[Path]]) -> None:
    with pytest.raises(
        ValueError, match=r"is no URL of an S3 server; change fetch\.goes\.endpoint"
    ):
        fetch(endpoint=endpoint)
