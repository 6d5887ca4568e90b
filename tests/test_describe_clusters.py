"""What the cards of toy clusters show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from small_products import write_untrained

from pipeline import describe_clusters
from pipeline.core.card_product import NO_TILE
from pipeline.files import stage, stores

K = 4
CLASSES = ("stripes", "checks")


def describe(
    folder: Path, scenes: Path, embeddings: Path, clusters: Path, **changes: Any
) -> dict[str, Path]:
    """Write cards of toy products to `folder`; return what else the report needs, too."""
    source = stores.open_product(embeddings).load().drop_encoding()
    hour = source.time.dt.hour.values + source.longitude.values / 15
    source["local_solar_time"] = "tile", hour.astype(np.float32)
    stores.write_product(source, folder / "embeddings.zarr", None)
    channels = ["red", "green", "blue"]
    size = source.attrs["tile_size"]
    write_untrained(folder / "encoder", channels=channels, n_dimensions=6, seed=1, tile_size=size)
    (folder / "rejected.csv").write_text("granule,reason,detail\n")
    lines = [
        f"granule_{scene}.nc,0,{size * column},{size},{CLASSES[column % 2]}"
        for scene in range(3)
        for column in range(4)
    ]
    labels = folder / "labels.csv"
    labels.write_text("\n".join(["granule,row,column,tile_size,label", *lines]) + "\n")
    params = {"k": "recommended", "n_examples": 3, "labels": str(labels), "seed": 1}
    paths = {"scenes": scenes, "embeddings": folder / "embeddings.zarr", "clusters": clusters}
    describe_clusters.run(
        describe_clusters.DescribeClustersParams(**params | changes),
        **paths,
        encoder=folder / "encoder",
        rejected=folder / "rejected.csv",
        cards=folder / "cards",
    )
    return paths | {"cards": folder / "cards"}


@pytest.fixture
def toys(toy_scenes: Path, toy_embeddings: Path, toy_clusters: Path) -> tuple[Path, Path, Path]:
    return toy_scenes, toy_embeddings, toy_clusters


@pytest.fixture
def cards(toys: tuple[Path, Path, Path], tmp_path: Path) -> xr.Dataset:
    return stores.open_product(describe(tmp_path, *toys)["cards"] / "cards.nc").load()


def test_parameters_are_read_from_params_yaml(params: dict[str, Any]) -> None:
    name, params_type = "describe_clusters", describe_clusters.DescribeClustersParams
    assert stage.parse_params(name, params[name], params_type).n_examples > 0


def test_cards_hold_what_they_show(cards: xr.Dataset, toy_clusters: Path) -> None:
    clusters = stores.open_product(toy_clusters).cluster.sel(k=K).values
    np.testing.assert_array_equal(cards.n_tiles, np.bincount(clusters))
    for kind in ("nearest", "edge", "random"):
        for number, tiles in enumerate(cards[kind].values):
            assert (clusters[tiles[tiles != NO_TILE]] == number).all()
    np.testing.assert_allclose(cards.month_share.values[:, 0], cards.share)  # January alone
    assert int(cards.labelled_tiles.sum()) == 12
    assert cards["class"].values.tolist() == sorted(CLASSES)
    assert len(cards.attrs["labels_sha256"]) == 64
    assert cards.attrs["labels_sha256"] in cards.attrs["labels"]


@pytest.mark.parametrize("given", ["none", "nowhere/labels.csv"])
def test_without_labels_cards_name_no_class(
    toys: tuple[Path, Path, Path], tmp_path: Path, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    described = describe(tmp_path, *toys, labels=given)
    cards = stores.open_product(described["cards"] / "cards.nc")
    said = "No labels are given." if given == "none" else "There are no labels at nowhere"
    assert "cards name no classes" in caplog.text
    assert "labelled_tiles" not in cards
    assert cards.attrs["labels"].startswith(said)


def test_a_rerun_gives_the_same_cards(
    toys: tuple[Path, Path, Path], cards: xr.Dataset, tmp_path: Path
) -> None:
    again = stores.open_product(describe(tmp_path / "again", *toys)["cards"] / "cards.nc").load()
    for product in (cards, again):  # the label table lies elsewhere
        for name in ("labels", "parameters"):
            del product.attrs[name]
    xr.testing.assert_identical(again, cards)


def test_a_k_that_was_not_computed_is_refused(
    toys: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"describe_clusters\.k is 7, but .* k = 4 to 5"):
        describe(tmp_path, *toys, k=7)
    assert not (tmp_path / "cards").exists()
