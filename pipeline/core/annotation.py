"""Which label a tile has, from what people marked in its scene."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.core.tile import BoolArray, FloatArray, IntArray, window_sums

NO_LABEL = -1
ROUNDING = 1e-9  # two thirds of three volunteers are two


def box_masks(
    boxes: IntArray, labels: IntArray, *, n_labels: int, shape: tuple[int, int]
) -> BoolArray:
    """Which pixels of a scene lie in boxes of each label, (label, row, column).

    Args:
        boxes: First row and column, height and width of each, (box, 4); they may overlap, and
            parts outside the scene are cut off.
        labels: Number of each box's label, (box,).
        n_labels: There are.
        shape: Rows and columns of the scene.
    """
    masks = np.zeros((n_labels, *shape), bool)
    for (row, column, height, width), label in zip(boxes, labels, strict=True):
        rows = slice(max(row, 0), max(row + height, 0))
        masks[label, rows, max(column, 0) : max(column + width, 0)] = True
    return masks


def vote_masks(
    boxes: IntArray,
    labels: IntArray,
    volunteers: IntArray,
    *,
    n_labels: int,
    shape: tuple[int, int],
    agreement: float,
) -> BoolArray:
    """Which pixels of a scene enough of its volunteers marked with each label.

    Boxes of one volunteer and label are united, so that each has one vote on a pixel.

    Args:
        boxes: As of `box_masks`.
        labels: Number of each box's label, -1 for none, (box,).
        volunteers: Who marked it, (box,); all who looked at the scene.
        n_labels: There are.
        shape: Rows and columns of the scene.
        agreement: Share of the volunteers that is enough, above 0.

    Returns:
        Shape (label, row, column).
    """
    votes = np.zeros((n_labels, *shape), np.int64)
    present = np.unique(volunteers)
    for volunteer in present:
        own = (volunteers == volunteer) & (labels != NO_LABEL)
        votes += box_masks(boxes[own], labels[own], n_labels=n_labels, shape=shape)
    enough = max(1, math.ceil(agreement * len(present) - ROUNDING))
    return np.asarray(votes >= enough)


def run_mask(runs: IntArray, *, mask_shape: tuple[int, int], shape: tuple[int, int]) -> BoolArray:
    """Which pixels of a scene lie in a run-length mask, (row, column).

    Pixels are counted from 1, down the columns; a scene of another size has the nearest ones.

    Args:
        runs: First pixel and length of each, (run, 2).
        mask_shape: Rows and columns that they count.
        shape: Rows and columns of the scene.

    Raises:
        ValueError: If a run leaves the mask.

    >>> run_mask(np.array([[1, 2], [6, 1]]), mask_shape=(3, 2), shape=(3, 2)).astype(int)
    array([[1, 0],
           [1, 0],
           [0, 1]])
    """
    mask = np.zeros(mask_shape[0] * mask_shape[1], bool)
    for first, length in runs - [1, 0]:
        if first + length > len(mask):
            raise ValueError(
                f"a run of {length} pixels from {first + 1} leaves a mask of {mask_shape[0]} × "
                f"{mask_shape[1]} pixels; correct label.mask_shape"
            )
        mask[first : first + length] = True
    row, column = (
        ((np.arange(length) + 0.5) * of_mask / length).astype(np.int64)
        for length, of_mask in zip(shape, mask_shape, strict=True)
    )
    return mask.reshape(mask_shape, order="F")[np.ix_(row, column)]


def tile_shares(masks: BoolArray, row: IntArray, column: IntArray, *, tile_size: int) -> FloatArray:
    """Share of each tile's pixels under each label, (label, tile).

    Args:
        masks: Which pixels are under each label, (label, row, column).
        row: First row of each tile.
        column: First column.
        tile_size: Edge of a tile in pixels.
    """
    sums = np.stack([window_sums(mask, tile_size)[row, column] for mask in masks])
    return np.asarray(sums / tile_size**2)


def choose_labels(shares: FloatArray, *, min_share: float, max_other_share: float) -> IntArray:
    """Number of each tile's label, -1 without one, (tile,).

    A tile has a label where at least `min_share` of its pixels are under that label and at most
    `max_other_share` under any other one.

    Args:
        shares: Of `tile_shares`, (label, tile).
        min_share: Above one half, so that no two labels have so much.
        max_other_share: Of the pixels.
    """
    label = shares.argmax(axis=0)
    tile = np.arange(shares.shape[1])
    others = shares.copy()
    others[label, tile] = 0
    labelled = (shares[label, tile] >= min_share) & (others.max(axis=0) <= max_other_share)
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
        min_share: As of `choose_labels`.
        max_other_share: Likewise.
    """
    found: NDArray[np.int64] = np.full(len(scene), NO_LABEL)
    n_labels = int(labels.max()) + 1
    for number in np.intersect1d(scene, marked_scene):
        marked, tiles = marked_scene == number, scene == number
        masks = box_masks(boxes[marked], labels[marked], n_labels=n_labels, shape=shape)
        shares = tile_shares(masks, row[tiles], column[tiles], tile_size=tile_size)
        found[tiles] = choose_labels(shares, min_share=min_share, max_other_share=max_other_share)
    return found
