"""NASA's archive with stand-ins for what earthaccess asks of the network."""

import hashlib
import logging
import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import earthaccess
import pytest
from earthaccess.exceptions import EulaNotAccepted, LoginAttemptFailure, LoginStrategyUnavailable

from pipeline.files.archives import attempts, fetch_nasa, targets

Usage = namedtuple("Usage", "total used free")
START = datetime(2025, 7, 1, 15)
URL = "https://data.laadsdaac.earthdatacloud.nasa.gov/prod-lads"


class Result(dict[str, Any]):
    """A search result as earthaccess has it."""

    def __init__(self, name: str, **content: Any) -> None:
        self.name, self.body = name, f"content of {name}".encode()
        entry = {"Name": name, "SizeInBytes": len(self.body)}
        data_granule = {
            "DayNightFlag": "Day",
            "ArchiveAndDistributionInformation": [entry],
            **content,
        }
        super().__init__(umm={"GranuleUR": name, "DataGranule": data_granule})

    def data_links(self) -> list[str]:
        return [f"{URL}/{self.name.split('.')[0]}/{self.name}"]

    def size(self) -> float:
        return 100.0


def _name(product: str, minute: int = 0, made: int = 2025183010101) -> str:
    suffix = "nc" if product.startswith("V") else "hdf"
    return f"{product}.A{START + timedelta(minutes=minute):%Y%j.%H%M}.061.{made}.{suffix}"


