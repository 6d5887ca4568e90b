"""Granules as the default parameters find them."""

from functools import partial
from pathlib import Path

import yaml

from pipeline.files import granules

PARAMS = Path(__file__).parents[2] / "params.yaml"
READERS = yaml.safe_load(PARAMS.read_text())["fetch"]["readers"]
find_granules = partial(granules.find_granules, readers=READERS)
