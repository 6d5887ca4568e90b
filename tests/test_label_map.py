import numpy as np
import xarray as xr

from pipeline.core.label_map import map_labels

SHAPE = (6, 8)


def _map(probabilities: np.ndarray, **changes: object) -> xr.Dataset:
    plane = ("row", "column")
    valid = np.ones(SHAPE, bool)
    valid[2, 2] = False
    scene = xr.Dataset(
        {"valid": (plane, valid), "latitude": (plane, np.zeros(SHAPE))},
        coords={
            "longitude": (plane, np.zeros(SHAPE)),
            "time": np.datetime64("2020-02-03T12", "ns"),
            "granule": "g.nc",
            "platform": "P",
        },
    ).set_coords("latitude")
    settings = {"names": ["sugar", "closed cells"], "min_probability": 0.6, "days": ["2020-02-03"]}
    return map_labels(
        scene,
        np.array([[0, 0], [0, 4]]),
        probabilities,
        tile_size=4,
        stride=4,
        **settings | changes,
    )


def test_each_pixel_has_the_label_of_its_tile() -> None:
    product = _map(np.array([[0.7, 0.3], [0.1, 0.9]]))
    assert product.label.values[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(product.label.values[4:], -1)  # no tile
    assert product.label.values[2, 2] == -1  # no pixel
    assert np.isnan(product.probability.values[:, 2, 2]).all()
    np.testing.assert_allclose(product.probability.values[:, 1, 5], [0.1, 0.9], rtol=1e-6)
    assert product.label.attrs["flag_meanings"] == "sugar closed_cells"
    assert product.attrs["day_in_training"] == "yes"
    assert product.attrs["comment"].startswith("100% of the pixels")


def test_an_improbable_label_is_not_given() -> None:
    product = _map(np.array([[0.59, 0.41], [0.4, 0.6]]), days=["2020-02-04"])
    assert product.label.values[0].tolist() == [-1] * 4 + [1] * 4
    np.testing.assert_allclose(product.probability.values[0, 0, 0], 0.59, rtol=1e-6)
    assert product.attrs["day_in_training"] == "no"
