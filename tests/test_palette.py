"""Cluster colours: distinguishable by every reader, and the same in every product."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.files.base import palette

FloatArray = NDArray[np.float64]

DEUTERANOPIA = np.array(  # linear RGB; Machado et al. (2009), doi:10.1109/TVCG.2009.113
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
TO_CONES = np.linalg.inv(np.array(palette.CONES_TO_RGB))
TO_OKLAB = np.linalg.inv(np.array(palette.OKLAB_TO_CONES))


def oklab(rgb: FloatArray) -> dict[str, FloatArray]:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return {
        name: np.cbrt(np.clip(linear @ seen.T, 0, 1) @ TO_CONES.T) @ TO_OKLAB.T
        for name, seen in {"all": np.eye(3), "deuteranopia": DEUTERANOPIA}.items()
    }


@pytest.mark.parametrize("n_clusters", [2, 9, 14, 30])
def test_neighbouring_clusters_differ_for_every_reader(n_clusters: int) -> None:
    colours = palette.cluster_colours(n_clusters)
    assert colours.shape == (n_clusters, 4)
    assert ((colours >= 0) & (colours <= 1)).all()
    assert len(np.unique(colours.round(3), axis=0)) == n_clusters
    for name, seen in oklab(colours[:, :3]).items():
        steps = np.linalg.norm(np.diff(seen, axis=0), axis=1)
        assert steps.min() > 0.12, name


def test_nine_clusters_are_told_apart_by_colour_alone() -> None:
    for name, seen in oklab(palette.cluster_colours(9)[:, :3]).items():
        apart = np.linalg.norm(seen[:, None] - seen, axis=-1) + np.eye(9)
        assert apart.min() > 0.08, name


def test_a_number_has_one_colour_whatever_the_number_of_clusters() -> None:
    np.testing.assert_array_equal(palette.cluster_colours(30)[:12], palette.cluster_colours(12))


def test_colours_run_from_warm_to_cold() -> None:
    red, _, blue, _ = palette.cluster_colours(9).T
    assert (red > blue)[:4].all()
    assert (blue > red)[-4:].all()
