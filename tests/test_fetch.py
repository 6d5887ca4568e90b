import csv
import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import fetch
from pipeline.core.synthetic import MORPHOLOGIES, UNSEEN
from pipeline.files import manifests, stage, stores

SMALL = {
    "n_days": 2,
    "hours_utc": [15],
    "sectors": [[-20.0, -86.0], [17.0, -48.0], [6.0, -60.0]],
    "n_pixels": 150,
    "label_tile_size": 32,
    "n_labels_per_morphology": 4,
}


@pytest.fixture
def synthetic(params: dict[str, Any]) -> fetch.FetchParams:
    section = params["fetch"]
    small = {**section, "synthetic": {**section["synthetic"], **SMALL}}
    return stage.parse_params("fetch", small, fetch.FetchParams)


@pytest.fixture
def local(params: dict[str, Any]) -> Callable[[str], fetch.FetchParams]:
    def parse(pattern: str) -> fetch.FetchParams:
        section = {**params["fetch"], "source": "local", "local": {"granules": [pattern]}}
        return stage.parse_params("fetch", section, fetch.FetchParams)

    return parse


def _manifest(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "manifest.nc").load()


def test_synthetic_granules_have_truth_and_labels(
    tmp_path: Path, synthetic: fetch.FetchParams
) -> None:
    fetch.run(synthetic, tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json")
    manifest = _manifest(tmp_path / "granules")
    assert manifest.sizes["file"] == 6
    assert set(manifest.platform.values) == {"GOES-16"}
    assert set(manifest.reader.values) == {"abi_l2_nc"}
    hours = manifest.start_time.values.astype("datetime64[h]").astype(str)
    assert set(hours) == {"2020-01-10T15", "2020-02-06T15"}
    for path, granule in zip(manifest.path.values, manifest.granule.values, strict=True):
        file = tmp_path / "granules" / path
        assert file.exists()
        truth = stores.open_product(tmp_path / "granules/truth" / granule).load()
        assert truth.morphology.shape == (150, 150)
        assert truth.morphology.attrs["flag_meanings"].split() == [*MORPHOLOGIES, "off_earth"]
    with (tmp_path / "granules/synthetic_labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert rows
    for row in rows:
        truth = stores.open_product(tmp_path / "granules/truth" / row["granule"])
        top, left = int(row["row"]), int(row["column"])
        tile = truth.morphology.values[top : top + 32, left : left + 32]
        assert (tile == MORPHOLOGIES.index(row["label"])).mean() >= 0.9
    counts = {label: sum(row["label"] == label for row in rows) for label in MORPHOLOGIES}
    assert max(counts.values()) <= 4


def test_one_seed_gives_the_same_granules_whatever_the_workers(
    tmp_path: Path, synthetic: fetch.FetchParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.run(synthetic, tmp_path / "alone", tmp_path / "archive", tmp_path / "a.json")
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    fetch.run(synthetic, tmp_path / "together", tmp_path / "archive", tmp_path / "b.json")
    alone, together = _manifest(tmp_path / "alone"), _manifest(tmp_path / "together")
    xr.testing.assert_identical(alone, together)
    labels = [
        (tmp_path / name / "synthetic_labels.csv").read_text() for name in ("alone", "together")
    ]
    assert labels[0] == labels[1]


def test_local_granules_stay_where_they_are(
    tmp_path: Path, granule_folder: Path, local: Callable[[str], fetch.FetchParams]
) -> None:
    fetch.run(
        local(str(granule_folder)),
        tmp_path / "granules",
        tmp_path / "archive",
        tmp_path / "checksums.json",
    )
    assert [path.name for path in (tmp_path / "granules").iterdir()] == ["manifest.nc"]
    manifest = _manifest(tmp_path / "granules")
    assert list(manifest.granule.values[:2]) == ["scene_0_13.tif", "scene_0_17.tif"]
    assert (np.diff(manifest.start_time.values) > np.timedelta64(0)).all()
    for path, size, digest in zip(
        manifest.path.values, manifest["size"].values, manifest.sha256.values, strict=True
    ):
        assert Path(path).stat().st_size == size
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    assert manifest["size"].attrs["units"] == "byte"


def test_a_glob_picks_granules(
    tmp_path: Path, granule_folder: Path, local: Callable[[str], fetch.FetchParams]
) -> None:
    pattern = f"{granule_folder}/scene_?_13.tif"
    fetch.run(
        local(pattern), tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json"
    )
    assert _manifest(tmp_path / "granules").sizes["file"] == 5


def test_a_granule_is_hashed_once(
    tmp_path: Path,
    granule_folder: Path,
    local: Callable[[str], fetch.FetchParams],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch.run(
        local(str(granule_folder)),
        tmp_path / "first",
        tmp_path / "archive",
        tmp_path / "checksums.json",
    )

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} is hashed again")

    monkeypatch.setattr(manifests, "sha256", refuse)
    fetch.run(
        local(str(granule_folder)),
        tmp_path / "second",
        tmp_path / "archive",
        tmp_path / "checksums.json",
    )
    xr.testing.assert_identical(_manifest(tmp_path / "first"), _manifest(tmp_path / "second"))
    stamps = json.loads((tmp_path / "checksums.json").read_text())
    next(iter(stamps.values()))["stamp"][0] += 1  # as if the file had another size
    (tmp_path / "checksums.json").write_text(json.dumps(stamps))
    with pytest.raises(AssertionError, match="is hashed again"):
        fetch.run(
            local(str(granule_folder)),
            tmp_path / "third",
            tmp_path / "archive",
            tmp_path / "checksums.json",
        )


def test_a_file_of_many_times_is_hashed_once(
    tmp_path: Path, local: Callable[[str], fetch.FetchParams], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.datetime64("2020-06-01", "ns") + np.arange(5) * np.timedelta64(1, "h")
    fields = {"clt": (("time", "row", "column"), np.zeros((5, 2, 2)))}
    xr.Dataset(fields, {"time": times}).to_netcdf(tmp_path / "model.nc")
    hashed = []

    def count(path: Path) -> str:
        hashed.append(path)
        return "0" * 64

    monkeypatch.setattr(manifests, "sha256", count)
    source = local(str(tmp_path / "model.nc"))
    fetch.run(source, tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json")
    manifest = _manifest(tmp_path / "granules")
    assert list(manifest.step.values) == [0, 1, 2, 3, 4]
    assert set(manifest.sha256.values) == {"0" * 64}
    assert hashed == [tmp_path / "model.nc"]


def test_granules_are_found_through_links_to_folders(
    tmp_path: Path, write_geotiff: Callable[..., Path], local: Callable[[str], fetch.FetchParams]
) -> None:
    for folder in ("raw/2020", "elsewhere/2021/06"):
        write_geotiff(tmp_path / folder / f"{folder[-2:]}.tif", {"visible": np.ones((4, 4))})
    (tmp_path / "raw/2021").symlink_to(tmp_path / "elsewhere/2021")
    (tmp_path / "raw/2020/again").symlink_to(tmp_path / "raw")  # without end
    (tmp_path / "elsewhere/2021/06/loop").symlink_to("..")
    source = local(str(tmp_path / "raw"))
    fetch.run(source, tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json")
    manifest = _manifest(tmp_path / "granules")
    assert sorted(manifest.granule.values) == ["06.tif", "20.tif"]


def test_names_that_are_no_text_are_left_out_and_said_so(
    tmp_path: Path,
    write_geotiff: Callable[..., Path],
    local: Callable[[str], fetch.FetchParams],
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = write_geotiff(tmp_path / "raw/good.tif", {"visible": np.ones((4, 4))})
    bad = tmp_path / os.fsdecode(b"raw/caf\xe9.tif")
    bad.write_bytes(good.read_bytes())
    source = local(str(tmp_path / "raw"))
    fetch.run(source, tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json")
    manifest = _manifest(tmp_path / "granules")
    assert list(manifest.granule.values) == ["good.tif"]
    assert manifest.attrs["n_other_files"] == 1
    assert "no UTF-8 are left out: 1, the first of them 'caf\\udce9.tif'; rename" in caplog.text


def test_empty_and_missing_folders_are_named(
    tmp_path: Path, local: Callable[[str], fetch.FetchParams]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' is an empty folder; .*fetch\.local\.granules"):
        fetch.run(
            local(str(tmp_path / "empty")),
            tmp_path / "g",
            tmp_path / "archive",
            tmp_path / "c.json",
        )
    with pytest.raises(ValueError, match=r"gone' is a pattern without a file; change fetch\.loc"):
        fetch.run(
            local(str(tmp_path / "gone")), tmp_path / "h", tmp_path / "archive", tmp_path / "c.json"
        )
    (tmp_path / "empty/notes.txt").write_text("no granule")
    with pytest.raises(
        ValueError,
        match=r"no granule of a known format among 1 files, the first of them 'notes\.txt'; "
        r"unpack what is packed, or change fetch\.local",
    ):
        fetch.run(
            local(str(tmp_path / "empty")),
            tmp_path / "i",
            tmp_path / "archive",
            tmp_path / "c.json",
        )


@pytest.mark.parametrize(("last", "n_parts"), [(10, 0), (9, 1)])
def test_parts_of_disks_are_said(
    last: int,
    n_parts: int,
    tmp_path: Path,
    local: Callable[[str], fetch.FetchParams],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = "HS_H08_20250101_0000_B13_FLDK_R20_S0110.DAT"
    for number in range(1, last + 1):
        (tmp_path / first.replace("S01", f"S{number:02d}")).write_bytes(b"segment")
    with caplog.at_level(logging.INFO):
        fetch.run(
            local(str(tmp_path / "HS*")),
            tmp_path / "granules",
            tmp_path / "archive",
            tmp_path / "sums.json",
        )
    assert caplog.text.count(f"1 granules hold a part of their disk, {first} the") == n_parts


def test_granules_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, write_geotiff: Callable[..., Path], local: Callable[[str], fetch.FetchParams]
) -> None:
    for folder in ("2020/a", "2020/b", "2021"):
        write_geotiff(tmp_path / "raw" / folder / "one.tif", {"visible": np.ones((3, 3))})
    write_geotiff(tmp_path / "raw/2021/two.tif", {"visible": np.ones((3, 3))})
    (tmp_path / "raw/2022").mkdir()
    (tmp_path / "raw/2022/one.tif").symlink_to("gone.tif")
    (tmp_path / "raw/.partial").mkdir()
    (tmp_path / "raw/.partial/three.tif").write_bytes(b"half of it")
    fetch.run(
        local(str(tmp_path / "raw")), tmp_path / "g", tmp_path / "archive", tmp_path / "c.json"
    )
    names = stores.open_product(tmp_path / "g/manifest.nc").granule.values
    expected = ["2020/a/one.tif", "2020/b/one.tif", "2021/one.tif", "2022/one.tif", "two.tif"]
    assert sorted(names) == expected


def test_new_days_change_nothing_else(tmp_path: Path, synthetic: fetch.FetchParams) -> None:
    without = replace(synthetic, synthetic=replace(synthetic.synthetic, n_new_days=0))
    for name, params in (("with", synthetic), ("without", without)):
        fetch.run(params, tmp_path / name, tmp_path / "archive", tmp_path / "checksums.json")
    for folder in ("synthetic", "."):
        for path in (tmp_path / "without" / folder).glob("*.[nc][cs]*"):
            if path.name != "manifest.nc":  # its attributes hold the parameters
                assert path.read_bytes() == (tmp_path / "with" / folder / path.name).read_bytes()
    xr.testing.assert_equal(_manifest(tmp_path / "with"), _manifest(tmp_path / "without"))
    new = sorted((tmp_path / "with/synthetic_new").iterdir())
    assert len(new) == 3
    assert not (tmp_path / "without/new").exists()
    for path in new:
        truth = stores.open_product(tmp_path / "with/truth" / path.name)
        assert truth.morphology.attrs["flag_meanings"].split()[-2:] == [UNSEEN, "off_earth"]
        assert (truth.morphology == len(MORPHOLOGIES)).any()
