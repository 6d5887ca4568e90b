import sys

import numpy as np
import pytest
from cloudmetrics.mask import open_sky as library_open_sky
from cloudmetrics.objects.metrics import iorg as library_iorg
from scipy import ndimage

from pipeline.core import organisation
from pipeline.core.organisation import measure_tiles, pixel_edges_km

EDGE = 64
NONE = np.zeros((EDGE, EDGE), bool)


def _measure(cloudy: np.ndarray, *, smallest_object: int = 1) -> dict[str, float]:
    return organisation.organisation(cloudy, pixel_km=2.0, smallest_object=smallest_object)


def _dots(centres: np.ndarray) -> np.ndarray:
    cloudy = NONE.copy()
    for row, column in centres:
        cloudy[row : row + 2, column : column + 2] = True
    return cloudy


def _random_fields() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=(EDGE, EDGE)), 2)
    return [rng.random((EDGE, EDGE)) < 0.1, smooth > 0.02, smooth[:40] > 0.1]


def _found(metrics: dict[str, float]) -> set[str]:
    return {name for name, value in metrics.items() if np.isfinite(value)}


def test_a_clear_mask_has_but_open_sky() -> None:
    metrics = _measure(NONE)

    assert list(metrics) == list(organisation.ATTRIBUTES)
    assert _found(metrics) == {"number_of_objects", "open_sky"}
    assert metrics["number_of_objects"] == 0
    assert metrics["open_sky"] == 1


def test_an_overcast_mask_is_one_object_without_edges() -> None:
    metrics = _measure(~NONE)

    indices = {"iorg", "iorg_at_random", "iorg_departure", "cop"}
    assert set(metrics) - _found(metrics) == {*indices, "fractal_dimension"}
    assert metrics["number_of_objects"] == 1
    assert metrics["mean_object_length"] == metrics["max_object_length"] == 128
    assert metrics["scai"] == metrics["open_sky"] == metrics["orientation"] == 0


def test_objects_are_measured_in_kilometres() -> None:
    cloudy = NONE.copy()
    cloudy[10:12, 10:18] = True  # 16 pixels
    cloudy[40:44, 40:60] = True  # 80 pixels

    metrics = _measure(cloudy)

    assert metrics["number_of_objects"] == 2
    assert metrics["max_object_length"] == pytest.approx(2 * np.sqrt(80))
    assert metrics["mean_object_length"] == pytest.approx(2 * np.sqrt(48))
    apart = np.hypot(41.5 - 10.5, 49.5 - 13.5)
    # SCAI: 2 of at most 2048 objects, at this distance of 64 pixels, in thousandths.
    assert metrics["scai"] == pytest.approx(1000 * 2 / 2048 * apart / 64)
    radii = (np.sqrt(16) + np.sqrt(80)) / np.sqrt(np.pi)
    assert metrics["cop"] == pytest.approx(radii / apart)
    assert metrics["iorg"] == pytest.approx(np.exp(-2 / EDGE**2 * np.pi * apart**2))


def test_a_line_is_aligned_and_of_dimension_one() -> None:
    cloudy = NONE.copy()
    cloudy[9] = True

    metrics = _measure(cloudy)

    assert metrics["orientation"] == pytest.approx(1)
    assert metrics["fractal_dimension"] == pytest.approx(1)
    assert metrics["open_sky"] == pytest.approx((EDGE - 9) / EDGE)


def test_clumped_objects_have_a_higher_index_than_random_and_regular_ones() -> None:
    rng = np.random.default_rng(1)
    steps = np.stack(np.meshgrid(np.arange(5), np.arange(5)), -1).reshape(-1, 2)

    regular, clumped = (_measure(_dots(3 + step * steps))["iorg"] for step in (12, 3))
    random = np.mean([_measure(_dots(rng.integers(0, 62, (25, 2))))["iorg"] for _ in range(50)])

    assert regular < 0.1
    assert clumped > 0.8
    assert random == pytest.approx(0.45, abs=0.05)  # not 0.5, since objects that meet are one


def test_small_objects_do_not_count() -> None:
    cloudy = _dots(np.array([[10, 10], [30, 40]]))
    noisy = cloudy.copy()
    noisy[50, ::4] = True

    assert _measure(noisy, smallest_object=4) == _measure(cloudy)
    assert _measure(noisy)["number_of_objects"] == 18


