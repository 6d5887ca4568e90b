import numpy as np
import pytest
import xarray as xr
from pyproj import Geod, Proj
from scipy.spatial import cKDTree

from pipeline.core import planck, swath
from pipeline.core.sphere import EARTH_RADIUS_KM
from pipeline.core.swath import cell_means, local_grid, nearest_pixels, on_equal_area_grid, take

GEOD = Geod(ellps="WGS84")
CENTRES = {
    "tropics": (12.0, -60.0),
    "date line": (-17.0, 179.9),
    "north pole": (89.0, 30.0),
    "south pole": (-89.5, -120.0),
}


def fly(
    latitude: float, longitude: float, *, rows: int = 60, columns: int = 80, heading: float = 15.0
) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude of pixels 1 km along and 1 to 3 km across a track."""
    along = 1000 * (np.arange(rows) - rows / 2)
    side = (np.arange(columns) - columns / 2) / (columns / 2)
    across = 1000 * columns / 2 * (side + side**3 / 3)
    start = [np.full(rows, angle) for angle in (longitude, latitude, heading)]
    track_longitude, track_latitude, back = GEOD.fwd(*start, along)
    shape = (rows, columns)
    places = [
        np.broadcast_to(column[:, None], shape).ravel()
        for column in (track_longitude, track_latitude, back + 90)
    ]
    found_longitude, found_latitude, _ = GEOD.fwd(*places, np.broadcast_to(across, shape).ravel())
    return found_latitude.reshape(shape), found_longitude.reshape(shape)


def unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    φ, λ = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(φ) * np.cos(λ), np.cos(φ) * np.sin(λ), np.sin(φ)], axis=-1)


def check_against_tree(latitude: np.ndarray, longitude: np.ndarray, radius_km: float) -> np.ndarray:
    """Same distances as a tree of unit vectors; returns the indices."""
    grid = local_grid(latitude, longitude, resolution_km=2.0)
    indices = nearest_pixels(latitude, longitude, grid, radius_km=radius_km)
    usable = ((np.abs(latitude) <= 90) & np.isfinite(longitude)).reshape(-1)
    vectors = unit_vectors(
        *(np.where(usable, angles.reshape(-1), 0) for angles in (latitude, longitude))
    )
    pixels = unit_vectors(grid.latitude, grid.longitude)
    expected = EARTH_RADIUS_KM * cKDTree(vectors[usable]).query(pixels)[0]
    found = indices >= 0
    np.testing.assert_array_equal(found, expected <= radius_km)
    assert found.any()
    assert not found.all()
    distances = EARTH_RADIUS_KM * np.linalg.norm(pixels - vectors[indices], axis=-1)
    np.testing.assert_allclose(distances[found], expected[found], atol=1e-5)
    return indices


@pytest.mark.parametrize("place", CENTRES)
def test_nearest_pixels_are_those_of_a_tree(place: str) -> None:
    check_against_tree(*fly(*CENTRES[place]), radius_km=1.5)


def test_missing_rows_and_pixels_are_passed_over() -> None:
    latitude, longitude = fly(*CENTRES["date line"])
    latitude[10:14] = np.nan
    longitude[30:33, 5:20] = np.nan
    latitude[40, 40] = np.inf
    latitude[41, 50:53] = longitude[41, 50:53] = -999.0  # a fill value
    indices = check_against_tree(latitude, longitude, radius_km=2.5)
    usable = (np.abs(latitude) <= 90) & np.isfinite(longitude)
    assert usable.reshape(-1)[indices[indices >= 0]].all()


def test_overlapping_rows_in_any_order() -> None:
    latitude, longitude = fly(*CENTRES["tropics"])
    order = np.arange(60)
    order[20:30] = np.arange(24, 34)  # a scan that repeats rows of the next one
    order[40:] = order[40:][::-1]
    check_against_tree(latitude[order] + 1e-4, longitude[order], radius_km=2.0)


def test_indices_repeat_and_turns_of_the_circle_do_not_count() -> None:
    latitude, longitude = fly(*CENTRES["date line"])
    grid = local_grid(latitude, longitude, resolution_km=2.0)
    indices = nearest_pixels(latitude, longitude, grid, radius_km=3.0)
    again = nearest_pixels(latitude, longitude, grid, radius_km=3.0)
    np.testing.assert_array_equal(indices, again)
    turned = nearest_pixels(latitude, longitude % 360, grid, radius_km=3.0)
    apart = unit_vectors(latitude, longitude).reshape(-1, 3)
    np.testing.assert_allclose(apart[turned], apart[indices], atol=1e-12)


@pytest.mark.parametrize("place", CENTRES)
def test_a_grid_resampled_to_itself_is_itself(place: str) -> None:
    grid = local_grid(*fly(*CENTRES[place]), resolution_km=3.0)
    indices = nearest_pixels(grid.latitude, grid.longitude, grid, radius_km=1.0)
    np.testing.assert_array_equal(indices.reshape(-1), np.arange(indices.size))


def test_no_place_is_near() -> None:
    latitude, longitude = fly(*CENTRES["tropics"])
    grid = local_grid(latitude, longitude, resolution_km=5.0)
    far = nearest_pixels(latitude + 30, longitude, grid, radius_km=5.0)
    missing = nearest_pixels(np.full_like(latitude, np.nan), longitude, grid, radius_km=5.0)
    assert (far == -1).all()
    assert (missing == -1).all()
    assert far.shape == missing.shape == grid.latitude.shape


@pytest.mark.parametrize("place", CENTRES)
def test_the_grid_just_covers_the_swath(place: str) -> None:
    latitude, longitude = fly(*CENTRES[place])
    latitude[0], longitude[1] = np.nan, np.nan
    grid = local_grid(latitude.astype(np.float32), longitude.astype(np.float32), resolution_km=2.0)
    usable = np.isfinite(latitude) & np.isfinite(longitude)
    eastings, northings = Proj(grid.area.crs)(longitude[usable], latitude[usable])
    left, bottom, right, top = grid.area.area_extent
    rows, columns = grid.latitude.shape
    assert right - left == pytest.approx(2000 * columns, abs=1e-3)
    assert top - bottom == pytest.approx(2000 * rows, abs=1e-3)
    for margin in (
        eastings.min() - left,
        right - eastings.max(),
        northings.min() - bottom,
        top - northings.max(),
    ):
        assert -1 <= margin <= 1001  # half a pixel, and what single precision leaves open


@pytest.mark.parametrize("place", CENTRES)
def test_pixels_have_the_right_edges_and_one_area(place: str) -> None:
    grid = local_grid(*fly(*CENTRES[place], rows=800, columns=1000), resolution_km=10.0)
    assert (np.abs(grid.latitude) <= 90).all()
    assert (np.abs(grid.longitude) <= 180).all()
    left, bottom, right, top = grid.area.area_extent
    rows, columns = grid.latitude.shape
    across, down = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    longitude, latitude = Proj(grid.area.crs)(*np.meshgrid(across, down), inverse=True)
    for row in np.linspace(0, rows - 1, 7, dtype=int):
        for column in np.linspace(0, columns - 1, 7, dtype=int):
            corners = [row, row + 1, row + 1, row], [column, column, column + 1, column + 1]
            area, _ = GEOD.polygon_area_perimeter(longitude[corners], latitude[corners])
            assert area == pytest.approx(1e8, rel=1e-3)
    middle = grid.latitude[rows // 2, columns // 2], grid.longitude[rows // 2, columns // 2]
    beside = grid.latitude[rows // 2, columns // 2 + 1], grid.longitude[rows // 2, columns // 2 + 1]
    _, _, distance = GEOD.inv(middle[1], middle[0], beside[1], beside[0])
    assert distance == pytest.approx(10_000, rel=1e-3)


def test_north_is_up_in_the_middle() -> None:
    grid = local_grid(*fly(*CENTRES["tropics"]), resolution_km=2.0)
    rows, columns = grid.latitude.shape
    above, below = (rows // 2 - 1, columns // 2), (rows // 2 + 1, columns // 2)
    azimuth, _, _ = GEOD.inv(
        grid.longitude[below], grid.latitude[below], grid.longitude[above], grid.latitude[above]
    )
    assert azimuth == pytest.approx(0, abs=0.05)


def test_places_all_over_the_globe_leave_corners_off_the_map() -> None:
    rng = np.random.default_rng(1)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    longitude = rng.uniform(-180, 180, 2000)
    grid = local_grid(latitude, longitude, resolution_km=300.0)
    assert np.isnan(grid.latitude[0, 0])
    np.testing.assert_array_equal(np.isnan(grid.latitude), np.isnan(grid.longitude))
    indices = nearest_pixels(latitude, longitude, grid, radius_km=600.0)
    assert (indices[np.isnan(grid.latitude)] == -1).all()
    assert (indices[np.isfinite(grid.latitude)] >= 0).mean() > 0.95


def test_a_grid_too_large_names_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    latitude, longitude = fly(*CENTRES["tropics"])
    with pytest.raises(ValueError, match=r"more than 20000; raise ingest\.grid\.resolution_km"):
        local_grid(latitude, longitude, resolution_km=0.001)
    monkeypatch.setattr(swath, "MOST_PIXELS", 20)
    with pytest.raises(ValueError, match=r"ingest\.grid\.resolution_km"):
        local_grid(latitude, longitude, resolution_km=2.0)


def test_no_place_at_all() -> None:
    with pytest.raises(ValueError, match="none of 4 pixels"):
        local_grid(np.full((2, 2), np.nan), np.zeros((2, 2)), resolution_km=1.0)


def test_cells_have_the_mean_of_what_lies_in_them() -> None:
    latitude, longitude = fly(*CENTRES["date line"])
    grid = local_grid(latitude, longitude, resolution_km=5.0)
    values = np.random.default_rng(0).uniform(0, 100, latitude.shape)
    values[3, 4] = latitude[5, 6] = longitude[7, 8] = np.nan
    found = cell_means(values, latitude, longitude % 360, grid)
    eastings, northings = Proj(grid.area.crs)(longitude, latitude)
    left, top = grid.area.area_extent[0], grid.area.area_extent[3]
    used = np.isfinite(values) & np.isfinite(latitude) & np.isfinite(longitude)
    for row, column in np.ndindex(found.shape):
        low, high = left + 5000 * column, top - 5000 * (row + 1)
        inside = used & (eastings >= low) & (eastings < low + 5000)
        inside &= (northings > high) & (northings <= high + 5000)
        expected = values[inside].mean() if inside.any() else np.nan
        assert found[row, column] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert np.isnan(found).any()


def test_bands_are_averaged_by_radiance_and_angles_are_not() -> None:
    """Half at 280 and half at 320 K is 306.3 K at 3.9 µm, as one large pixel would see."""
    latitude, longitude = fly(*CENTRES["tropics"])
    rows, columns = np.indices(latitude.shape)
    hot = ((rows + columns) % 2).astype(np.float32)
    plane = ("row", "column")
    granule = xr.Dataset(
        {
            "latitude": (plane, latitude),
            "longitude": (plane, longitude),
            "visible": (plane, 80 * hot, {"units": "percent"}),
            "window": (plane, 280 + 40 * hot, {"units": "K", "wavelength": 3.9}),
            "solar_azimuth_angle": (plane, np.where(hot, 179.0, -179.0)),
        }
    )
    gridded = on_equal_area_grid(granule, resolution_km=20.0, radius_km=1.0)
    inner = {"row": slice(1, -1), "column": slice(1, -1)}
    np.testing.assert_allclose(gridded.visible[inner], 40.0, atol=1.0)
    radiance = planck.radiance(3.9, np.array([280.0, 320.0])).mean()
    expected = float(planck.brightness_temperature(3.9, radiance))
    assert expected == pytest.approx(306.27, abs=0.01)
    np.testing.assert_allclose(gridded.window[inner], expected, atol=0.7)
    assert set(np.unique(np.abs(gridded.solar_azimuth_angle[inner]))) == {179.0}
    assert gridded.visible.attrs["units"] == "percent"
    assert np.isfinite(gridded.latitude[inner]).all()


def test_take_fills_gaps_by_kind() -> None:
    indices = np.array([[0, -1, 3], [-1, 2, 2]])
    values = np.array([[1, 2], [3, 4]])
    floats = take(values.astype(np.float32), indices)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, [[1, np.nan, 4], [np.nan, 3, 3]])
    np.testing.assert_array_equal(take(values, indices), [[1, 0, 4], [0, 3, 3]])
    np.testing.assert_array_equal(
        take(values > 2, indices), [[False, False, True], [False, True, True]]
    )
