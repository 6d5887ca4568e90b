"""Cloud fields of known morphology, as an imager in geostationary orbit would see them."""

from pipeline.core.synthetic.climatology import EQUAL_HISTOGRAM, MORPHOLOGIES, climatology
from pipeline.core.synthetic.scene import OFF_EARTH, Scene, synthesise_scene

__all__ = [
    "EQUAL_HISTOGRAM",
    "MORPHOLOGIES",
    "OFF_EARTH",
    "Scene",
    "climatology",
    "synthesise_scene",
]
