import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from instruments.abi_l1b import write_abi_l1b
from instruments.finding import find_granules
from instruments.swath import swath_places
from pyproj import Geod
from satpy.dataset import DataQuery
from satpy.scene import Scene

from pipeline.core.scene import (
    ANGLES,
    MAX_SOLAR_ZENITH_OF_REFLECTANCE,
    PLANE,
    at_pixels,
    corrected_for_sun,
    hidden_pixels,
    scene_angles,
)
from pipeline.core.swath import on_equal_area_grid
from pipeline.core.viewing import (
    LATTICE_STEP,
    geostationary_view,
    glint_angle,
    relative_azimuth,
    solar_angles,
)
from pipeline.files.granules import NetcdfConventions, read_granule
from pipeline.files.mcmip import SATELLITE_HEIGHT_M, SUBPOINT_LONGITUDE, sector_grid

REAL = Path(__file__).parents[2] / "shared" / "data" / "abi"
HRIT = REAL.with_name("seviri_hrit")
GEOD = Geod(ellps="WGS84")
SATELLITE = {
    "satellite_longitude": SUBPOINT_LONGITUDE,
    "satellite_latitude": 0.0,
    "satellite_height": SATELLITE_HEIGHT_M,
}
NO_NETCDF = NetcdfConventions({}, "", "", "", "")


def _sector(
    latitude: float, longitude: float, *, time: str = "2025-03-20T15:00", n_pixels: int = 500
) -> xr.Dataset:
    """Places of a mesoscale sector of GOES-East, as a granule without bands."""
    grid = sector_grid(latitude=latitude, longitude=longitude, n_pixels=n_pixels)
    return xr.Dataset(
        {"latitude": (PLANE, grid.latitude), "longitude": (PLANE, grid.longitude)},
        attrs={"time": np.datetime64(time, "ns"), **SATELLITE},
    )


