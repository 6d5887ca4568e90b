import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline import sample
from pipeline.core.sphere import great_circle_km
from pipeline.core.triplet import SPLITS
from pipeline.files import stores

PARAMS = sample.SampleParams(
    tile_size=16,
    nearest=0.0,
    radius=1.0,
    neighbour_from=sample.OtherGranules(minutes=0.0, platform="any"),
    max_invalid_share=0.0,
    distant_hours=20.0,
    distant_km=500.0,
    validation_share=0.2,
    test_share=0.2,
    n_triplets=sample.TripletCounts(train=150, validation=40, test=30),
    holds="tiles",
    seed=3,
)


@dataclass(frozen=True)
class ToyScenesParams:
    """As stage ingest writes them to its product."""

    presets: dict[str, dict[str, list[float]]]


PLACE = ("latitude", "longitude")
MIDDLE = [(7, 7), (7, 8), (8, 7), (8, 8)]  # of a tile of 16 pixels
LIMITS = {"minimum": [2.0, 300.0], "maximum": [80.0, 200.0]}
SCENES_PARAMS = ToyScenesParams({"of another": {}, "toy": LIMITS})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten scenes: five days, two places 1100 km apart at the same hour, with a gap each."""
    rng = np.random.default_rng(0)
    shape = (10, 40, 60)
    valid = np.ones(shape, bool)
    valid[:, 5:12, 20:25] = False
    place = np.arange(10) % 2
    row, column = np.mgrid[: shape[1], : shape[2]]
    dataset = xr.Dataset(
        {
            "colour": (
                ("scene", "channel", "row", "column"),
                rng.integers(0, 256, (10, 2, *shape[1:]), dtype=np.uint8),
            ),
            "valid": (("scene", "row", "column"), valid),
            "latitude": (
                ("scene", "row", "column"),
                np.broadcast_to(10 - 0.02 * row, shape).astype(np.float32),
            ),
            "longitude": (
                ("scene", "row", "column"),
                (-60 + 10 * place[:, None, None] + 0.02 * column).astype(np.float32),
            ),
        },
        coords={
            "granule": ("scene", [f"scene_{number}.nc" for number in range(10)]),
            "time": (
                "scene",
                np.datetime64("2020-01-01T12", "ns") + np.arange(10) // 2 * np.timedelta64(1, "D"),
            ),
            "platform": ("scene", np.full(10, "satellite")),
            "channel": ["visible", "infrared_window"],
        },
        attrs={"preset": "toy"},
    )
    path = tmp_path_factory.mktemp("sample") / "scenes.zarr"
    stores.write_product(dataset, path, SCENES_PARAMS)
    return path


@pytest.fixture
def run(scenes: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(params: sample.SampleParams = PARAMS, name: str = "triplets.zarr") -> Path:
        sample.run(params, scenes, tmp_path / name, tmp_path / "sample.json")
        return tmp_path / name

    return run


def test_members_keep_every_rule(scenes: Path, run: Callable[..., Path]) -> None:
    triplets = run()
    opened = stores.open_product(scenes).load()
    root = stores.open_product(triplets)
    split_of_scene = root.split.values
    days = opened.time.values.astype("datetime64[D]")
    for day in np.unique(days):
        assert len(set(split_of_scene[days == day])) == 1
    for name in SPLITS:
        members = stores.open_product(triplets, name).load()
        assert members.tiles.shape == (getattr(PARAMS.n_triplets, name), 3, 2, 16, 16)
        assert members.tiles.dims == ("triplet", "member", "channel", "row", "column")
        scene, row, column = (
            members[place].values for place in ("scene", "first_row", "first_column")
        )
        assert set(split_of_scene[scene.ravel()]) == {name}
        for index in range(len(scene)):
            for member in range(3):
                place = (
                    scene[index, member],
                    slice(row[index, member], row[index, member] + 16),
                    slice(column[index, member], column[index, member] + 16),
                )
                assert opened.valid.values[place].shape == (16, 16)
                assert opened.valid.values[place].all()
                expected = opened.colour.values[place[0], :, place[1], place[2]]
                np.testing.assert_array_equal(members.tiles.values[index, member], expected)
        np.testing.assert_array_equal(scene[:, 0], scene[:, 1])
        offset = np.hypot(row[:, 0] - row[:, 1], column[:, 0] - column[:, 1])
        assert (offset > 0).all()
        assert (offset <= (16 if name == "train" else 24)).all()
        is_apart = (abs(row[:, 0] - row[:, 1]) >= 16) | (abs(column[:, 0] - column[:, 1]) >= 16)
        np.testing.assert_array_equal(members.overlap == 0, is_apart)
        assert is_apart.all() == (name != "train")
        assert (scene[:, 2] != scene[:, 0]).all()
        hours = np.abs(members.time.values[:, 2] - members.time.values[:, 0]) / np.timedelta64(
            1, "h"
        )
        latitude, longitude = members.latitude.values, members.longitude.values
        km = great_circle_km(latitude[:, 0], longitude[:, 0], latitude[:, 2], longitude[:, 2])
        assert ((hours >= 20) | (km >= 500)).all()
        np.testing.assert_array_equal(members.time, opened.time.values[scene])
        pixels = [opened.latitude.values[scene, row + i, column + j] for i, j in MIDDLE]
        np.testing.assert_allclose(latitude, np.mean(pixels, axis=0), atol=1e-4)


def test_store_is_zarr_v3_in_chunks_of_triplets(run: Callable[..., Path]) -> None:
    tiles = zarr.open_array(run(), path="train/tiles", mode="r")
    assert tiles.metadata.zarr_format == 3
    assert tiles.dtype == np.uint8
    assert tiles.chunks == (stores.TRIPLETS_PER_CHUNK, 3, 2, 16, 16)
    assert tiles.shards is None  # reading a part of a shard takes several times as long


def test_limits_of_the_channels_are_written(run: Callable[..., Path]) -> None:
    root = stores.open_product(run())
    assert list(root.channel.values) == ["visible", "infrared_window"]
    for name, values in LIMITS.items():
        assert root[name].dims == ("channel",)
        np.testing.assert_array_equal(root[name], values)
        assert root[name].attrs["long_name"].startswith("percent or K that became colour")


def _disk(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_places_take_a_ninth_of_the_disk_of_tiles(run: Callable[..., Path]) -> None:
    counts = sample.TripletCounts(train=600, validation=200, test=200)
    params = replace(PARAMS, n_triplets=counts)
    with_tiles, places = (
        run(replace(params, holds=holds), name=f"{holds}.zarr") for holds in ("tiles", "places")
    )
    assert _disk(places) <= _disk(with_tiles) / 9
    for name in SPLITS:
        members = stores.open_product(with_tiles, name)
        assert "tiles" not in stores.open_product(places, name)
        xr.testing.assert_identical(
            members.drop_vars("tiles").drop_attrs(), stores.open_product(places, name).drop_attrs()
        )


@pytest.fixture(scope="module")
def both(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[NDArray[np.uint8], stores.TripletTiles, stores.TripletTiles]:
    """The training tiles of one seed; as tiles, which need no scenes any more; and as places."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        for holds in ("tiles", "places"):
            params = replace(PARAMS, holds=holds)
            sample.run(params, scenes, folder / f"{holds}.zarr", folder / "sample.json")
    return (
        stores.open_product(folder / "tiles.zarr", "train").tiles.values,
        stores.TripletTiles(folder / "tiles.zarr", "train", folder / "absent.zarr"),
        stores.TripletTiles(folder / "places.zarr", "train", scenes),
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 149), st.integers(1, 150)), min_size=1, max_size=5))
def test_tiles_and_places_give_the_same_tiles(
    both: tuple[NDArray[np.uint8], stores.TripletTiles, stores.TripletTiles],
    drawn: list[tuple[int, int]],
) -> None:
    stored, *readers = both
    spans = np.array([(first, min(first + length, 150)) for first, length in drawn])
    expected = np.concatenate([stored[slice(*span)] for span in spans])
    for tiles in readers:
        assert tiles.shape == (150, 3, 2, 16, 16)
        found = np.full_like(expected, 7)
        tiles.read(spans, found)
        np.testing.assert_array_equal(found, expected)


