"""Which label a tile has, from what people marked in its scene."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.tile import BoolArray, IntArray, window_sums

NO_LABEL = -1


def box_masks(
    boxes: IntArray, labels: IntArray, *, n_labels: int, shape: tuple[int, int]
) -> BoolArray:
    """Which pixels of a scene lie in boxes of each label, (label, row, column).

    Args:
        boxes: First row and column, height and width of each, (box, 4); they may overlap.
        labels: Number of each box's label, (box,).
        n_labels: There are.
        shape: Rows and columns of the scene.
    """
    masks = np.zeros((n_labels, *shape), bool)
    for (row, column, height, width), label in zip(boxes, labels, strict=True):
        masks[label, row : row + height, column : column + width] = True
    return masks


def label_tiles(
    masks: BoolArray,
    row: IntArray,
    column: IntArray,
    *,
    tile_size: int,
    min_share: float,
    max_other_share: float,
) -> IntArray:
    """Number of each tile's label, -1 without one, (tile,).

    A tile has a label where at least `min_share` of its pixels are under that label and at most
    `max_other_share` under any other one.

    Args:
        masks: Which pixels are under each label, (label, row, column).
        row: First row of each tile.
        column: First column.
        tile_size: Edge of a tile in pixels.
        min_share: Above one half, so that no two labels have so much.
        max_other_share: Of the pixels.
    """
    shares = np.stack([window_sums(mask, tile_size)[row, column] for mask in masks])
    shares = shares / tile_size**2  # (label, tile)
    label = shares.argmax(axis=0)
    tile = np.arange(len(row))
    own = shares[label, tile].copy()
    shares[label, tile] = 0
    labelled = (own >= min_share) & (shares.max(axis=0) <= max_other_share)
    return np.where(labelled, label, NO_LABEL)


def label_members(
    scene: IntArray,
    row: IntArray,
    column: IntArray,
    *,
    tile_size: int,
    marked_scene: IntArray,
    boxes: IntArray,
    labels: IntArray,
    shape: tuple[int, int],
    min_share: float,
    max_other_share: float,
) -> IntArray:
    """Number of the label of tiles in any scene, -1 without one, (tile,).

    Args:
        scene: Of each tile.
        row: First row of each tile.
        column: First column.
        tile_size: Edge of a tile in pixels.
        marked_scene: Of each box.
        boxes: As of `box_masks`, as are `labels` and `shape`.
        labels: Number of each box's label.
        shape: Rows and columns of a scene.
        min_share: As of `label_tiles`.
        max_other_share: Likewise.
    """
    found: NDArray[np.int64] = np.full(len(scene), NO_LABEL)
    n_labels = int(labels.max()) + 1
    for number in np.intersect1d(scene, marked_scene):
        marked, tiles = marked_scene == number, scene == number
        masks = box_masks(boxes[marked], labels[marked], n_labels=n_labels, shape=shape)
        found[tiles] = label_tiles(
            masks,
            row[tiles],
            column[tiles],
            tile_size=tile_size,
            min_share=min_share,
            max_other_share=max_other_share,
        )
    return found
