"""All that alters tiles, in its order.

Geometry comes first, so that one resampling serves crop and rotation, and what follows acts on
what is seen: contrast on the mean of the crop, blur in the pixels of the result. Sun and
temperature come next, while colours still are measurements. Hue and grey make them none. Blur
precedes Sobel, as gradients amplify the noise that it takes away; cut-out is last, so that its
edges are neither blurred nor found by Sobel.
"""

from dataclasses import dataclass, fields
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from pipeline.core.augmentation.colours import ColourScale, jitter, make_grey, rotate_hue
from pipeline.core.augmentation.draw import draw_between
from pipeline.core.augmentation.geometry import ASPECT, cut, draw_boxes, turn_and_flip
from pipeline.core.augmentation.texture import blur, cut_out, show_gradients

Share = Annotated[float, Field(ge=0, le=1)]

GEOMETRY = ("smallest_crop", "largest_crop", "view_size")  # which do nothing at 1


@dataclass(frozen=True)
class Augmentations:
    """How far tiles are altered; each draws anew.

    Attributes:
        flip: Share of tiles mirrored.
        quarter_turn: Share of tiles turned by a random multiple of 90°, 0 among them; with `flip`
            0.5 and this 1 the eight symmetries of the square are equally likely.
        rotation: Tiles are turned by up to ± so many degrees; corners show their mirror image.
        smallest_crop: Share of a tile's area, from which to `largest_crop` a box is drawn and
            resized; 1 for none.
        largest_crop: Likewise.
        view_size: Edge of what is seen in the end, as a share of the tile's. Smaller views are seen
            faster; boxes about as small as they keep the size of clouds.
        brightness: Of `jitter`.
        contrast: Of `jitter`.
        temperature: Of `jitter`; K.
        hue: Colours are rotated about grey by up to ± so many degrees, whatever they mean; of
            three channels only.
        grey: Share of tiles whose channels of one kind all show their mean.
        blur: Largest standard deviation, pixels.
        sobel: Share of tiles that show the size of their gradients instead.
        cut_out: Largest share of a tile's area that is hidden under its mean colour.
    """

    flip: Share
    quarter_turn: Share
    rotation: Annotated[float, Field(ge=0, le=180)]
    smallest_crop: Annotated[float, Field(gt=0, le=1)]
    largest_crop: Annotated[float, Field(gt=0, le=1)]
    view_size: Annotated[float, Field(ge=0.25, le=1)]
    brightness: Annotated[float, Field(ge=0, lt=1)]
    contrast: Annotated[float, Field(ge=0, lt=1)]
    temperature: NonNegativeFloat
    hue: Annotated[float, Field(ge=0, le=180)]
    grey: Share
    blur: NonNegativeFloat
    sobel: Share
    cut_out: Annotated[float, Field(ge=0, lt=1)]

    @property
    def alter(self) -> bool:
        """Whether there are any."""
        return self.smallest_crop < 1 or any(
            getattr(self, field.name) for field in fields(self) if field.name not in GEOMETRY
        )


def augment(
    tiles: Tensor, scale: ColourScale, augmentations: Augmentations, generator: torch.Generator
) -> Tensor:
    """Tiles as training sees them.

    Args:
        tiles: Square, of colours 0 … 255, shape (tile, channel, row, column).
        scale: Of the channels.
        augmentations: Those at 0, and crops and a view of 1, cost nothing.
        generator: On the CPU, so that every device draws the same; the only source of randomness.

    Returns:
        The same shape but for `view_size`; float32 in 0 … 255, or as it came where tiles are only
        turned by quarters and mirrored.

    Raises:
        ValueError: If hue is to be rotated and there are not three channels.
    """
    tiles = turn_and_flip(
        tiles, generator, flip=augmentations.flip, quarter_turn=augmentations.quarter_turn
    )
    if augmentations.rotation or augmentations.smallest_crop < 1 or augmentations.view_size < 1:
        area = (augmentations.smallest_crop, augmentations.largest_crop)
        size = round(augmentations.view_size * tiles.shape[-1])
        tiles = _cut_at_random(tiles, augmentations, area, 1, size, generator)[:, 0]
    return _alter_colours(tiles, scale, augmentations, generator)


def local_crops(
    tiles: Tensor,
    scale: ColourScale,
    augmentations: Augmentations,
    *,
    n_crops: int,
    size_share: float,
    area: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Small tiles that each show a part of a tile, altered like any.

    Args:
        tiles: As of `augment`.
        scale: Of the channels.
        augmentations: As of `augment`, but for `smallest_crop`.
        n_crops: Of each tile.
        size_share: Edge of a crop's result, as a share of the tile's.
        area: Smallest and largest share of the tile's area that a crop shows.
        generator: As of `augment`.

    Returns:
        As of `augment`, shape (tile, crop, channel, row, column).

    Raises:
        ValueError: If a crop would be shrunk so far that pixels are left out, or as of `augment`.

    Source: Caron et al. (2020), arXiv:2006.09882.
    """
    shrinking = (area[1] * ASPECT) ** 0.5 / size_share
    if shrinking > 2:
        raise ValueError(
            f"a crop of {area[1]} of a tile's area, shown at {size_share} of its edge, is shrunk "
            f"{shrinking:.1f} times, which leaves pixels out beyond 2; lower the area or raise "
            "the size"
        )
    size = round(size_share * tiles.shape[-1])
    crops = _cut_at_random(tiles, augmentations, area, n_crops, size, generator).flatten(0, 1)
    # Each crop is turned by itself, which turning the tile would not do.
    crops = turn_and_flip(
        crops, generator, flip=augmentations.flip, quarter_turn=augmentations.quarter_turn
    )
    crops = _alter_colours(crops, scale, augmentations, generator)
    altered: Tensor = crops.unflatten(0, (len(tiles), n_crops))
    return altered


def _cut_at_random(
    tiles: Tensor,
    augmentations: Augmentations,
    area: tuple[float, float],
    n_crops: int,
    size: int,
    generator: torch.Generator,
) -> Tensor:
    """Boxes of each tile, turned by any angle, (tile, crop, channel, row, column)."""
    shape = (len(tiles), n_crops)
    centres, edges = draw_boxes(shape, area=area, generator=generator)
    angles = augmentations.rotation * draw_between(shape, generator)
    return cut(tiles, centres, edges, angles, size=size)


def _alter_colours(
    tiles: Tensor, scale: ColourScale, augmentations: Augmentations, generator: torch.Generator
) -> Tensor:
    """All but geometry."""
    if augmentations.brightness or augmentations.contrast or augmentations.temperature:
        tiles = jitter(
            tiles,
            scale,
            brightness=augmentations.brightness,
            contrast=augmentations.contrast,
            temperature=augmentations.temperature,
            generator=generator,
        )
    if augmentations.hue:
        tiles = rotate_hue(tiles, degrees=augmentations.hue, generator=generator)
    if augmentations.grey:
        tiles = make_grey(tiles, scale, share=augmentations.grey, generator=generator)
    if augmentations.blur:
        tiles = blur(tiles, largest=augmentations.blur, generator=generator)
    if augmentations.sobel:
        tiles = show_gradients(tiles, share=augmentations.sobel, generator=generator)
    if augmentations.cut_out:
        tiles = cut_out(tiles, largest=augmentations.cut_out, generator=generator)
    return tiles
