"""Tiles altered at random, each anew, on the device they are on."""

from pipeline.core.augmentation.colours import DIFFERENCES, THERMAL, ColourScale
from pipeline.core.augmentation.geometry import turn_and_flip
from pipeline.core.augmentation.histograms import equalise_members
from pipeline.core.augmentation.recipe import Augmentations, augment, local_crops

__all__ = [
    "DIFFERENCES",
    "THERMAL",
    "Augmentations",
    "ColourScale",
    "augment",
    "equalise_members",
    "local_crops",
    "turn_and_flip",
]
