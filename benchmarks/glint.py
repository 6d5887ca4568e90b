"""How near to the sun's mirror image clusters of true-colour tiles are clusters of glint.

    python benchmarks/glint.py FOLDER WEIGHTS

FOLDER holds MODIS true-colour GeoTIFFs (bands red, green, blue; tags `platform`, `start_time`)
whose masks show the gaps between swaths, WEIGHTS are of an ImageNet ResNet-18 as of
`classify.imagenet_weights`.
The gaps tell where the satellite flew, and with the local time of its overpass the glint angle of
each pixel. Tiles are clustered by pooled features, again and again without those that have a pixel
nearer to the mirror image than a threshold; what clusters then still tell of the glint angle is
printed, beside how many tiles are left. It takes three minutes on two cores.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from pipeline.core.audit import correlation_ratio, principal_components
from pipeline.core.clustering import assign
from pipeline.core.encoder import create_encoder, pool_tiles
from pipeline.core.kmeans import fit_centroids
from pipeline.core.pretrained import start_from
from pipeline.core.sphere import EARTH_RADIUS_KM
from pipeline.core.viewing import glint_angle, solar_angles

FloatArray = NDArray[np.floating]

ALTITUDE_KM, HALF_SWATH_KM = 705.0, 1165.0  # of Terra and Aqua; scans reach 55 degrees
INCLINATION = 98.2  # degrees
TRACKS = {  # local time where the equator is crossed, azimuth of the satellite east and west of it
    "Terra": (10.5, -1, (281.0, 101.0)),
    "Aqua": (13.5, 1, (259.0, 79.0)),
}
KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180
TILT = np.cos(np.radians(11))  # of the tracks against the meridian
TILE_SIZE, STRIDE, TILES_PER_SCENE, NARROWEST_GAP = 128, 64, 8, 8  # pixels
K = 12
THRESHOLDS = (0, 5, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40)


@dataclass(frozen=True)
class Scene:
    """Colours (channel, row, column), where they were measured, and glint angles in degrees."""

    colour: NDArray[np.uint8]
    seen: NDArray[np.bool_]
    glint: FloatArray


def main(folder: Path, weights: Path) -> None:
    """Print what clusters tell of glint for each threshold."""
    rng = np.random.default_rng(0)
    tiles, nearest, mean = [], [], []
    for scene in read_scenes(folder):
        places = [
            (row, column)
            for row in range(0, scene.seen.shape[0] - TILE_SIZE + 1, STRIDE)
            for column in range(0, scene.seen.shape[1] - TILE_SIZE + 1, STRIDE)
            if scene.seen[row : row + TILE_SIZE, column : column + TILE_SIZE].all()
        ]
        for index in rng.permutation(len(places))[:TILES_PER_SCENE]:
            rows, columns = (slice(first, first + TILE_SIZE) for first in places[index])
            tiles.append(scene.colour[:, rows, columns])
            nearest.append(scene.glint[rows, columns].min())
            mean.append(scene.glint[rows, columns].mean())
    encoder = create_encoder(
        backbone="resnet18", layers=["layer3"], pooling="mean", n_channels=3, seed=0
    )
    start_from(encoder, load_file(weights))
    features = pool_tiles(encoder, np.stack(tiles), device=torch.device("cpu"))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    scores, _, _ = principal_components(features, 0.95)
    points, angles = scores.astype(np.float32), np.array(mean)
    print("| threshold | tiles left | share of the variance of the glint angle between clusters |")
    print("|---|---|---|")
    for threshold in THRESHOLDS:
        left = np.array(nearest) >= threshold
        centroids, _ = fit_centroids(points[left], n_clusters=K, n_starts=4, seed=0)
        clusters, _ = assign(points[left], centroids)
        told = correlation_ratio(angles[left, None], clusters)
        print(f"| {threshold} | {left.mean():.0%} | {told:.3f} |")


def read_scenes(folder: Path) -> Iterator[Scene]:
    """The scenes whose gaps tell where the satellite flew."""
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            bounds, tags, seen = file.bounds, file.tags(), file.dataset_mask() > 0
            longitude = np.linspace(bounds.left, bounds.right, 2 * file.width + 1)[1::2]
            latitude = np.linspace(bounds.top, bounds.bottom, 2 * file.height + 1)[1::2]
            track = track_longitudes(seen, latitude, longitude)
            if np.isfinite(track).mean() > 0.3:
                glint = glint_angles(latitude[:, None], longitude[None], track, tags)
                yield Scene(file.read(), seen & np.isfinite(glint), glint)


def track_longitudes(
    seen: NDArray[np.bool_], latitude: FloatArray, longitude: FloatArray
) -> FloatArray:
    """Longitude of the track below which each pixel was seen, (row, column); NaN where untold."""
    track = np.full(seen.shape, np.nan)
    for row, of_row in enumerate(seen):
        ends = np.flatnonzero(np.diff(np.r_[True, of_row, True]))
        gaps = ends.reshape(-1, 2)
        if not len(gaps) or np.diff(gaps).max() < NARROWEST_GAP:
            continue
        first, behind = gaps[np.diff(gaps)[:, 0].argmax()]
        half = HALF_SWATH_KM / TILT / KM_PER_DEGREE / np.cos(np.radians(latitude[row]))
        if first > 0:
            track[row, :first] = longitude[first - 1] - half
        if behind < len(longitude):
            track[row, behind:] = longitude[behind] + half
    return track


def glint_angles(
    latitude: FloatArray, longitude: FloatArray, track: FloatArray, tags: dict[str, str]
) -> FloatArray:
    """Glint angle of each pixel in degrees, (row, column)."""
    crossing, direction, azimuths = TRACKS[tags["platform"]]
    east = longitude - track
    apart = east * KM_PER_DEGREE * np.cos(np.radians(latitude)) * TILT / EARTH_RADIUS_KM
    below = np.arctan2(
        EARTH_RADIUS_KM * np.sin(np.abs(apart)),
        EARTH_RADIUS_KM + ALTITUDE_KM - EARTH_RADIUS_KM * np.cos(apart),
    )
    view_zenith = np.degrees(below + np.abs(apart))
    along = np.degrees(np.arcsin(np.tan(np.radians(latitude)) / np.tan(np.radians(INCLINATION))))
    utc = crossing + direction * along / 15 + east / 15 - longitude / 15
    midnight = np.datetime64(tags["start_time"][:10], "ns")
    times = midnight + (3600e9 * np.nan_to_num(utc)).astype("m8[ns]")
    places = np.broadcast_arrays(latitude, longitude)
    sun = solar_angles(times, *places)
    return glint_angle(*sun, view_zenith, np.where(east > 0, *azimuths))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
