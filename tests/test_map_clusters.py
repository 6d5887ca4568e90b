"""Maps of clusters from made-up places."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from pipeline import map_clusters
from pipeline.files import stage, stores
from pipeline.map_clusters import MapClustersParams

PARAMS = MapClustersParams(k="recommended", cell_degrees=5.0, fewest_tiles=2)
FIJI = [(-20.0 + day / 4, 176.0) for day in range(3)]  # scenes on top of each other


def lay_tiles(corners: list[tuple[float, float]], n_across: int = 4) -> xr.Dataset:
    """Scenes of `n_across` times `n_across` tiles of one degree, one scene a day."""
    south, west = np.meshgrid(np.arange(n_across), np.arange(n_across), indexing="ij")
    scene = np.repeat(np.arange(len(corners)), n_across**2)
    first = np.repeat(np.array(corners), n_across**2, axis=0)
    latitude = first[:, 0] + np.tile(south.ravel(), len(corners))
    longitude = first[:, 1] + np.tile(west.ravel(), len(corners))
    latitude_bounds = latitude[:, None] + [1, 1, 0, 0]
    longitude_bounds = (longitude[:, None] + [0, 1, 1, 0] + 180) % 360 - 180
    days = np.datetime64("2020-02-01T14:00", "ns") + scene * np.timedelta64(1, "D")
    return xr.Dataset(
        coords={
            "scene": ("tile", scene.astype(np.int32)),
            "time": ("tile", days),
            "latitude": ("tile", (latitude + 0.5).astype(np.float32)),
            "longitude": ("tile", ((longitude + 0.5 + 180) % 360 - 180).astype(np.float32)),
            "latitude_bounds": (("tile", "vertex"), latitude_bounds.astype(np.float32)),
            "longitude_bounds": (("tile", "vertex"), longitude_bounds.astype(np.float32)),
        },
        attrs={"stride": 64, "tile_size": 64},
    )


def number_tiles(places: xr.Dataset) -> xr.Dataset:
    """Clusters of `places` for k = 3 and 4, of which 3 is recommended."""
    tile = np.arange(places.sizes["tile"])
    numbers = np.stack([tile % 3, tile % 4]).astype(np.int16)
    return xr.Dataset(
        {"cluster": (("k", "tile"), numbers)},
        coords={"k": [3, 4]},
        attrs={"recommended_k": 3},
    )


def map_all(places: xr.Dataset, folder: Path, params: MapClustersParams = PARAMS) -> Path:
    stores.write_product(places, folder / "embeddings.zarr", None)
    stores.write_product(number_tiles(places), folder / "clusters.zarr", None)
    maps = folder / "maps"
    map_clusters.run(params, folder / "embeddings.zarr", folder / "clusters.zarr", maps)
    return maps


def shown_numbers(shown: dict[str, NDArray[np.int64]]) -> list[int]:
    return np.sort(np.concatenate(list(shown.values()))).tolist()


def test_writes_frequencies_and_figures_across_the_date_line(tmp_path: Path) -> None:
    maps = map_all(lay_tiles(FIJI), tmp_path)
    assert sorted(path.name for path in maps.iterdir()) == [
        "frequency.nc",
        "frequency.png",
        "frequency_cluster_00.png",
        "frequency_cluster_01.png",
        "frequency_cluster_02.png",
        "tiles.png",
    ]
    with stores.open_product(maps / "frequency.nc") as occurrence:
        assert occurrence.sizes["cluster"] == 3
        assert occurrence.longitude.values.tolist() == [177.5]
        assert int(occurrence.n_tiles.sum()) == 3 * 16
        np.testing.assert_allclose(occurrence.frequency.sum("cluster"), 1, rtol=1e-6)
        assert json.loads(occurrence.attrs["parameters"])["cell_degrees"] == 5.0


def test_maps_at_the_pole(tmp_path: Path) -> None:
    corners = [(84.0, float(longitude)) for longitude in range(-180, 180, 60)]
    maps = map_all(lay_tiles(corners), tmp_path, MapClustersParams(4, 2.0, 1))
    with stores.open_product(maps / "frequency.nc") as occurrence:
        assert int(occurrence["count"].sum()) == 6 * 16
        assert occurrence.sizes["cluster"] == 4


def test_unknown_k_is_named() -> None:
    clusters = number_tiles(lay_tiles(FIJI))
    with pytest.raises(ValueError, match=r"map_clusters\.k is 40, .* for k = 3 to 4"):
        map_clusters.choose_clusters(clusters, 40)
    assert map_clusters.choose_clusters(clusters, "recommended")[0] == 3
    k, numbers = map_clusters.choose_clusters(clusters, 4)
    assert k == 4
    assert numbers.max() == 3


@pytest.mark.parametrize("k", ["best", 0, -3, 2.5, True])
def test_params_name_an_impossible_k(k: object) -> None:
    section = {"k": k, "cell_degrees": 5.0, "fewest_tiles": 2}
    with pytest.raises(ValueError, match=r"map_clusters\.k in .* is neither 'recommended' nor"):
        stage.parse_params("map_clusters", section, MapClustersParams)
    section["k"] = 12
    assert stage.parse_params("map_clusters", section, MapClustersParams).k == 12


def test_scenes_apart_share_one_map_in_the_order_of_time() -> None:
    places = lay_tiles([(0.0, 0.0), (0.0, 10.0), (0.0, 20.0)])
    places = places.isel(tile=np.random.default_rng(0).permutation(places.sizes["tile"]))
    assert map_clusters.count_overlap(places) == pytest.approx(1, abs=1e-12)
    ((title, tiles),) = map_clusters.group_tiles(places).items()
    assert title == "2020-02-01 to 2020-02-03"
    assert (np.diff(places.time.values[tiles]) >= np.timedelta64(0)).all()
    assert shown_numbers({title: tiles}) == list(range(48))


def test_scenes_on_top_of_each_other_are_mapped_day_by_day() -> None:
    places = lay_tiles(FIJI)
    assert map_clusters.count_overlap(places) > 2
    groups = map_clusters.group_tiles(places)
    assert list(groups) == ["2020-02-01", "2020-02-02", "2020-02-03"]
    assert shown_numbers(groups) == list(range(48))


def test_overlapping_scenes_of_a_day_are_shown_at_its_middle_time() -> None:
    places = lay_tiles([(0.0, 0.0)] * 6)
    start = np.datetime64("2020-02-01T10:30", "ns")
    places["time"] = ("tile", start + places.scene.values * np.timedelta64(6, "h"))
    groups = map_clusters.group_tiles(places)
    assert list(groups) == ["2020-02-01 16:30", "2020-02-02 10:30"]
    np.testing.assert_array_equal(places.scene.values[groups["2020-02-01 16:30"]], 1)


def test_tiles_that_overlap_are_drawn_as_their_middles() -> None:
    places = lay_tiles([(0.0, 178.0)]).assign_attrs(stride=16, tile_size=64)
    latitude, longitude = map_clusters._cells_of_tiles(places)
    np.testing.assert_allclose(np.ptp(latitude, axis=1), 0.25, atol=1e-5)
    np.testing.assert_allclose(np.ptp(longitude, axis=1), 0.25, atol=1e-4)
    np.testing.assert_allclose(latitude.mean(axis=1), places.latitude, atol=1e-5)


def test_of_many_days_an_evenly_spaced_dozen_is_mapped() -> None:
    groups = map_clusters.group_tiles(lay_tiles([(0.0, 0.0)] * 23))
    assert list(groups)[:3] == ["2020-02-01", "2020-02-03", "2020-02-05"]
    assert list(groups)[-1] == "2020-02-23"
    assert len(groups) == map_clusters.MOST_PANELS


def test_cells_with_few_tiles_are_left_open_unless_all_are() -> None:
    occurrence = xr.Dataset(
        {
            "n_tiles": (("latitude", "longitude"), [[1, 4]]),
            "frequency": (("cluster", "latitude", "longitude"), [[[1.0, 0.25]], [[0.0, 0.75]]]),
        }
    )
    assert np.isnan(map_clusters.mask_frequency(occurrence, 3).values[:, 0, 0]).all()
    assert map_clusters.mask_frequency(occurrence, 3).values[:, 0, 1].tolist() == [0.25, 0.75]
    assert map_clusters.mask_frequency(occurrence, 9).values[:, 0, 1].tolist() == [0.25, 0.75]
    assert map_clusters.shared_limits(occurrence.frequency).vmax == 1.0