def test_objects_around_one_centre_have_no_organisation_potential() -> None:
    cloudy = NONE.copy()
    cloudy[20:29, 20:29] = True
    cloudy[22:27, 22:27] = False
    cloudy[24, 24] = True

    metrics = _measure(cloudy)

    assert np.isnan(metrics["cop"])
    assert metrics["iorg"] == 1


def _discs_at_random(
    n_discs: int, diameter: float, edge: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask of discs anywhere in the tile, apart by a pixel or more; drawn until they do."""
    rows, columns = np.mgrid[:edge, :edge]
    while True:
        centres: list[np.ndarray] = []
        for _ in range(400):
            drawn = rng.uniform(diameter / 2, edge - diameter / 2, 2)
            if all(np.hypot(*(drawn - other)) > diameter + 1 for other in centres):
                centres.append(drawn)
            if len(centres) == n_discs:
                distances = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in centres]
                return np.min(distances, axis=0) <= diameter**2 / 4


@pytest.mark.parametrize(
    ("n_discs", "diameter_km", "index"), [(33, 50.0, 0.2), (4, 210.0, 0.1), (10, 30.0, 0.41)]
)
def test_random_objects_of_any_size_depart_from_random_by_nothing(
    n_discs: int, diameter_km: float, index: float
) -> None:
    """Read against 0.5, discs of 50 and 210 km in 512 km would be regular."""
    rng = np.random.default_rng(6)
    found = [
        organisation.organisation(
            _discs_at_random(n_discs, diameter_km / 4, 128, rng), pixel_km=4.0, smallest_object=4
        )
        for _ in range(40)
    ]
    assert np.mean([each["iorg"] for each in found]) == pytest.approx(index, abs=0.06)
    departure = np.array([each["iorg_departure"] for each in found])
    error = departure.std() / np.sqrt(len(departure))
    assert abs(departure.mean()) < 0.015 + 2 * error


def test_clumped_objects_depart_upwards_and_regular_ones_downwards() -> None:
    steps = np.stack(np.mgrid[:5, :5], axis=-1).reshape(-1, 2)
    regular, clumped = (_measure(_dots(3 + step * steps)) for step in (12, 3))
    assert regular["iorg_departure"] < -0.2
    assert clumped["iorg_departure"] > 0.2


@pytest.mark.parametrize("cloudy", _random_fields())
def test_our_own_formulas_agree_with_cloudmetrics(
    cloudy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = sys.modules[library_iorg.__module__]
    monkeypatch.setattr(library.np, "trapz", np.trapezoid, raising=False)  # gone from numpy 2
    objects = organisation.label_objects(cloudy, 1)

    assert organisation.iorg(objects) == pytest.approx(library_iorg(objects), abs=0.003)
    expected = library_open_sky.py_func(cloudy.astype(int))
    assert organisation.open_sky(cloudy) == pytest.approx(expected)


def test_tiles_with_untold_pixels_have_no_metrics() -> None:
    clouds = np.stack([_dots(np.array([[10, 10], [30, 40]]))] * 2).astype(float)
    clouds[1, 0, 0] = np.nan

    found = measure_tiles(clouds, np.array([2.0, 2.0]), smallest_object=1)

    np.testing.assert_array_equal(found[0], list(_measure(clouds[0] > 0).values()))
    assert np.isnan(found[1]).all()


def test_pixel_edges_come_from_corners_across_the_date_line() -> None:
    degree = 6371.0 * np.pi / 180  # km
    latitude = np.array([[0.5, 0.5, -0.5, -0.5], [60.5, 60.5, 59.5, 59.5]])
    longitude = np.array([[179.5, -179.5, -179.5, 179.5], [10.0, 11.0, 11.0, 10.0]])

    edges = pixel_edges_km(latitude, longitude, tile_size=11)

    np.testing.assert_allclose(edges, [degree / 10, degree / 10 * np.sqrt(0.5)], rtol=1e-4)


@pytest.mark.parametrize("edge", [4, 12, 20])
def test_masks_of_any_size_are_measured(edge: int) -> None:
    cloudy = np.zeros((edge, edge), bool)
    cloudy[: edge // 2, 1] = True

    metrics = _measure(cloudy)

    assert metrics["number_of_objects"] == 1
    assert np.isfinite(metrics["fractal_dimension"]) == (edge >= 8)
