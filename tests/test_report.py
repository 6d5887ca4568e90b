"""The report of toy clusters: figures beside HTML whose every reference is in the folder."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import report
from pipeline.core.card_product import NO_TILE
from pipeline.core.encoder import create_encoder
from pipeline.files import encoders, stage, stores
from pipeline.files import figures as draw
from pipeline.report import ReportParams

K = 4
CLASSES = ("stripes", "checks")


class Page(HTMLParser):
    """Elements of a page, their references and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, *names: str) -> list[str]:
        return [str(found[name]) for _, found in self.tags for name in names if name in found]


@pytest.fixture(scope="session")
def inputs(
    toy_scenes: Path,
    toy_embeddings: Path,
    toy_clusters: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Toy products with local time, composites, an untrained encoder and no rejected granule."""
    folder = tmp_path_factory.mktemp("inputs")
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    hour = source.time.dt.hour.values + source.longitude.values / 15
    source["local_solar_time"] = "tile", hour.astype(np.float32)
    stores.write_product(source, folder / "embeddings.zarr", None)
    write_composites(folder / "composites")
    network = create_encoder(backbone="resnet10t", n_channels=3, n_dimensions=6, seed=1)
    description = {
        "backbone": "resnet10t",
        "channels": ["red", "green", "blue"],
        "n_dimensions": 6,
        "standardise": False,
        "tile_size": source.attrs["tile_size"],
    }
    encoders.write_encoder(folder / "encoder", network.state_dict(), description)
    (folder / "rejected.csv").write_text("granule,reason,detail\n")
    return {
        "scenes": toy_scenes,
        "embeddings": folder / "embeddings.zarr",
        "clusters": toy_clusters,
        "composites": folder / "composites",
        "encoder": folder / "encoder",
        "rejected": folder / "rejected.csv",
    }


def write_composites(folder: Path, k: int = K) -> None:
    means = np.linspace(290, 230, k)
    parts = {
        "cloud_temperature": means,
        "cloud_temperature_low": means - 2,
        "cloud_temperature_high": means + 2,
        "cloud_temperature_n_tiles": np.full(k, 10),
    }
    product = xr.Dataset(
        {name: ("cluster", values, {"units": "K"}) for name, values in parts.items()},
        attrs={"k": k, "quantities": "cloud_temperature", "comment": "intervals are made up"},
    )
    stores.write_product(product, folder / "composites.nc", None)


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    lines = [
        f"granule_{scene}.nc,0,{16 * column},16,{CLASSES[column % 2]}"
        for scene in range(3)
        for column in range(4)
    ]
    path.write_text("\n".join(["granule,row,column,tile_size,label", *lines]) + "\n")
    return path


def make(inputs: dict[str, Path], folder: Path, **changes: Any) -> Path:
    params = {"k": "recommended", "n_examples": 3, "labels": "none", "seed": 1} | changes
    report.run(ReportParams(**params), **inputs, report=folder)
    return folder


@pytest.fixture(scope="session")
def labelled(
    inputs: dict[str, Path], labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        return make(inputs, tmp_path_factory.mktemp("report"), labels=str(labels))


def test_parameters_are_read_from_params_yaml(params: dict[str, Any]) -> None:
    assert stage.parse_params("report", params["report"], ReportParams).n_examples > 0


def test_every_reference_is_on_disk(labelled: Path) -> None:
    page = Page(labelled / "index.html")
    ids = page.values("id")
    references = page.values("href", "src")
    assert len(references) > 3 * K
    assert max(Counter(ids).values()) == 1
    for reference in references:
        if reference.startswith("#"):
            assert reference[1:] in ids
        else:
            assert Path(reference).name == reference
            assert (labelled / reference).stat().st_size > 0
    html = (labelled / "index.html").read_text(encoding="utf-8")
    assert "http" not in html
    assert "url(" not in html
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "link", "object"})


def test_the_page_can_be_read_aloud(labelled: Path) -> None:
    page = Page(labelled / "index.html")
    tags = Counter(tag for tag, _ in page.tags)
    assert ("html", {"lang": "en"}) in page.tags
    assert tags["h1"] == 1
    assert tags["h2"] == 3 + K  # contents, overview, table, clusters
    assert all(found["alt"] for tag, found in page.tags if tag == "img")
    assert all(found["scope"] in {"row", "col"} for tag, found in page.tags if tag == "th")
    assert "they are the textures." in page.text
    assert "all tiles; intervals are made up." in page.text


def test_the_table_of_contents_names_every_cluster(labelled: Path) -> None:
    page = Page(labelled / "index.html")
    for number in range(K):
        assert page.values("href").count(f"#cluster-{number}") >= 2
        assert f"cluster_{number:02d}.png" in page.values("src")
        assert f"cluster_{number:02d}.pdf" in page.values("href")


def test_cards_hold_what_they_show(labelled: Path, inputs: dict[str, Path]) -> None:
    cards = stores.open_product(labelled / "cards.nc")
    clusters = stores.open_product(inputs["clusters"]).cluster.sel(k=K).values
    np.testing.assert_array_equal(cards.n_tiles, np.bincount(clusters))
    for kind in ("nearest", "edge", "random"):
        for number, tiles in enumerate(cards[kind].values):
            assert (clusters[tiles[tiles != NO_TILE]] == number).all()
    np.testing.assert_allclose(cards.month_share.values[:, 0], cards.share)  # January alone
    assert int(cards.labelled_tiles.sum()) == 12
    assert len(cards.attrs["labels_sha256"]) == 64
    assert cards.attrs["labels_sha256"] in Page(labelled / "index.html").text


def test_clusters_without_labels_say_so(labelled: Path) -> None:
    cards = stores.open_product(labelled / "cards.nc")
    n_empty = int((cards.labelled_tiles.sum("class") == 0).sum())
    assert n_empty > 0
    assert Page(labelled / "index.html").text.count("no labels fall here.") == n_empty


@pytest.mark.parametrize("given", ["none", "nowhere/labels.csv"])
def test_without_labels_cards_name_no_class(
    inputs: dict[str, Path],
    tmp_path: Path,
    given: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    drawn = draw_only(monkeypatch)
    make(inputs, tmp_path, labels=given)
    said = "No labels are given." if given == "none" else "There are no labels at nowhere"
    assert "cards name no classes" in caplog.text
    assert "labelled_tiles" not in stores.open_product(tmp_path / "cards.nc")
    assert said in Page(tmp_path / "index.html").text
    assert all(card.class_sentence.startswith(said) for card in drawn)
    assert [card.classes for card in drawn] == [{}] * K


def draw_only(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[draw.Card]:
    """The cards of a later run, of which those of `numbers` alone are drawn."""
    cards = []
    draw_card = report._draw

    def record(card: draw.Card, folder: Path) -> None:
        cards.append(card)
        if card.number in numbers:
            draw_card(card, folder)

    monkeypatch.setattr(report, "_draw", record)
    return cards


def test_a_rerun_gives_the_same_bytes_and_leaves_nothing_behind(
    inputs: dict[str, Path],
    labels: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cluster_07.png").write_text("of an earlier run")
    draw_only(monkeypatch, 0)
    make(inputs, tmp_path, labels=str(labels))
    figures = ["cluster_00.pdf", "cluster_00.png", "cluster_00_tile.png"]
    assert sorted(path.name for path in tmp_path.glob("cluster*")) == figures
    for name in ["index.html", *figures]:
        assert (tmp_path / name).read_bytes() == (labelled / name).read_bytes(), name
    xr.testing.assert_identical(
        stores.open_product(tmp_path / "cards.nc").load(),
        stores.open_product(labelled / "cards.nc").load(),
    )


def test_composites_of_another_k_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    write_composites(tmp_path / "composites", k=5)
    others = inputs | {"composites": tmp_path / "composites"}
    with pytest.raises(
        ValueError, match=r"are of k = 5, but the report is of k = 4; give report.k"
    ):
        make(others, tmp_path / "report")
