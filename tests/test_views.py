import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from pipeline.core.augmentation import Augmentations, ColourScale
from pipeline.core.objective.choice import Loss, Objective, Views
from pipeline.core.objective.learner import MicroBatch
from pipeline.core.views import ViewMaker, choose_members

NONE = Augmentations(
    flip=0.0,
    quarter_turn=0.0,
    rotation=0.0,
    smallest_crop=1.0,
    largest_crop=1.0,
    view_size=1.0,
    brightness=0.0,
    contrast=0.0,
    temperature=0.0,
    hue=0.0,
    grey=0.0,
    blur=0.0,
    sobel=0.0,
    cut_out=0.0,
)
SCALE = ColourScale(["red", "green"], [0.0, 0.0], [100.0, 100.0])


def _objective(loss: Loss, views: Views = "neighbour", n_crops: int = 0) -> Objective:
    return Objective(
        loss=loss,
        views=views,
        distance="euclidean",
        margin=1.0,
        negatives="distant",
        guard_hours=24.0,
        guard_km=2000.0,
        temperature=0.1,
        redundancy_weight=0.01,
        momentum=0.9,
        queue_length=8,
        n_prototypes=4,
        n_crops=n_crops,
        teacher_weight=1.0,
        local_weight=0.0,
        retain_weight=0.0,
        l2_penalty=0.0,
    )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _members(n_triplets: int, size: int = 16) -> Tensor:
    shape = (n_triplets, 3, 2, size, size)
    return torch.randint(256, shape, generator=_generator(), dtype=torch.uint8)


def _maker(
    objective: Objective, augmentations: Augmentations = NONE, **places: np.ndarray
) -> ViewMaker:
    dimensions = ("triplet", "member")
    return ViewMaker(
        objective=objective,
        augmentations=augmentations,
        equalised_share=0.0,
        scale=SCALE,
        members=xr.Dataset({name: (dimensions, each) for name, each in places.items()}),
        labels=None,
    )


def _views(
    members: Tensor, objective: Objective, augmentations: Augmentations = NONE
) -> tuple[np.ndarray, MicroBatch]:
    triplets = np.arange(len(members))
    neighbours = np.resize([[0, 5], [3, 3], [-7, 0]], (len(members), 2))
    corners = np.stack([np.zeros_like(neighbours), neighbours, neighbours], axis=1)
    maker = _maker(
        objective,
        augmentations,
        first_row=corners[..., 0],
        first_column=corners[..., 1],
        time=np.full(corners.shape[:2], np.datetime64("2020-01-01", "ns")),
        latitude=np.zeros(corners.shape[:2]),
        longitude=np.zeros(corners.shape[:2]),
    )
    chosen = choose_members(len(members), objective, _generator())
    return chosen, maker.make(triplets, members, _generator())


@pytest.mark.parametrize(
    ("loss", "views", "members"),
    [
        ("triplet", "neighbour", [{0}, {1}, {2}]),
        ("triplet", "augmented", [{0}, {0}, {2}]),
        ("triplet", "both", [{0}, {0, 1}, {2}]),
        ("nt_xent", "neighbour", [{0}, {1}]),
        ("byol", "both", [{0}, {0, 1}]),
    ],
)
def test_views_show_the_members_that_were_asked_for(
    loss: Loss, views: Views, members: list[set[int]]
) -> None:
    tiles = _members(60)
    chosen, batch = _views(tiles, _objective(loss, views))
    assert [set(column.tolist()) for column in chosen.T] == members
    assert batch.tiles.shape[1] == _objective(loss, views).n_views
    for triplet, row in enumerate(chosen):
        assert torch.equal(batch.tiles[triplet], tiles[triplet, row])
    if views == "both":
        assert 15 < (chosen[:, 1] == 0).sum() < 45


def test_views_of_one_tile_are_altered_each_for_itself() -> None:
    altered = dataclasses.replace(NONE, smallest_crop=0.3)
    _, batch = _views(_members(5), _objective("nt_xent", "augmented"), altered)
    assert not any(torch.equal(first, second) for first, second in batch.tiles)


@pytest.mark.parametrize("loss", ["swav", "triplet", "dino"])
def test_small_crops_are_seen_too(loss: Loss) -> None:
    _, batch = _views(_members(5, size=64), _objective(loss, n_crops=3))
    assert batch.crops is not None
    assert batch.crops.shape == (5, 3, 2, 32, 32)
    assert _views(_members(5), _objective(loss))[1].crops is None
    with pytest.raises(ValueError, match=r"half a tile of 63 pixels have less than 32; set"):
        _views(_members(2, size=63), _objective(loss, n_crops=1))


def test_pretext_tasks_have_answers() -> None:
    members = _members(6)
    _, turned = _views(members, _objective("rotation"))
    assert turned.targets is not None
    for triplet in range(6):
        for view in (0, 1):
            expected = members[triplet, view].rot90(int(turned.targets[triplet, view]), (1, 2))
            assert torch.equal(turned.tiles[triplet, view], expected)
    _, placed = _views(members, _objective("relative_position"))
    assert placed.targets is not None
    assert placed.targets.tolist() == [0, 1, 6] * 2
    _, grey = _views(members, _objective("colour"))
    assert torch.equal(grey.tiles[:, :, 0], grey.tiles[:, :, 1])
    assert grey.targets is not None
    assert grey.targets.shape == (6, 2, 2 * 64)


@pytest.mark.parametrize(
    ("guard_km", "expected"),
    [
        # 50 hours apart; 50 hours or 80 degrees; 45 hours or 80 degrees
        (2000.0, [[False, True, True], [True, False, True], [True, True, False]]),
        # 5 hours and 80 degrees of longitude, which are 8,900 km
        (10000.0, [[False, True, True], [True, False, False], [True, False, False]]),
    ],
)
def test_the_guard_goes_by_the_hours_and_kilometres_of_the_batch(
    guard_km: float, expected: list[list[bool]]
) -> None:
    hours = np.array([[0, 0, 99], [5, 5, 99], [50, 50, 99]])
    maker = _maker(
        _objective("triplet"),
        time=np.datetime64("2020-01-01", "ns") + hours * np.timedelta64(1, "h"),
        latitude=np.array([[0, 0, 0], [8, 8, 0], [0, 0, 0]], float),
        longitude=np.array([[0, 0, 0], [80, 80, 0], [0, 0, 0]], float),
    )
    objective = dataclasses.replace(maker.objective, guard_km=guard_km)
    guarded = dataclasses.replace(maker, objective=objective)
    found = guarded.may_be_negative(np.array([2, 0, 1]), np.tile(np.arange(3), (3, 1)))
    anchors = np.array([0, 3, 6])  # of triplets 2, 0 and 1
    assert found[np.ix_(anchors, anchors)].tolist() == expected