def _contents(triplets: Path) -> list[xr.Dataset]:
    return [stores.open_product(triplets, name).load() for name in SPLITS]


def test_one_seed_gives_the_same_triplets_whatever_the_workers(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "CHUNKS_PER_PART", 2)
    for module in (stores, stores.triplets):
        monkeypatch.setattr(module, "TRIPLETS_PER_CHUNK", 16)
    monkeypatch.setenv("TILE2VEC_WORKERS", "1")
    alone = _contents(run(name="alone.zarr"))
    monkeypatch.setenv("TILE2VEC_WORKERS", "3")
    together = _contents(run(name="together.zarr"))
    other = _contents(run(replace(PARAMS, seed=4), name="other.zarr"))
    for first, second in zip(alone, together, strict=True):
        xr.testing.assert_identical(first, second)
    assert not other[0].scene.equals(alone[0].scene)


def test_metrics_count_scenes_and_triplets(run: Callable[..., Path]) -> None:
    metrics = json.loads((run().parent / "sample.json").read_text())
    assert metrics["triplets"] == {"train": 150, "validation": 40, "test": 30}
    assert sum(metrics["scenes"].values()) == 10
    assert metrics["overlap"]["test"] == {"mean": 0, "fraction_of_neighbours": 0}
    assert 0.1 < metrics["overlap"]["train"]["mean"] < 0.5


