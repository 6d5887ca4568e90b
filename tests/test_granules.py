from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.files.granules import UnusableGranuleError, find_granules, read_granule

REAL = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not REAL.exists(), reason=f"the real granules in {REAL} are not here"
)
BANDS = {"visible": ["C03", "visible"], "blue": ["C01"], "infrared_window": ["infrared_10_7um"]}


def test_geotiff_is_scaled_placed_and_masked(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    visible = np.array([[12.34, 50.0], [np.nan, 100.0]])
    path = write_geotiff(tmp_path / "a.tif", {"visible": visible}, west=179.99, north=10.0)
    granule = read_granule([path], "geotiff", BANDS)
    np.testing.assert_allclose(granule.visible, visible, atol=1e-4)
    np.testing.assert_allclose(granule.latitude[:, 0], [9.99, 9.97], atol=1e-5)
    np.testing.assert_allclose(granule.longitude[0], [-180, -179.98], atol=1e-4)
    assert granule.visible.attrs["units"] == "percent"
    assert granule.attrs["platform"] == "GOES-13"
    assert granule.attrs["time"] == np.datetime64("2020-01-10T15:00:00")
    assert "infrared_window" not in granule


def test_sun_is_overhead_at_noon_on_the_equator_at_the_equinox(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    path = write_geotiff(
        tmp_path / "a.tif",
        {"visible": np.ones((1, 1))},
        start_time="2020-03-20T12:07:00Z",
        west=0.0,
        north=0.0,
    )
    granule = read_granule([path], "geotiff", BANDS)
    assert float(granule.solar_zenith_angle.item()) == pytest.approx(0, abs=0.6)


def test_a_date_is_completed_by_the_local_overpass_time(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    path = write_geotiff(
        tmp_path / "a.tif",
        {"visible": np.ones((10, 10))},
        start_time="2008-11-01",
        west=-120.1,
        local_overpass_time="13:30",
    )
    [granule], _ = find_granules([path])
    assert granule.start_time == datetime(2008, 11, 1, 21, 30)


def test_files_of_no_known_format_are_told_apart(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("granule\n")
    tif = write_geotiff(tmp_path / "a.tif", {"visible": np.ones((2, 2))})
    granules, others = find_granules([table, tif])
    assert [granule.name for granule in granules] == ["a.tif"]
    assert others == [table]


def test_bands_of_one_scan_are_one_granule() -> None:
    name = "OR_ABI-L1b-RadM1-M3C{}_G16_s20171931811268_e20171931811326_c2017193181137{}.nc"
    files = [Path("a") / name.format("01", 0), Path("a") / name.format("03", 1)]
    again = Path("b") / name.format("01", 2)
    granules, _ = find_granules([*files, again])
    assert [granule.files for granule in granules] == [tuple(files), (again,)]
    assert granules[0].platform == "GOES-16"
    assert granules[0].start_time == datetime(2017, 7, 12, 18, 11, 26, 800000)
    assert granules[0].reader == "abi_l1b"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"not an image", "unreadable"), (b"II*\x00\x08\x00", "truncated")]
)
def test_damaged_files_have_their_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(UnusableGranuleError, match=r"not recognized|a\.tif") as raised:
        read_granule([path], "geotiff", BANDS)
    assert raised.value.reason == reason
    [granule], _ = find_granules([path])
    assert granule.start_time is None


def test_a_granule_without_a_time_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=2,
        width=2,
        count=1,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.transform.from_origin(5, 5, 1, 1),
    ) as file:
        file.write(np.full((2, 2), 255, np.uint8), 1)
        file.set_band_description(1, "visible")
    with pytest.raises(UnusableGranuleError, match="it has no tag start_time"):
        read_granule([path], "geotiff", BANDS)


@needs_real_data
@pytest.mark.parametrize(
    ("pattern", "reader", "blue"), [("*L1b*", "abi_l1b", 31.666), ("*L2*", "abi_l2_nc", 32.521)]
)
def test_real_abi_files(pattern: str, reader: str, blue: float) -> None:
    [granule], others = find_granules((REAL / "abi").glob(pattern))
    assert granule.reader == reader
    assert len(granule.files) == 2
    assert others == []
    scene = read_granule(granule.files, granule.reader, BANDS)
    assert scene.visible.shape == (1000, 1000)
    assert scene.visible.attrs["units"] == "percent"
    assert float(scene.blue.mean()) == pytest.approx(blue, abs=0.01)
    assert float(scene.latitude.mean()) == pytest.approx(40.18, abs=0.01)
    assert float(scene.longitude.mean()) == pytest.approx(-101.34, abs=0.01)
    assert float(scene.solar_zenith_angle.min()) == pytest.approx(11.93, abs=0.02)


@needs_real_data
def test_real_abi_levels_agree() -> None:
    granules, _ = find_granules((REAL / "abi").iterdir())
    first, second = (read_granule(granule.files, granule.reader, BANDS) for granule in granules)
    # The two products use slightly different solar constants and packing.
    np.testing.assert_allclose(first.visible.values.mean(), second.visible.values.mean(), rtol=0.03)
    correlation = np.corrcoef(first.visible.values.ravel(), second.visible.values.ravel())[0, 1]
    assert correlation > 0.999


@needs_real_data
def test_real_geotiffs() -> None:
    granules, others = find_granules(
        path for folder in ("goes13", "modis_true_colour") for path in (REAL / folder).iterdir()
    )
    assert [path.name for path in others] == ["labels_128px.csv"]
    assert len(granules) == 55 + 502
    assert {granule.platform for granule in granules} == {"GOES-13", "Terra", "Aqua"}
    goes = next(granule for granule in granules if granule.platform == "GOES-13")
    scene = read_granule(goes.files, "geotiff", BANDS)
    assert scene.visible.shape == (461, 720)
    assert scene.attrs["time"] == np.datetime64("2017-09-06T13:45")
    assert 185 < scene.infrared_window.min() < scene.infrared_window.max() < 310
    modis = read_granule(granules[0].files, "geotiff", {"red": ["red"]})
    assert modis.red.shape == (427, 640)
    assert 0 <= float(modis.red.min()) < float(modis.red.max()) <= 100
