"""Outlines of tiles that overlap."""

import numpy as np
from test_map_clusters import lay_tiles

from pipeline.core.footprint import own_cells


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