def test_neighbours_beyond_the_tile_share_no_pixel(run: Callable[..., Path]) -> None:
    apart = run(replace(PARAMS, nearest=1.0, radius=1.0))
    members = stores.open_product(apart, "train").load()
    assert not members.overlap.any()
    offsets = {
        (abs(row), abs(column))
        for row, column in zip(
            np.diff(members.first_row.values[:, :2])[:, 0],
            np.diff(members.first_column.values[:, :2])[:, 0],
            strict=True,
        )
    }
    assert offsets == {(0, 16), (16, 0)}
    with pytest.raises(
        ValueError, match=r"sample\.nearest 2\.0 is larger than sample\.radius 1\.0"
    ):
        run(replace(PARAMS, nearest=2.0))


def test_where_none_is_far_enough_the_farthest_in_time_is_distant(
    run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    product = run(replace(PARAMS, distant_hours=999.0, distant_km=20000.0))
    assert "6 of 6 granules of the train split have no other 999 hours or 20000 km" in caplog.text
    table = stores.open_product(product).load()
    for split in SPLITS:
        members = stores.open_product(product, split).load()
        times = members.time.values
        in_split = table.time.values[table.split.values == split]
        farthest = abs(times[:, 0, None] - in_split).max(axis=1)
        np.testing.assert_array_equal(abs(times[:, 2] - times[:, 0]), farthest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tile_size": 41},
            r"tiles of 41 pixels are larger than every scene \(at most 40 x 60\); "
            r"lower sample\.tile_size",
        ),
        ({"validation_share": 0.6, "test_share": 0.4}, r"5 days cannot be split"),
        (
            {"n_triplets": sample.TripletCounts(10**9, 1, 1)},
            r"1000000002 triplets take 1536\.0 GB and .* free; lower sample\.n_triplets or let "
            r"sample\.holds be places",
        ),
    ],
)
def test_impossible_params_are_named(
    change: dict[str, object], message: str, run: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=message):
        run(replace(PARAMS, **change))


