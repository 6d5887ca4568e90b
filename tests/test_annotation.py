import numpy as np
import pytest

from pipeline.core.annotation import box_masks, label_members, label_tiles

SHAPE = (8, 10)
# Label 0 in two boxes that overlap, label 1 in one that overlaps them by a column.
BOXES = np.array([[0, 0, 4, 4], [0, 2, 4, 4], [0, 5, 4, 4]])
LABELS = np.array([0, 0, 1])


def test_boxes_of_a_label_are_united() -> None:
    masks = box_masks(BOXES, LABELS, n_labels=2, shape=SHAPE)
    assert masks.shape == (2, *SHAPE)
    assert masks[0].sum() == 4 * 6
    assert masks[1].sum() == 4 * 4
    assert masks[0, :4, :6].all()
    assert masks[1, :4, 5:9].all()


@pytest.mark.parametrize(
    ("column", "min_share", "max_other_share", "expected"),
    [
        (0, 1.0, 0.0, 0),  # all of label 0
        (2, 1.0, 0.25, 0),  # all of label 0, and the last of four columns of label 1, too
        (2, 1.0, 0.24, -1),
        (5, 1.0, 0.25, 1),
        (6, 0.75, 0.0, 1),  # three of four columns
        (6, 0.76, 0.0, -1),
    ],
)
def test_a_label_is_given_by_the_shares_of_a_tile(
    column: int, min_share: float, max_other_share: float, expected: int
) -> None:
    masks = box_masks(BOXES, LABELS, n_labels=2, shape=SHAPE)
    found = label_tiles(
        masks,
        np.array([0, 4]),
        np.array([column, column]),
        tile_size=4,
        min_share=min_share,
        max_other_share=max_other_share,
    )
    assert found.tolist() == [expected, -1]  # below the boxes there is nothing


def test_tiles_of_any_scene_have_the_labels_of_their_own() -> None:
    found = label_members(
        np.array([3, 0, 5, 3]),
        np.array([0, 0, 0, 1]),
        np.array([0, 0, 5, 0]),
        tile_size=4,
        marked_scene=np.array([3, 3, 5]),
        boxes=BOXES,
        labels=LABELS,
        shape=SHAPE,
        min_share=0.75,
        max_other_share=0.1,
    )
    assert found.tolist() == [0, -1, 1, 0]
