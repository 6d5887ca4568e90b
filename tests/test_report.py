"""The report of toy clusters: figures beside HTML whose every reference is in the folder."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_describe_clusters import K, describe

from pipeline import report
from pipeline.files import figures as draw
from pipeline.files import stores


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


@pytest.fixture(scope="module")
def toys(toy_scenes: Path, toy_embeddings: Path, toy_clusters: Path) -> tuple[Path, Path, Path]:
    return toy_scenes, toy_embeddings, toy_clusters


@pytest.fixture(scope="module")
def inputs(
    toys: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Toy products with cards and composites."""
    folder = tmp_path_factory.mktemp("inputs")
    write_composites(folder / "composites")
    return describe(folder, *toys) | {"composites": folder / "composites"}


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


@pytest.fixture(scope="module")
def labelled(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        report.run(**inputs, report=folder)
    return folder


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


def test_clusters_without_labels_say_so(labelled: Path, inputs: dict[str, Path]) -> None:
    cards = stores.open_product(inputs["cards"] / "cards.nc")
    text = Page(labelled / "index.html").text
    n_empty = int((cards.labelled_tiles.sum("class") == 0).sum())
    assert n_empty > 0
    assert text.count("no labels fall here.") == n_empty
    assert cards.attrs["labels_sha256"] in text


def test_cards_show_tiles_of_the_clusters(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw_only(monkeypatch)
    report.run(**inputs, report=tmp_path)
    cards = stores.open_product(inputs["cards"] / "cards.nc").load()
    tiles = stores.open_product(inputs["embeddings"])
    for number, card in enumerate(drawn):
        edge = tiles.isel(tile=cards.edge.values[number])
        row = card.rows[1]
        cut = stores.cut_embedded_tiles(inputs["scenes"], edge)
        np.testing.assert_array_equal(np.stack(row.tiles), cut)
        rivals = cards.edge_rival.values[number]
        days = edge.time.dt.strftime("%Y-%m-%d").values
        assert row.labels == [f"{d}\nor cluster {r}" for d, r in zip(days, rivals, strict=True)]


def test_without_labels_cards_name_no_class(
    toys: tuple[Path, Path, Path],
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = draw_only(monkeypatch)
    without = describe(tmp_path, *toys, labels="none")
    report.run(**inputs | without, report=tmp_path / "report")
    assert "No labels are given." in Page(tmp_path / "report/index.html").text
    assert {card.class_sentence for card in drawn} == {"No labels are given."}
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
    inputs: dict[str, Path], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster_07.png").write_text("of an earlier run")
    draw_only(monkeypatch, 0)
    report.run(**inputs, report=tmp_path)
    figures = ["cluster_00.pdf", "cluster_00.png", "cluster_00_tile.png"]
    assert sorted(path.name for path in tmp_path.glob("cluster*")) == figures
    for name in ["index.html", *figures]:
        assert (tmp_path / name).read_bytes() == (labelled / name).read_bytes(), name


def test_composites_of_another_k_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    write_composites(tmp_path / "composites", k=5)
    others = inputs | {"composites": tmp_path / "composites"}
    with pytest.raises(
        ValueError, match=r"are of k = 5, but the cards are of k = 4; give describe_clusters\.k"
    ):
        report.run(**others, report=tmp_path / "report")