def test_size_on_disk_is_said_before_the_start(
    run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run()
    assert caplog.messages[0].startswith("220 triplets take up to 0.00 GB, ")


N_PAIRS = 6  # of scenes of one place, a day each
SHIFT = (3, -5)  # rows and columns from a place in the first to that in the second


@pytest.fixture(scope="module")
def paired_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes a day, ten minutes apart, of two satellites that do not point alike."""
    n_rows, n_columns = 60, 80
    row, column = np.mgrid[:n_rows, :n_columns]
    second = np.arange(2 * N_PAIRS) % 2
    offsets = second[:, None, None] * np.array(SHIFT)[:, None, None, None]
    valid = np.ones((2 * N_PAIRS, n_rows, n_columns), bool)
    valid[second == 1, :, :10] = False  # the second does not see all
    minutes = np.arange(2 * N_PAIRS) // 2 * 24 * 60 + 720 + 10 * second
    time = np.datetime64("2020-01-01", "ns") + minutes * np.timedelta64(1, "m")
    plane = ("scene", "row", "column")
    dataset = xr.Dataset(
        {
            "colour": (
                ("scene", "channel", "row", "column"),
                np.zeros((2 * N_PAIRS, 1, n_rows, n_columns), np.uint8),
            ),
            "valid": (plane, valid),
            "latitude": (plane, (5 - 0.02 * (row - offsets[0])).astype(np.float32)),
            "longitude": (plane, (170 + 0.02 * (column - offsets[1])).astype(np.float32)),
        },
        coords={
            "granule": ("scene", [f"{number}.nc" for number in range(2 * N_PAIRS)]),
            "time": ("scene", time),
            "platform": ("scene", np.array(["one", "two"])[second]),
            "channel": ["one"],
        },
        attrs={"preset": "toy"},
    )
    path = tmp_path_factory.mktemp("pairs") / "scenes.zarr"
    limits = {"minimum": [0.0], "maximum": [1.0]}
    stores.write_product(dataset, path, ToyScenesParams({"toy": limits}))
    return path


@pytest.mark.parametrize("platform", ["any", "other"])
def test_neighbours_may_come_from_another_granule_of_the_place(
    paired_scenes: Path, tmp_path: Path, platform: Literal["any", "other"]
) -> None:
    params = replace(PARAMS, neighbour_from=sample.OtherGranules(10.0, platform), holds="places")
    sample.run(params, paired_scenes, tmp_path / "triplets.zarr", tmp_path / "sample.json")
    train = stores.open_product(tmp_path / "triplets.zarr", "train").load()
    anchor, neighbour, _ = train.scene.values.T
    moved = anchor != neighbour
    assert 0.5 < moved.mean() < 1  # some places are seen by one of them alone
    np.testing.assert_array_equal(neighbour[moved], anchor[moved] ^ 1)
    assert (train.overlap.values[moved] == 0).all()
    minutes = (train.time[:, 1] - train.time[:, 0]).values / np.timedelta64(1, "m")
    np.testing.assert_array_equal(np.abs(minutes), 10 * moved)
    # Where a neighbour lies by its first pixel is where it would lie in the anchor's granule.
    first = np.stack([train.first_row.values, train.first_column.values], axis=-1)[..., :2, :]
    back = np.where((neighbour % 2)[:, None] == 1, SHIFT, np.negative(SHIFT))
    offset = first[:, 1] - first[:, 0] - np.where(moved[:, None], back, 0)
    # The middle of a tile lies between four pixels, of which the nearest is either.
    assert (np.hypot(*offset.T) <= PARAMS.tile_size + 1.5).all()
    km = great_circle_km(*(train[name].values[:, at] for at in (0, 1) for name in PLACE))
    np.testing.assert_allclose(km, 2.224 * np.hypot(*offset.T), rtol=0.02)
    for split in ("validation", "test"):  # which are judged alike, whatever training sees
        scene = stores.open_product(tmp_path / "triplets.zarr", split).scene.values
        np.testing.assert_array_equal(scene[:, 0], scene[:, 1])


@pytest.mark.parametrize("other", [(9.0, "any"), (10.0, "same platform")])
def test_granules_too_late_or_of_the_same_satellite_are_no_neighbours(
    paired_scenes: Path, tmp_path: Path, other: tuple[float, str]
) -> None:
    minutes, what = other
    wanted = sample.OtherGranules(minutes, "any" if what == "any" else "other")
    path = paired_scenes
    if what != "any":
        path = tmp_path / "scenes.zarr"
        opened = stores.open_product(paired_scenes).load().drop_encoding()
        opened["platform"] = "scene", np.full(opened.sizes["scene"], "one")
        limits = {"minimum": [0.0], "maximum": [1.0]}
        stores.write_product(opened, path, ToyScenesParams({"toy": limits}))
    params = replace(PARAMS, neighbour_from=wanted, holds="places")
    sample.run(params, path, tmp_path / "triplets.zarr", tmp_path / "sample.json")
    scene = stores.open_product(tmp_path / "triplets.zarr", "train").scene.values
    np.testing.assert_array_equal(scene[:, 0], scene[:, 1])