def _sun(granule: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    places = granule.latitude.values, granule.longitude.values
    return solar_angles(granule.attrs["time"], *places)


def _view(granule: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return geostationary_view(
        granule.latitude.values,
        granule.longitude.values,
        satellite_latitude=0.0,
        satellite_longitude=SUBPOINT_LONGITUDE,
        satellite_height_m=SATELLITE_HEIGHT_M,
    )


# --- angles ---


def test_angles_are_those_of_every_eighth_pixel() -> None:
    granule = _sector(17, -48, n_pixels=100)
    sun, view = _sun(granule), _view(granule)
    expected = [sun[0], view[0], glint_angle(*sun, *view), relative_azimuth(sun[1], view[1])]
    found = scene_angles(granule).stacked()
    assert found.shape == (4, 13, 13)
    assert found.dtype == np.float32
    for name, lattice, angles in zip(ANGLES, found, expected, strict=True):
        thin = angles[::LATTICE_STEP, ::LATTICE_STEP]
        np.testing.assert_allclose(lattice, thin, atol=1e-4, err_msg=name)


def test_angles_of_the_files_go_first() -> None:
    granule = _sector(17, -48, n_pixels=20)
    rng = np.random.default_rng(0)
    own = {
        "solar_zenith_angle": rng.uniform(0, 80, (20, 20)),
        "solar_azimuth_angle": rng.uniform(-180, 180, (20, 20)),
        "satellite_zenith_angle": rng.uniform(0, 70, (20, 20)),
        "satellite_azimuth_angle": rng.uniform(-180, 180, (20, 20)),
    }
    angles = scene_angles(granule.assign({name: (PLANE, each) for name, each in own.items()}))
    thin = [each[::8, ::8] for each in own.values()]
    np.testing.assert_array_equal(angles.solar_zenith_angle, thin[0])
    np.testing.assert_array_equal(angles.view_zenith_angle, thin[2])
    np.testing.assert_array_equal(angles.glint_angle, glint_angle(*thin))
    np.testing.assert_array_equal(angles.relative_azimuth, relative_azimuth(thin[1], thin[3]))


def test_a_view_that_nothing_tells_is_missing() -> None:
    granule = _sector(17, -48, n_pixels=20)
    granule.attrs = {"time": granule.attrs["time"]}
    angles = scene_angles(granule)
    assert np.isfinite(angles.solar_zenith_angle).all()
    for name in ("view_zenith_angle", "glint_angle", "relative_azimuth"):
        assert np.isnan(getattr(angles, name)).all()
        assert np.isnan(at_pixels(getattr(angles, name), (20, 20))).all()


def test_sun_is_overhead_at_noon_on_the_equator_at_the_equinox() -> None:
    places = {name: (PLANE, np.zeros((1, 1))) for name in ("latitude", "longitude")}
    granule = xr.Dataset(places, attrs={"time": np.datetime64("2025-03-20T12:07", "ns")})
    assert scene_angles(granule).solar_zenith_angle.item() == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(
    ("latitude", "longitude", "time"),
    [(17, -48, "2025-03-20T15:00"), (-20, -86, "2025-06-21T22:00"), (45, -100, "2025-12-21T14:00")],
)
def test_angles_between_the_points_of_the_lattice(
    latitude: float, longitude: float, time: str
) -> None:
    """Off by 0.003 degrees; past the last point of the lattice by what 14 km make."""
    granule = _sector(latitude, longitude, time=time, n_pixels=496)
    angles = scene_angles(granule)
    for lattice, exact in (
        (angles.solar_zenith_angle, _sun(granule)[0]),
        (angles.view_zenith_angle, _view(granule)[0]),
    ):
        error = np.abs(at_pixels(lattice, exact.shape) - exact)
        assert error[:-7, :-7].max() < 0.003
        assert error.max() < 0.35


def test_pixels_at_the_limb_have_angles() -> None:
    """Where a point of the lattice is off the Earth its neighbour stands for it."""
    granule = _sector(70, -75)
    angles = scene_angles(granule)
    on_earth = np.isfinite(granule.latitude.values)
    assert 0.5 < on_earth.mean() < 0.7
    view = _view(granule)[0]
    found = at_pixels(angles.view_zenith_angle, view.shape)
    assert np.isfinite(found).all()
    assert np.abs(found - view)[on_earth & (view < 75)].max() < 0.2
    assert found[on_earth & (view > 85)].min() > 85
    sun = at_pixels(angles.solar_zenith_angle, view.shape)
    assert np.abs(sun - _sun(granule)[0])[on_earth & (view < 75)].max() < 0.15


@given(st.integers(1, 40), st.integers(1, 40), st.floats(-2, 2), st.floats(-2, 2))
def test_a_plane_is_interpolated_exactly(n_rows: int, n_columns: int, a: float, b: float) -> None:
    row, column = np.mgrid[:n_rows, :n_columns].astype(float)
    plane = 40 + a * np.minimum(row, (n_rows - 1) // 8 * 8)
    plane += b * np.minimum(column, (n_columns - 1) // 8 * 8)
    found = at_pixels(plane[::8, ::8], (n_rows, n_columns))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plane, atol=1e-4)


# --- the sun's correction ---


def _satpy_reflectance(files: list[Path], reader: str, band: str) -> np.ndarray:
    """The band as satpy's modifier `sunz_corrected` leaves it."""
    query = DataQuery(name=band, modifiers=("sunz_corrected",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = Scene(filenames=[str(file) for file in files], reader=reader)
        scene.load([query])
        values: np.ndarray = scene[query].values
    return values


@pytest.mark.parametrize("hour", [11, 17, 21])
def test_reflectances_are_those_of_satpys_own_correction(hour: int, tmp_path: Path) -> None:
    """Within 1e-5, and past the last point of the lattice within 1 %, below 80 degrees."""
    values = np.random.default_rng(0).uniform(0.1, 0.6, (400, 400))
    start = datetime(2025, 3, 20, hour)
    files = write_abi_l1b(
        tmp_path, latitude=15, longitude=-55, bands={"C06": values}, start_time=start
    )
    granule = read_granule(files, "abi_l1b", {"band": ["C06"]}, netcdf=NO_NETCDF)
    granule = granule.drop_vars("scan_seconds")  # satpy takes the start for all rows
    sun = at_pixels(scene_angles(granule).solar_zenith_angle, values.shape)
    found = corrected_for_sun(granule, sun).band.values
    error = np.abs(found / _satpy_reflectance(files, "abi_l1b", "C06") - 1)
    high = sun < 80
    assert high.sum() > 10_000
    assert error[:-7, :-7][high[:-7, :-7]].max() < 2e-5
    assert error[high].max() < 0.01


def test_the_sun_moves_on_while_a_disk_is_scanned() -> None:
    """15 minutes are 3.75 degrees of the sun's way, 7 % of a reflectance where it stands low."""
    shape = (240, 240)
    latitude, longitude = np.mgrid[60:-60:240j, -60:60:240j].astype(np.float32)
    start = np.datetime64("2025-03-20T09:00", "ns")
    seconds = np.broadcast_to(np.linspace(0, 900, 240, dtype=np.float32)[:, None], shape)
    granule = xr.Dataset(
        {
            "latitude": (PLANE, latitude),
            "longitude": (PLANE, longitude),
            "scan_seconds": (PLANE, seconds),
        },
        attrs={"time": start},
    )
    found = scene_angles(granule).solar_zenith_angle
    for row in (0, 120, 232):
        time = start + np.timedelta64(int(1e9 * seconds[row, 0]), "ns")
        expected, _ = solar_angles(time, latitude[row, ::8], longitude[row, ::8])
        np.testing.assert_allclose(found[row // 8], expected, atol=1e-3)
    middle = granule.drop_vars("scan_seconds").assign_attrs(time=start + np.timedelta64(450, "s"))
    apart = scene_angles(middle).solar_zenith_angle - found
    assert 0.9 < np.abs(apart[0]).max() < 1.9
    assert np.abs(apart[15]).max() < 0.2
    gridded = on_equal_area_grid(granule, resolution_km=100.0, radius_km=80.0)
    thin = gridded.isel(row=slice(None, None, 8), column=slice(None, None, 8))
    elapsed = (60 - thin.latitude.values.astype(float)) / 120 * 900
    times = start + (1e9 * np.nan_to_num(elapsed)).astype("m8[ns]")
    expected, _ = solar_angles(times, thin.latitude.values, thin.longitude.values)
    np.testing.assert_allclose(scene_angles(gridded).solar_zenith_angle, expected, atol=0.03)


@pytest.mark.skipif(not HRIT.exists(), reason=f"the real segment in {HRIT} is not here")
def test_a_real_segment_is_scanned_from_south_to_north_when_its_file_says() -> None:
    """Segment 4 of 8, half-way through 12.5 minutes after 00:15:11."""
    [found], _ = find_granules(HRIT.iterdir())
    granule = read_granule(found.files, found.reader, {"window": ["IR_108"]}, netcdf=NO_NETCDF)
    seconds = granule.scan_seconds.values[:, 0]
    assert (np.diff(seconds) <= 0).all()  # north is up
    assert seconds[-1] == pytest.approx(293.759, abs=0.01)
    assert seconds[0] == pytest.approx(386.522, abs=0.01)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real granules in {REAL} are not here")
@pytest.mark.parametrize(("pattern", "blue"), [("*L1b*", 31.666), ("*L2*", 32.521)])
def test_real_reflectances_are_those_of_satpys_own_correction(pattern: str, blue: float) -> None:
    [found], _ = find_granules(REAL.glob(pattern))
    granule = read_granule(found.files, found.reader, {"blue": ["C01"]}, netcdf=NO_NETCDF)
    sun = at_pixels(scene_angles(granule).solar_zenith_angle, granule.blue.shape)
    corrected = corrected_for_sun(granule, sun).blue.values
    assert float(np.nanmean(corrected)) == pytest.approx(blue, abs=0.01)
    expected = _satpy_reflectance(list(found.files), found.reader, "C01")
    np.testing.assert_allclose(corrected, expected, rtol=1e-3)


def test_only_reflectances_that_are_not_corrected_are_divided() -> None:
    sun = np.array([[0.0, 60.0, 88.0, 88.1, 120.0, np.nan]])
    ten = np.full(sun.shape, 10.0)
    bands = {
        "raw": (PLANE, ten, {"units": "percent", "sun_corrected": False}),
        "corrected": (PLANE, ten, {"units": "percent", "sun_corrected": True}),
        "thermal": (PLANE, ten, {"units": "K", "sun_corrected": False}),
        "latitude": (PLANE, ten),
    }
    found = corrected_for_sun(xr.Dataset(bands), sun)
    lowest = np.cos(np.radians(MAX_SOLAR_ZENITH_OF_REFLECTANCE))
    np.testing.assert_allclose(found.raw[0], [10, 20, 10 / lowest, np.nan, np.nan, np.nan])
    assert found.raw.attrs == bands["raw"][2]
    for name in ("corrected", "thermal", "latitude"):
        np.testing.assert_array_equal(found[name], ten)


# --- what hides the picture ---


def test_the_first_reason_takes_a_pixel_away() -> None:
    nan = np.nan
    angles = {
        "solar_zenith_angle": np.array([[80.0, 80.0, 10.0, 10.0, 10.0, 10.0, 75.0, nan]]),
        "view_zenith_angle": np.array([[80.0, 80.0, 80.0, 10.0, 10.0, 10.0, 70.0, nan]]),
        "glint_angle": np.array([[5.0, 5.0, 5.0, 5.0, 50.0, 50.0, 20.0, nan]]),
    }
    measured = np.array([[False, False, False, False, False, False, True, True]])
    striped = np.array([[True, True, True, True, True, False, True, True]])
    on_earth = np.array([[False, True, True, True, True, True, True, True]])
    hidden = hidden_pixels(
        measured,
        striped,
        on_earth,
        angles,
        max_solar_zenith=75,
        max_view_zenith=70,
        min_glint_angle=20,
    )
    reasons = ["off the Earth", "night", "view zenith", "glint", "stripes", "missing"]
    assert list(hidden) == reasons
    for column, reason in enumerate(reasons):
        np.testing.assert_array_equal(np.flatnonzero(hidden[reason]), [column])


def test_there_is_no_glint_at_night() -> None:
    angles = {
        "solar_zenith_angle": np.array([[89.0, 91.0]]),
        "view_zenith_angle": np.array([[60.0, 60.0]]),
        "glint_angle": np.array([[29.0, 31.0]]),
    }
    everywhere = np.ones((1, 2), bool)
    limits: dict[str, float] = {"max_view_zenith": 180, "min_glint_angle": 35}
    hidden = hidden_pixels(
        everywhere, ~everywhere, everywhere, angles, max_solar_zenith=180, **limits
    )
    np.testing.assert_array_equal(hidden["glint"], [[True, False]])


BOOLS = arrays(bool, (4, 5))
DEGREES = arrays(float, (4, 5), elements=st.floats(0, 180) | st.just(float("nan")))


@given(BOOLS, BOOLS, BOOLS, DEGREES, DEGREES, DEGREES)
def test_no_pixel_is_hidden_twice(
    measured: np.ndarray,
    striped: np.ndarray,
    on_earth: np.ndarray,
    sun: np.ndarray,
    view: np.ndarray,
    glint: np.ndarray,
) -> None:
    angles = {"solar_zenith_angle": sun, "view_zenith_angle": view, "glint_angle": glint}
    limits: dict[str, Any] = {"max_view_zenith": 70, "min_glint_angle": 10}
    hidden = hidden_pixels(measured, striped, on_earth, angles, max_solar_zenith=75, **limits)
    times = np.sum(list(hidden.values()), axis=0)
    assert times.max(initial=0) <= 1
    visible = measured & on_earth & ~(sun > 75) & ~(view > 70) & ~(glint < 10)
    np.testing.assert_array_equal(times == 0, visible)


# --- the equal-area grid ---

RESOLUTION_KM, TILE_SIZE = 2.0, 32


def _swath(latitude: float, longitude: float, *, pixel_km: float, n_pixels: int) -> xr.Dataset:
    places = swath_places(
        latitude=latitude,
        longitude=longitude,
        n_rows=n_pixels,
        n_columns=n_pixels,
        resolution_km=pixel_km,
    )
    return xr.Dataset(
        {
            "latitude": (PLANE, places[0].astype(np.float32)),
            "longitude": (PLANE, places[1].astype(np.float32)),
            "solar_zenith_angle": (PLANE, places[0].astype(np.float32)),
            "band": (PLANE, places[0].astype(np.float32), {"units": "percent"}),
        },
        attrs={"platform": "P"},
    )


def _tile_corners(scene: xr.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """Latitudes and longitudes of the corner pixels of every tile that is seen as a whole."""
    seen = np.isfinite(scene.latitude.values)
    last = TILE_SIZE - 1
    corners = []
    for row in range(0, seen.shape[0] - last, TILE_SIZE):
        for column in range(0, seen.shape[1] - last, TILE_SIZE):
            if seen[row : row + TILE_SIZE, column : column + TILE_SIZE].all():
                rows, columns = row + last * np.array([0, 0, 1, 1]), [0, 1, 1, 0]
                columns = column + last * np.array(columns)
                corners.append(
                    (scene.latitude.values[rows, columns], scene.longitude.values[rows, columns])
                )
    return corners


@pytest.mark.parametrize(
    "granule",
    [
        pytest.param(_sector(38, -118, n_pixels=300), id="ABI"),
        pytest.param(_swath(-17, 180, pixel_km=0.75, n_pixels=600), id="VIIRS, date line"),
        pytest.param(_swath(89.9, 40, pixel_km=0.75, n_pixels=600), id="VIIRS, pole"),
        pytest.param(_swath(45, 10, pixel_km=1.0, n_pixels=450), id="MODIS"),
    ],
)
def test_tiles_of_every_instrument_have_one_size(granule: xr.Dataset) -> None:
    """Area within 0.1 %, edges within 0.5 % of 62 km, where the projection stretches them."""
    scene = on_equal_area_grid(granule, resolution_km=RESOLUTION_KM, radius_km=3.0)
    corners = _tile_corners(scene)
    assert len(corners) > 20
    edge_km = (TILE_SIZE - 1) * RESOLUTION_KM
    for latitudes, longitudes in corners:
        area, _ = GEOD.polygon_area_perimeter(longitudes, latitudes)
        assert abs(area) / 1e6 == pytest.approx(edge_km**2, rel=1e-3)
        *_, metres = GEOD.inv(
            longitudes, latitudes, np.roll(longitudes, -1), np.roll(latitudes, -1)
        )
        np.testing.assert_allclose(metres / 1000, edge_km, rtol=5e-3)


@pytest.mark.parametrize(("latitude", "longitude"), [(-17, 180), (89.9, 40), (-89.9, 0)])
def test_pixels_of_the_grid_are_measured_near_by(latitude: float, longitude: float) -> None:
    granule = _swath(latitude, longitude, pixel_km=0.75, n_pixels=200)
    granule["band"][50:60, 50:60] = np.nan
    granule["latitude"][100:120] = np.nan
    scene = on_equal_area_grid(granule, resolution_km=RESOLUTION_KM, radius_km=1.5)
    seen = np.isfinite(scene.latitude.values)
    assert 0.65 < seen.mean() < 0.75  # of a square that the swath crosses askew, with a gap
    np.testing.assert_array_equal(seen, np.isfinite(scene.longitude.values))
    np.testing.assert_array_equal(seen, np.isfinite(scene.solar_zenith_angle.values))
    measured = np.isfinite(scene.band.values)
    assert 0 < (seen & ~measured).sum() < 40
    degrees = np.abs(scene.band.values - scene.latitude.values)[measured]
    assert degrees.max() < 1.52 / 111
    assert np.median(degrees) < 0.3 / 111
    assert scene.band.attrs == {"units": "percent"}
    assert scene.attrs == {"platform": "P"}
    assert {variable.dtype for variable in scene.values()} == {np.dtype(np.float32)}


def test_deleted_rows_are_filled_from_other_scans() -> None:
    """VIIRS deletes rows that overlap with those of the next scan, but tells their places."""
    granule = _swath(10, 20, pixel_km=0.75, n_pixels=160)
    whole = on_equal_area_grid(granule, resolution_km=1.0, radius_km=1.5)
    granule["band"][15::16] = np.nan
    granule["band"][16::16] = np.nan
    scene = on_equal_area_grid(granule, resolution_km=1.0, radius_km=1.5)
    seen = np.isfinite(whole.band.values)
    np.testing.assert_array_equal(np.isfinite(scene.latitude.values), seen)
    assert np.isfinite(scene.band.values)[seen].mean() > 0.99
    assert np.nanmax(np.abs(scene.band.values - whole.band.values)) < 1.5 / 111
