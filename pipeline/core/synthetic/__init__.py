"""Cloud fields of known morphology, as an imager in geostationary orbit would see them."""

from pipeline.core.synthetic.climatology import (
    EQUAL_HISTOGRAM,
    MORPHOLOGIES,
    UNSEEN,
    climatology,
)
from pipeline.core.synthetic.scene import OFF_EARTH, Scene, synthesise_scene

__all__ = [
    "EQUAL_HISTOGRAM",
    "MORPHOLOGIES",
    "OFF_EARTH",
    "UNSEEN",
    "Scene",
    "climatology",
    "synthesise_scene",
]
