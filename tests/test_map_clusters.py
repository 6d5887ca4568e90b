"""Maps of clusters from made-up places."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from pipeline import map_clusters
from pipeline.files import stage, stores
from pipeline.map_clusters import MapClustersParams

PARAMS = MapClustersParams(k="recommended")
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
            "granule": ("scene", np.array([f"{n}.nc" for n in range(len(corners))], object)),
            "scene": ("tile", scene.astype(np.int32)),
            "row": ("tile", np.tile(64 * (n_across - 1 - south.ravel()), len(corners))),
            "column": ("tile", np.tile(64 * west.ravel(), len(corners))),
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
        coords={"k": [3, 4], **stores.tile_places(places)},
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


@pytest.mark.parametrize("k", ["recommended", 4])
def test_writes_a_map_across_the_date_line(k: Literal["recommended"] | int, tmp_path: Path) -> None:
    maps = map_all(lay_tiles(FIJI), tmp_path, MapClustersParams(k))
    assert [path.name for path in maps.iterdir()] == ["tiles.png"]


def test_maps_at_the_pole(tmp_path: Path) -> None:
    corners = [(84.0, float(longitude)) for longitude in range(-180, 180, 60)]
    maps = map_all(lay_tiles(corners), tmp_path)
    assert (maps / "tiles.png").stat().st_size > 10_000


def test_unknown_k_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"map_clusters\.k is 40, .* for k = 3 to 4"):
        map_all(lay_tiles(FIJI), tmp_path, MapClustersParams(40))


@pytest.mark.parametrize("k", ["best", 0, -3, 2.5, True])
def test_params_name_an_impossible_k(k: object) -> None:
    with pytest.raises(ValueError, match=r"map_clusters\.k in .* is neither 'recommended' nor"):
        stage.parse_params("map_clusters", {"k": k}, MapClustersParams)
    assert stage.parse_params("map_clusters", {"k": 12}, MapClustersParams).k == 12


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


def test_of_many_days_an_evenly_spaced_dozen_is_mapped() -> None:
    groups = map_clusters.group_tiles(lay_tiles([(0.0, 0.0)] * 23))
    assert list(groups)[:3] == ["2020-02-01", "2020-02-03", "2020-02-05"]
    assert list(groups)[-1] == "2020-02-23"
    assert len(groups) == map_clusters.MOST_PANELS
