import numpy as np
import pytest

from pipeline.core.annotation import (
    box_masks,
    choose_labels,
    label_members,
    run_mask,
    tile_shares,
    vote_masks,
)

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
    shares = tile_shares(masks, np.array([0, 4]), np.array([column, column]), tile_size=4)
    found = choose_labels(shares, min_share=min_share, max_other_share=max_other_share)
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


def test_parts_of_boxes_outside_the_scene_are_cut_off() -> None:
    boxes = np.array([[-2, -1, 4, 3], [6, 9, 5, 5], [-5, 0, 3, 3]])
    [mask] = box_masks(boxes, np.zeros(3, int), n_labels=1, shape=SHAPE)
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [6, 9], [7, 9]]


@pytest.mark.parametrize(
    ("agreement", "columns"),
    [(0.01, 8), (1 / 3, 8), (0.34, 6), (2 / 3, 6), (0.67, 0), (1.0, 0)],
)
def test_as_many_volunteers_must_agree_as_asked_for(agreement: float, columns: int) -> None:
    """Of three volunteers one marks 0 to 6 in two boxes, one 2 to 8 and 0 to 2, one nothing."""
    boxes = np.array([[0, 0, 8, 4], [0, 3, 8, 3], [0, 2, 8, 6], [0, 0, 8, 2], [0, 0, 0, 0]])
    found = vote_masks(
        boxes,
        np.array([0, 0, 0, 0, -1]),
        np.array([7, 7, 9, 9, 4]),
        n_labels=2,
        shape=SHAPE,
        agreement=agreement,
    )
    expected = np.zeros((2, *SHAPE), bool)
    expected[0, :, :columns] = True
    np.testing.assert_array_equal(found, expected)


def test_runs_go_down_the_columns_from_one() -> None:
    mask = run_mask(np.array([[3, 3], [12, 1]]), mask_shape=(4, 3), shape=(4, 3))
    assert np.argwhere(mask.T).tolist() == [[0, 2], [0, 3], [1, 0], [2, 3]]


@pytest.mark.parametrize("factor", [2, 3])
def test_a_mask_of_another_size_is_read_at_the_nearest_pixels(factor: int) -> None:
    small = run_mask(np.array([[3, 3], [12, 1]]), mask_shape=(4, 3), shape=(4, 3))
    large = run_mask(np.array([[3, 3], [12, 1]]), mask_shape=(4, 3), shape=(4 * factor, 3 * factor))
    np.testing.assert_array_equal(large, np.kron(small, np.ones((factor, factor), bool)))
    runs = [[1 + factor * 4 * column, factor * 4] for column in range(factor)]  # the first columns
    back = run_mask(np.array(runs), mask_shape=(4 * factor, 3 * factor), shape=(4, 3))
    assert np.argwhere(back)[:, 1].tolist() == [0] * 4


def test_a_run_beyond_its_mask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a run of 3 pixels from 11 leaves a mask of 4 × 3"):
        run_mask(np.array([[11, 3]]), mask_shape=(4, 3), shape=(4, 3))
