import numpy as np
import pytest
from pyproj import Transformer

from pipeline.core import raster, sphere


def _even(
    *, north: float, west: float, down: float, across: float, shape: tuple[int, int] = (40, 50)
) -> tuple[np.ndarray, np.ndarray]:
    """Places of pixels' centres, rounded as scenes are, longitudes from -180 to 180."""
    row, column = np.mgrid[: shape[0], : shape[1]] + 0.5
    longitude = (west + across * column + 180) % 360 - 180
    return (north + down * row).astype(np.float32), longitude.astype(np.float32)


def _turned_grid(
    *, latitude: float, longitude: float, shape: tuple[int, int] = (60, 60)
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels 4 km apart around a place, turned by 30 degrees."""
    row, column = np.mgrid[: shape[0], : shape[1]] - 29.5
    turn = np.radians(30)
    metres = 4000 * np.stack(
        [column * np.cos(turn) + row * np.sin(turn), column * np.sin(turn) - row * np.cos(turn)]
    )
    projection = {"proj": "laea", "lat_0": latitude, "lon_0": longitude, "ellps": "WGS84"}
    found = Transformer.from_crs(projection, "EPSG:4326").transform(*metres)
    return found[0].astype(np.float32), found[1].astype(np.float32)


def _read(grid: raster.RasterGrid, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """What the grid has at places: a flat index of the scene's pixels."""
    row = np.searchsorted(-grid.latitude_edges, -latitude) - 1
    west = grid.longitude_edges[0]
    column = np.searchsorted(grid.longitude_edges, west + (longitude - west) % 360) - 1
    return grid.pixels[row, column]


@pytest.mark.parametrize("west", [-60.0, 179.5, -180.0])
def test_a_scene_even_in_degrees_keeps_its_pixels(west: float) -> None:
    latitude, longitude = _even(north=20, west=west, down=-0.02, across=0.03)

    grid = raster.raster_grid(latitude, longitude)

    assert grid.crs == "EPSG:4326"
    assert grid.is_own
    np.testing.assert_allclose(grid.transform, [0.03, 0, west, 0, -0.02, 20], atol=1e-4)
    np.testing.assert_array_equal(grid.pixels, np.arange(2000).reshape(40, 50))
    np.testing.assert_array_equal(_read(grid, latitude, longitude), grid.pixels)
    assert grid.longitude_edges[-1] == pytest.approx(west + 1.5, abs=1e-4)


def test_rows_go_south_and_columns_east_whatever_the_scenes_do() -> None:
    latitude, longitude = _even(north=-3, west=170, down=0.1, across=-0.1)

    grid = raster.raster_grid(latitude, longitude)

    np.testing.assert_allclose(grid.transform, [0.1, 0, 165, 0, -0.1, 1], atol=1e-4)
    np.testing.assert_array_equal(grid.pixels, np.arange(2000).reshape(40, 50)[::-1, ::-1])
    np.testing.assert_array_equal(_read(grid, latitude, longitude), np.arange(2000).reshape(40, 50))


def test_a_scene_in_mercators_projection_keeps_its_pixels() -> None:
    row, column = np.mgrid[:40, :50] + 0.5
    x, y = -11001584.99 + 7997.07 * column, 4668439.14 - 8002.07 * row
    latitude, longitude = Transformer.from_crs("EPSG:3857", "EPSG:4326").transform(x, y)

    grid = raster.raster_grid(latitude.astype(np.float32), longitude.astype(np.float32))

    assert grid.crs == "EPSG:3857"
    assert grid.is_own
    np.testing.assert_allclose(
        grid.transform, [7997.07, 0, -11001584.99, 0, -8002.07, 4668439.14], rtol=1e-5
    )
    np.testing.assert_array_equal(_read(grid, latitude, longitude), grid.pixels)


@pytest.mark.parametrize("place", [(15.0, -50.0), (-17.0, 179.9), (62.0, -180.0), (-89.0, 30.0)])
def test_any_other_scene_is_read_at_the_nearest_pixel(place: tuple[float, float]) -> None:
    latitude, longitude = _turned_grid(latitude=place[0], longitude=place[1])

    grid = raster.raster_grid(latitude, longitude)

    assert grid.crs == "EPSG:4326"
    assert not grid.is_own
    found = _read(grid, latitude, longitude)
    assert (found >= 0).mean() > 0.999
    # Half the diagonals of a pixel of the grid and of one of the scene; wider along the pole.
    away = sphere.great_circle_km(
        latitude, longitude, latitude.ravel()[found], longitude.ravel()[found]
    )
    assert np.nanpercentile(away[found >= 0], 99) < 4.0 * (1.5 if abs(place[0]) < 80 else 8)
    if abs(place[0]) < 80:
        assert grid.pixels.size < 4 * latitude.size
        assert (grid.pixels < 0).mean() == pytest.approx(0.46, abs=0.1)


def test_pixels_off_the_earth_are_missing() -> None:
    latitude, longitude = _even(north=20, west=0, down=-0.02, across=0.03)
    latitude[:, :7], longitude[:, :7] = np.nan, np.nan

    grid = raster.raster_grid(latitude, longitude)

    assert grid.is_own
    assert (grid.pixels[:, :7] == -1).all()
    np.testing.assert_allclose(grid.transform, [0.03, 0, 0, 0, -0.02, 20], atol=1e-4)
    laid = grid.lay(np.ones(latitude.shape, np.uint8), 255)
    assert np.unique(laid[:, :7]).tolist() == [255]
    assert np.unique(laid[:, 7:]).tolist() == [1]
