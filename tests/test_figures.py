"""What figures are drawn from: coastlines, projections, outlines, and the files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from pipeline.files import figures
from pipeline.files.figures import coastlines, graticule, maps, projections, scatter

FloatArray = NDArray[np.float64]


def distance_degrees(lines: Sequence[FloatArray], latitude: float, longitude: float) -> float:
    points = np.concatenate(lines)
    east = ((points[:, 0] - longitude + 180) % 360 - 180) * np.cos(np.deg2rad(latitude))
    return float(np.hypot(east, points[:, 1] - latitude).min())


def square(latitude: float, longitude: float, size: float = 2.0) -> tuple[FloatArray, FloatArray]:
    corners = np.array([[0, 0], [0, size], [size, size], [size, 0]])
    return (latitude + corners[:, 0])[None], (longitude + corners[:, 1])[None]


# Colours


def test_text_is_readable_on_any_cluster_colour() -> None:
    assert figures.text_colour([1, 1, 1]) != "white"
    assert figures.text_colour([0.1, 0.1, 0.4, 1]) == "white"


# Coastlines


@pytest.mark.parametrize(("resolution", "tolerance"), [("c", 0.6), ("l", 0.2), ("i", 0.1)])
@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(38.78, -9.50), (25.13, -80.40), (-34.36, 18.47), (-16.80, 179.99), (66.0, -169.8)],
)
def test_capes_lie_on_the_coast(
    resolution: coastlines.Resolution, tolerance: float, latitude: float, longitude: float
) -> None:
    lines = coastlines.read_coastlines(resolution)
    assert distance_degrees(lines, latitude, longitude) < tolerance


@pytest.mark.parametrize(("latitude", "longitude"), [(25.0, -45.0), (-48.9, -123.4), (50.0, 90.0)])
def test_open_sea_and_inner_continent_are_far_from_the_coast(
    latitude: float, longitude: float
) -> None:
    lines = coastlines.read_coastlines("l")
    far = [line for line in lines if np.ptp(line[:, 0]) > 10]
    assert distance_degrees(far, latitude, longitude) > 5


@pytest.mark.parametrize("resolution", ["c", "l", "i"])
def test_no_coastline_where_only_the_file_ends(resolution: coastlines.Resolution) -> None:
    lines = coastlines.read_coastlines(resolution)
    for line in lines:
        assert np.isfinite(line).all()
        assert line[:, 1].min() > -86  # the ice ends far from the pole
        along_seam = np.isclose(np.abs(line[:, 0]), 180, atol=1e-4)
        assert not (along_seam[1:] & along_seam[:-1]).any()


def test_finer_maps_get_finer_coastlines() -> None:
    assert [coastlines.choose_resolution(width) for width in (360, 60, 5)] == ["c", "l", "i"]


# Windows and projections


@given(
    st.floats(-179, 179), st.lists(st.floats(0, 100), min_size=1, max_size=20), st.integers(-2, 2)
)
def test_window_holds_all_positions_and_no_more(
    west: float, offsets: list[float], turns: int
) -> None:
    longitude = west + np.array(offsets) + 360 * turns
    window = projections.find_window(np.zeros(len(offsets)), longitude)
    assert window.width == pytest.approx(np.ptp(offsets), abs=1e-6)
    inside = (longitude - window.west + 1e-6) % 360
    assert (inside <= window.width + 2e-6).all()


def test_no_finite_position_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 2 is finite"):
        figures.map_axes([np.nan, 1.0], [0.0, np.nan])


@pytest.mark.parametrize(
    ("latitude", "longitude", "name"),
    [
        ([0, 20], [-60, -20], "PlateCarree"),
        ([-25, -8], [170, -170], "PlateCarree"),
        ([66, 85], [-20, 30], "NorthPolarStereo"),
        ([-89, -55, -60, -60], [0, 90, 180, -90], "SouthPolarStereo"),
        ([-70, 70, 0, 0, 0], [0, 60, 120, -120, -60], "Robinson"),
        ([-20, 20, 0, 0, 0], [0, 60, 120, -120, -60], "PlateCarree"),
    ],
)
def test_projection_fits_the_data(latitude: list[float], longitude: list[float], name: str) -> None:
    _, axes = figures.map_axes(latitude, longitude)
    assert type(axes.projection).__name__ == name
    placed = projections.project(axes.projection, np.array(longitude), np.array(latitude))
    for values, limits in zip(placed.T, (axes.get_xlim(), axes.get_ylim()), strict=True):
        assert (values >= limits[0] - 1e-6).all()
        assert (values <= limits[1] + 1e-6).all()


def test_map_across_the_date_line_is_contiguous() -> None:
    _, axes = figures.map_axes([-20.0, -15.0], [177.0, -178.0])
    left, right = axes.get_xlim()
    assert right - left == pytest.approx(5 + 2 * 0.5, abs=1e-9)
    date_line = axes.projection.transform_point(180, -17, projections.GEODETIC)
    assert date_line[0] == pytest.approx(0.5, abs=1e-6)  # half a degree east of the middle


def test_coastlines_of_a_map_stay_on_it_and_never_cross_it() -> None:
    figure, axes = figures.map_axes([-70.0, 70, 0, 0, 0], [0.0, 60, 120, -120, -60])
    window = projections.Window(-75, 75, -180, 180)
    drawn = maps.draw_coastlines(axes, window)
    span = np.ptp(axes.projection.x_limits)
    leaps = [np.abs(np.diff(line[:, 0])).max() for line in drawn.get_segments()]
    assert len(leaps) > 200
    assert max(leaps) < span / 10
    assert figure.axes == [axes]


# Footprints and grids on a map


def test_tile_within_the_map_has_one_outline() -> None:
    _, axes = figures.map_axes([0.0, 20], [-60.0, -20])
    latitude, longitude = square(10, -40)
    drawn = figures.map_tiles(axes, latitude, longitude, "tab:blue")
    (path,) = drawn.get_paths()
    assert np.ptp(path.vertices, axis=0) == pytest.approx([2, 2], abs=0.01)


def test_tile_across_the_seam_is_drawn_at_both_edges() -> None:
    _, axes = figures.map_axes([-70.0, 70, 0, 0, 0], [0.0, 60, 120, -120, -60])
    tiles = [square(10, longitude) for longitude in (20, 179, -100)]
    latitude, longitude = (np.concatenate(column) for column in zip(*tiles, strict=True))
    colours = figures.cluster_colours(3)
    drawn = figures.map_tiles(axes, latitude, longitude, colours)
    widths = [np.ptp(path.vertices[:, 0]) for path in drawn.get_paths()]
    assert len(widths) == 4
    assert max(widths) < np.ptp(axes.projection.x_limits) / 50
    centres = [path.vertices[:, 0].mean() for path in drawn.get_paths()[1:3]]
    assert np.sign(centres).tolist() in ([1, -1], [-1, 1])
    np.testing.assert_allclose(drawn.get_facecolors(), colours[[0, 1, 1, 2]], atol=1e-9)


def test_tile_around_a_pole_covers_the_pole() -> None:
    latitude, longitude = np.full((1, 4), 88.0), np.array([[0.0, 90, 180, -90]])
    for projection in (projections.ccrs.Robinson(), projections.ccrs.PlateCarree()):
        outlines, rings = projections.place_rings(projection, latitude, longitude)
        top = projections.project(projection, np.array([0.0]), np.array([90.0]))[0, 1]
        assert set(rings.tolist()) == {0}
        assert outlines[..., 1].max() == pytest.approx(top, rel=1e-6)
    polar, _ = projections.place_rings(projections.ccrs.NorthPolarStereo(), latitude, longitude)
    assert polar.shape[0] == 1
    assert np.abs(polar.mean(axis=1)).max() < 1.0  # metres from the pole


@given(st.floats(-85, 85), st.floats(-180, 180), st.integers(-180, 180), st.floats(0.1, 4.0))
def test_no_outline_smears_over_the_map(
    latitude: float, longitude: float, centre: int, size: float
) -> None:
    projection = projections.ccrs.PlateCarree(central_longitude=centre)
    corners = square(latitude, longitude, size)
    outlines, _ = projections.place_rings(projection, *corners)
    assert len(outlines) in (1, 2)
    widths = np.ptp(outlines[..., 0], axis=1)
    assert widths.sum() == pytest.approx(size, abs=0.02 * size + 1e-4)


def test_grid_is_cut_at_the_seam_and_keeps_its_values() -> None:
    _, axes = figures.map_axes([-70.0, 70, 0, 0, 0], [0.0, 60, 120, -120, -60])
    values = np.array([[0.25, 0.5]])
    figures.map_grid(axes, [0, 10], [170, 180, 190], values)
    meshes = [mesh for mesh in axes.collections if hasattr(mesh, "get_coordinates")]
    assert len(meshes) == 2
    assert sorted(float(mesh.get_array().max()) for mesh in meshes) == [0.25, 0.5]
    for mesh in meshes:
        assert np.ptp(mesh.get_coordinates()[..., 0]) < np.ptp(axes.projection.x_limits) / 30


def test_graticule_has_round_degrees() -> None:
    window = projections.Window(-21, -12, 176, 186)
    meridians, parallels = graticule.choose_graticule(window, most_meridians=5, most_parallels=5)
    assert meridians.tolist() == [176, 178, 180, 182, 184, 186]
    assert parallels.tolist() == [-20, -18, -16, -14, -12]


# Sheets, scatter plots and files


def test_sheet_holds_every_tile_where_it_belongs(tmp_path: Path) -> None:
    red, green = (np.zeros((3, 8, 8), dtype=np.uint8) for _ in range(2))
    red[0], green[1] = 255, 255
    figures.tile_sheet(
        [[red, None, green], [green]],
        tmp_path / "sheet.png",
        row_labels=["first", "second"],
        tile_labels=[["a", "", "c"], ["d"]],
        row_colours=figures.cluster_colours(2),
        title="Two rows",
    )
    rgb = imread(tmp_path / "sheet.png")[..., :3]
    shares = [np.isclose(rgb, colour, atol=0.02).all(axis=-1).mean() for colour in np.eye(3)]
    assert shares[0] > 0.05
    assert shares[1] == pytest.approx(2 * shares[0], rel=0.05)
    assert shares[2] == 0


def test_sheet_refuses_unequal_labels(tmp_path: Path) -> None:
    tiles = np.zeros((2, 3, 3, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="2 rows of tiles but 1 row_labels"):
        figures.tile_sheet(tiles, tmp_path / "sheet.png", row_labels=["one"])
    with pytest.raises(ValueError, match=r"sheet\.png was given none"):
        figures.tile_sheet([], tmp_path / "sheet.png", row_labels=[])


@given(st.integers(1, 200), st.integers(2, 12))
def test_thumbnails_never_overlap(n_tiles: int, n_columns: int) -> None:
    positions = np.random.default_rng(n_tiles).normal(size=(n_tiles, 2))
    picked = figures.pick_thumbnails(positions, n_columns=n_columns)
    size, centres, cells = scatter._cells(positions, n_columns)
    assert len(np.unique(picked)) == len(picked)
    assert len(np.unique(cells[picked], axis=0)) == len(picked) == len(np.unique(cells, axis=0))
    assert (np.abs(positions - centres) <= size / 2 * (1 + 1e-9)).all()


def test_figures_are_written_alike_each_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    positions, clusters = rng.normal(size=(50, 2)), np.arange(50) % 4
    picked = figures.pick_thumbnails(positions, n_columns=5)
    tiles = rng.integers(0, 256, (len(picked), 3, 8, 8), dtype=np.uint8)
    written = []
    for folder in (tmp_path / "once", tmp_path / "twice"):
        figures.scatter_clusters(positions, clusters, folder / "clusters.png", n_clusters=5)
        values = np.where(clusters > 0, positions[:, 0], np.nan)
        figures.scatter_values(positions, values, folder / "values.png", label="latitude (°N)")
        figures.thumbnails(
            positions,
            picked,
            tiles,
            folder / "thumbnails.png",
            n_columns=5,
            colours=figures.cluster_colours(5)[clusters[picked]],
        )
        scores = {"accuracy": {"encoder": (0.7, 0.6, 0.8), "pixels": (0.4, 0.3, 0.5)}}
        figures.intervals(scores, folder / "intervals.png", chance=0.25)
        figures.confusion({"encoder": np.eye(3) * 4}, ["a", "b", "c"], folder / "confusion.png")
        band = np.array([[1.0, 2, 3], [0, 1, 2], [2, 3, 4]])
        panels = {"inertia": band[0], "agreement": band}
        figures.curves([9, 10, 11], panels, folder / "curves.png", x_label="k", mark=10)
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert len(written[0]) == 6
    assert written[0] == written[1]
    assert all(b"Software" not in content[:200] for content in written[0].values())


def test_a_figure_of_several_files_is_alike_in_each(tmp_path: Path) -> None:
    def draw() -> Figure:
        figure, ((axes,),) = figures.new(width=3.0)
        axes.plot([0, 1e6], label="a label beside the axes")
        axes.set_ylabel("counts")
        figure.legend(loc="outside right upper")
        return figure

    together = [tmp_path / f"together.{suffix}" for suffix in ("png", "pdf", "svg")]
    figures.save(draw(), *together)
    for path in together:
        alone = path.with_stem("alone")
        figures.save(draw(), alone)
        assert alone.read_bytes() == path.read_bytes()
    once = imread(together[0])
    assert (once[0] == 1).all()  # nothing is cut off …
    assert (once[:, -1] == 1).all()
    assert (once < 0.5).any(axis=(0, 2)).nonzero()[0].max() > once.shape[1] - 40  # … nor far away


def test_plots_refuse_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'encoder' has shape \(2, 2\), but there are 3 labels"):
        figures.confusion({"encoder": np.eye(2)}, ["a", "b", "c"], tmp_path / "confusion.png")
    with pytest.raises(ValueError, match="at least one confusion matrix"):
        figures.confusion({}, ["a"], tmp_path / "confusion.png")
    with pytest.raises(ValueError, match=r"positions \(tile, 2\)"):
        figures.scatter_clusters(
            np.zeros((3, 3)), np.zeros(3, dtype=int), tmp_path / "layout.png", n_clusters=1
        )
