"""Label tables: of tiles, and of the boxes and masks that people marked."""

from pipeline.files.labels.marks import Marks, read_marks
from pipeline.files.labels.tiles import Labelled, LabelledTiles, gather_labelled, read_labels

__all__ = [
    "Labelled",
    "LabelledTiles",
    "Marks",
    "gather_labelled",
    "read_labels",
    "read_marks",
]
