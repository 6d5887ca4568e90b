"""Outlines of tiles that overlap."""

import numpy as np
from test_map_clusters import lay_tiles

from pipeline.core.footprint import means_within, own_cells


def test_tiles_that_overlap_keep_their_middles() -> None:
    places = lay_tiles([(0.0, 178.0)]).assign_attrs(stride=16, tile_size=64)
    latitude, longitude = own_cells(places)
    np.testing.assert_allclose(np.ptp(latitude, axis=1), 0.25, atol=1e-5)
    np.testing.assert_allclose(np.ptp(longitude, axis=1), 0.25, atol=1e-4)
    np.testing.assert_allclose(latitude.mean(axis=1), places.latitude, atol=1e-5)


def test_a_tile_that_overlaps_no_other_keeps_its_corners() -> None:
    places = lay_tiles([(0.0, 178.0)]).assign_attrs(stride=96, tile_size=64)
    latitude, longitude = own_cells(places)
    np.testing.assert_allclose(latitude, places.latitude_bounds, atol=1e-5)
    across = (longitude - places.longitude_bounds.values + 180) % 360 - 180
    np.testing.assert_allclose(across, 0, atol=1e-4)


def _swath(*, step: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 1° S to 1° N on both sides of the date line, turned as those of a satellite."""
    along, across = np.meshgrid(np.arange(-1.5, 1.5, step), np.arange(-1.5, 1.5, step))
    turn = np.radians(20)
    latitude = along * np.cos(turn) - across * np.sin(turn)
    longitude = 180 + along * np.sin(turn) + across * np.cos(turn)
    return latitude, (longitude + 180) % 360 - 180


def _squares(*middles: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (tile, vertex), in turn, of tiles of one degree."""
    latitude, longitude = np.transpose(middles)
    south_north = latitude[:, None] + np.array([-0.5, -0.5, 0.5, 0.5])
    west_east = longitude[:, None] + np.array([-0.5, 0.5, 0.5, -0.5])
    return south_north, (west_east + 180) % 360 - 180


def test_a_tile_has_the_mean_of_the_pixels_within_it() -> None:
    latitude, longitude = _swath()
    east = longitude % 360 - 180
    values = np.where(latitude > 0.3, np.nan, 7 * latitude + 3 * east)
    middles = [(0.3, 179.8), (-0.4, -179.9)]
    found = means_within(values, latitude, longitude, *_squares(*middles))
    for mean, (middle_latitude, middle_longitude) in zip(found, middles, strict=True):
        off = np.abs(latitude - middle_latitude), np.abs(east - middle_longitude % 360 + 180)
        inside = (off[0] < 0.5) & (off[1] < 0.5)
        np.testing.assert_allclose(mean, np.nanmean(values[inside]), atol=0.02)


def test_what_sees_no_middle_or_tells_nothing_is_missing() -> None:
    latitude, longitude = _swath()
    bounds = _squares((0.0, 180.0), (2.0, 178.5), (40.0, 10.0))
    bounds[0][2, 0] = np.nan
    told = means_within(np.ones_like(latitude), latitude, longitude, *bounds)
    np.testing.assert_array_equal(told, [1, np.nan, np.nan])
    nothing = means_within(np.full(latitude.shape, np.nan), latitude, longitude, *bounds)
    assert np.isnan(nothing).all()