class Archive:
    """Answers in the place of earthaccess."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.searches: list[dict[str, Any]] = []
        self.downloads: list[list[str]] = []
        self.faults: list[Callable[[Result], bytes]] = []
        self.on_download: Callable[[], None] = lambda: None

    def add(self, *names: str, **content: Any) -> None:
        self.results += [Result(name, **content) for name in names]

    def login(self, strategy: str) -> SimpleNamespace:
        if strategy == "environment":
            raise LoginStrategyUnavailable("no EARTHDATA_TOKEN")
        return SimpleNamespace(authenticated=True)

    def search(self, short_name: str, **criteria: Any) -> list[Result]:
        self.searches.append({"short_name": short_name, **criteria})
        found = [result for result in self.results if result.name.split(".")[0] == short_name]
        if criteria.get("day_night_flag") == "day":
            found = [r for r in found if r["umm"]["DataGranule"]["DayNightFlag"] == "Day"]
        return found[::-1]

    def download(self, links: list[str], folder: Path, **_: Any) -> list[Path]:
        """Like the library it skips names that are there."""
        self.downloads.append([link.rpartition("/")[2] for link in links])
        self.on_download()
        folder.mkdir(parents=True, exist_ok=True)
        fault = self.faults.pop(0) if self.faults else lambda result: result.body
        known = {link: result for result in self.results for link in result.data_links()}
        for link in links:
            path = folder / link.rpartition("/")[2]
            if not path.exists():
                path.write_bytes(fault(known[link]))
        return [folder / link.rpartition("/")[2] for link in links]


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    archive = Archive()
    monkeypatch.setattr(earthaccess, "login", archive.login)
    monkeypatch.setattr(earthaccess, "search_data", archive.search)
    monkeypatch.setattr(earthaccess, "download", archive.download)
    monkeypatch.setattr(attempts, "FIRST_WAIT_SECONDS", 0.0)
    return archive


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., list[Path]]:
    """fetch_nasa of one hour, with changes."""

    def fetch(**changes: Any) -> list[Path]:
        settings = {
            "product": "MOD021KM",
            "start": START,
            "end": START + timedelta(hours=1),
            "box": (-90.0, -30.0, -70.0, 0.0),
            "day_only": True,
            "count": 0,
            "n_parallel": 2,
        }
        return fetch_nasa(tmp_path / "raw", **{**settings, **changes})

    return fetch


def _visible(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(file.name for file in files if not any(part[0] == "." for part in file.parts))


@pytest.mark.parametrize(
    ("product", "places"),
    [
        ("MOD021KM", "MOD03"),
        ("MYD021KM", "MYD03"),
        ("VNP02MOD", "VNP03MOD"),
        ("VJ102MOD", "VJ103MOD"),
        ("VJ202MOD", "VJ203MOD"),
    ],
)
def test_pairs_come_by_time(
    product: str, places: str, archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    names = [_name(kind, minute) for minute in (0, 5, 10) for kind in (product, places)]
    archive.add(*names)
    paths = fetch(product=product)
    assert paths == [tmp_path / "raw" / name.split(".")[0] / name for name in names]
    assert [path.read_text() for path in paths] == [f"content of {name}" for name in names]
    assert _visible(tmp_path) == sorted(names)
    assert not list(tmp_path.rglob(".*"))


def test_the_search_asks_for_time_box_and_day(
    archive: Archive, fetch: Callable[..., list[Path]]
) -> None:
    archive.add(_name("MOD021KM"), _name("MOD03"))
    fetch(start=START.replace(tzinfo=UTC))
    end = START + timedelta(hours=1)
    area = {"temporal": (START, end), "bounding_box": (-90.0, -30.0, -70.0, 0.0)}
    assert archive.searches == [
        {"short_name": "MOD021KM", **area, "day_night_flag": "day"},
        {"short_name": "MOD03", **area},
    ]
    archive.searches.clear()
    fetch(day_only=False)
    assert archive.searches[0] == {"short_name": "MOD021KM", **area}


def test_granules_start_in_the_range(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    for minute in (-5, 0, 55, 60):
        archive.add(_name("MOD021KM", minute), _name("MOD03", minute))
    assert [path.name for path in fetch()[::2]] == [_name("MOD021KM", n) for n in (0, 55)]


def test_an_orphan_is_refused_by_name(
    archive: Archive, fetch: Callable[..., list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    archive.add(_name("MOD021KM", 0), _name("MOD021KM", 5), _name("MOD03", 5), _name("MOD03", 10))
    archive.add(_name("MOD03", 15), DayNightFlag="Night")
    assert [path.name for path in fetch()] == [_name("MOD021KM", 5), _name("MOD03", 5)]
    assert caplog.messages == [
        f"{_name('MOD021KM', 0)} is left out, it has no geolocation",
        f"{_name('MOD03', 10)} is left out, it has no radiances",
    ]
    caplog.clear()
    fetch(day_only=False)
    assert f"{_name('MOD03', 15)} is left out, it has no radiances" in caplog.messages


def test_only_orphans_are_an_error(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    archive.add(_name("MOD021KM", 0), _name("MOD03", 5), _name("MOD03", 10))
    message = r"no pair of MOD021KM and MOD03 .*\(1 and 2 lack the other\); change fetch\.nasa\.pr"
    with pytest.raises(ValueError, match=message):
        fetch()
    assert archive.downloads == []


def test_the_platforms_stay_apart(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    archive.add(_name("MOD021KM"), _name("MYD03"))
    with pytest.raises(ValueError, match="no pair of MOD021KM and MOD03"):
        fetch()


def test_the_newest_processing_counts(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    made = [2025183010101, 2025300000000, 2025200000000]
    archive.add(*[_name("MOD021KM", 0, number) for number in made])
    archive.add(_name("MOD03").replace(".hdf", ".NRT.hdf"))
    paths = fetch()
    assert [path.name for path in paths] == [
        _name("MOD021KM", 0, made[1]),
        _name("MOD03").replace(".hdf", ".NRT.hdf"),
    ]


def test_at_most_so_many_pairs(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    for minute in range(0, 60, 5):
        archive.add(_name("MOD021KM", minute), _name("MOD03", minute))
    assert [path.name for path in fetch(count=2)[::2]] == [_name("MOD021KM", n) for n in (0, 5)]
    assert len(fetch(count=50)) == 24


def test_names_from_outside_stay_inside(
    archive: Archive, fetch: Callable[..., list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    archive.add(_name("MOD021KM"), _name("MOD03"))
    odd = ["MOD021KM..", "MOD021KM.A2025182.1505.061.2025183010101.hdf/..", "MOD021KM.a\\..\\b.hdf"]
    archive.add(*odd)
    assert len(fetch()) == 2
    refused = [line for line in caplog.messages if "is left out, it is not named as" in line]
    assert len(refused) == len(odd)
    assert archive.downloads == [[_name("MOD021KM"), _name("MOD03")]]


def test_a_linked_folder_is_refused(
    archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    archive.add(_name("MOD021KM"), _name("MOD03"))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/MOD03").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"the key 'MOD03/MOD03\..*' is refused, since it leads"):
        fetch()
    assert archive.downloads == []


def test_finished_files_are_not_fetched_again(
    archive: Archive, fetch: Callable[..., list[Path]]
) -> None:
    for minute in (0, 5):
        archive.add(_name("MOD021KM", minute), _name("MOD03", minute))
    paths = fetch()
    archive.downloads.clear()
    assert fetch() == paths
    assert archive.downloads == []
    paths[2].write_bytes(b"cut")
    assert fetch() == paths
    assert archive.downloads == [[paths[2].name]]
    assert paths[2].read_text() == f"content of {paths[2].name}"


def test_cut_files_never_get_their_name(
    archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    names = [_name("MOD021KM"), _name("MOD03")]
    archive.add(*names)
    archive.faults = [
        lambda result: result.body[:-1],
        lambda result: result.body if result.name == names[0] else b"",
    ]
    seen: list[list[str]] = []
    archive.on_download = lambda: seen.append(_visible(tmp_path))
    assert [path.name for path in fetch()] == names
    assert archive.downloads == [names, names, names[1:]]
    assert seen == [[], [], names[:1]]


def test_checksums_are_compared_where_they_are_given(
    archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    names = [_name("VNP02MOD"), _name("VNP03MOD")]
    archive.add(*names)
    for result in archive.results:
        entry = result["umm"]["DataGranule"]["ArchiveAndDistributionInformation"][0]
        digest = hashlib.md5(result.body).hexdigest().upper()
        entry["Checksum"] = {"Algorithm": "MD5", "Value": digest}
    archive.faults = [lambda result: bytes(len(result.body))] * attempts.N_ATTEMPTS
    with pytest.raises(ConnectionError, match=rf"fetch {names[0]}: it came with another size or"):
        fetch(product="VNP02MOD")
    assert _visible(tmp_path) == []
    assert len(archive.downloads) == attempts.N_ATTEMPTS
    assert len(fetch(product="VNP02MOD")) == 2


def test_a_failing_download_is_tried_again(
    archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    def break_off(_: Result) -> bytes:
        raise OSError("connection reset\nby the other side")

    archive.add(_name("MOD021KM"), _name("MOD03"))
    archive.faults = [break_off, break_off]
    assert len(fetch()) == 2
    assert len(archive.downloads) == 3
    shutil.rmtree(tmp_path / "raw")
    archive.faults = [break_off] * 100
    with pytest.raises(ConnectionError, match=r"cannot fetch connection reset; run the stage agai"):
        fetch()


def test_an_interruption_leaves_no_final_name_in_part(
    archive: Archive, fetch: Callable[..., list[Path]], tmp_path: Path
) -> None:
    def interrupt(result: Result) -> bytes:
        (tmp_path / "raw/.partial" / result.name).write_bytes(result.body[:5])
        raise KeyboardInterrupt

    for minute in range(0, 30, 5):
        archive.add(_name("MOD021KM", minute), _name("MOD03", minute))
    last = _name("MOD03", 10)
    archive.faults = [
        lambda result: result.body,
        lambda result: interrupt(result) if result.name == last else result.body,
    ]
    with pytest.raises(KeyboardInterrupt):
        fetch(n_parallel=1)
    assert len(_visible(tmp_path)) == 4
    archive.downloads.clear()
    paths = fetch()
    assert [path.read_text() for path in paths] == [f"content of {path.name}" for path in paths]
    assert len(paths) == 12
    came_before = {_name("MOD021KM", 10)}  # whole, in the batch that was interrupted
    fetched = [name for names in archive.downloads for name in names]
    assert sorted(fetched) == sorted({path.name for path in paths[4:]} - came_before)


def test_a_failure_after_the_last_byte_is_none(
    archive: Archive, fetch: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_the_end(links: list[str], folder: Path, **options: Any) -> list[Path]:
        archive.download(links, folder, **options)
        raise OSError("connection reset")

    archive.add(_name("MOD021KM"), _name("MOD03"))
    monkeypatch.setattr(earthaccess, "download", fail_at_the_end)
    assert len(fetch()) == 2
    assert len(archive.downloads) == 1


def test_unlisted_sizes_are_said_and_estimated(
    archive: Archive, fetch: Callable[..., list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    archive.add(_name("MOD021KM"), ArchiveAndDistributionInformation=[{"Name": "another.hdf"}])
    archive.add(_name("MOD03"), ArchiveAndDistributionInformation=[])
    with caplog.at_level(logging.INFO):
        assert len(fetch()) == 2
    assert "2 files to fetch, 210MB; 0 are there" in caplog.messages
    named = f"2 files have no listed size to check, as {_name('MOD021KM')}"
    assert named in caplog.messages


def test_a_small_disk_is_refused(
    archive: Archive, fetch: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(_name("MOD021KM"), _name("MOD03"))
    n_bytes = sum(len(result.body) for result in archive.results)
    free = targets.RESERVE_BYTES + n_bytes - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    with pytest.raises(ValueError, match=rf"{n_bytes} bytes are to be fetched and"):
        fetch()
    assert archive.downloads == []


def test_faults_of_the_account_are_one_sentence(
    archive: Archive, fetch: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(strategy: str) -> None:
        raise LoginStrategyUnavailable(strategy)

    def rejected(strategy: str) -> None:
        raise LoginAttemptFailure(f"invalid credentials of {strategy}\n{{}}")

    def unaccepted(*_: Any, **__: Any) -> None:
        raise EulaNotAccepted("Eula Acceptance Failure")

    archive.add(_name("MOD021KM"), _name("MOD03"))
    with monkeypatch.context() as patch:
        patch.setattr(earthaccess, "download", unaccepted)
        with pytest.raises(ConnectionError, match=r"wants its terms accepted first \(Eula Accept"):
            fetch()
    monkeypatch.setattr(earthaccess, "login", unavailable)
    with pytest.raises(ValueError, match="no Earthdata account is known; set EARTHDATA_TOKEN, or"):
        fetch()
    monkeypatch.setattr(earthaccess, "login", rejected)
    with pytest.raises(ConnectionError, match=r"environment \(invalid credentials of environ.*\);"):
        fetch()


def test_a_failing_search_is_one_sentence(
    archive: Archive, fetch: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("CMR is down")

    monkeypatch.setattr(earthaccess, "search_data", fail)
    with pytest.raises(ConnectionError, match=r"search for MOD021KM failed \(CMR is down\); run"):
        fetch()
    assert archive.downloads == []


def test_wrong_ranges_name_their_keys(archive: Archive, fetch: Callable[..., list[Path]]) -> None:
    with pytest.raises(ValueError, match=r"is not before .*; change fetch\.nasa\.start or"):
        fetch(end=START)
    for box in ((0.0, 10.0, 20.0, 5.0), (-190.0, 0.0, 0.0, 10.0), (0.0, -91.0, 10.0, 0.0)):
        with pytest.raises(
            ValueError, match=r"is no box of west, south, .*change fetch\.nasa\.box"
        ):
            fetch(box=box)
    assert archive.searches == []
