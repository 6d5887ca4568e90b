"""What the product asks of earthaccess, answered from the folder `EARTHDATA_STAND_IN`."""

import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

URL = "https://data.laadsdaac.earthdatacloud.nasa.gov/prod-lads"


class Result(dict[str, Any]):
    """A granule as a search finds it."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        entry = {"Name": path.name, "SizeInBytes": path.stat().st_size}
        data = {"DayNightFlag": "Day", "ArchiveAndDistributionInformation": [entry]}
        super().__init__(umm={"GranuleUR": path.name, "DataGranule": data})

    def data_links(self) -> list[str]:
        return [f"{URL}/{self.name}"]

    def size(self) -> float:
        return 1.0


def _folder() -> Path:
    return Path(os.environ["EARTHDATA_STAND_IN"])


def login(strategy: str) -> SimpleNamespace:
    return SimpleNamespace(authenticated=strategy == "environment")


def search_data(short_name: str, temporal: tuple[datetime, datetime], **_: Any) -> list[Result]:
    def start(path: Path) -> datetime:
        return datetime.strptime("".join(path.name.split(".")[1:3]), "A%Y%j%H%M")

    found = sorted(_folder().glob(f"{short_name}.*"))
    return [Result(path) for path in found if temporal[0] <= start(path) <= temporal[1]]


def download(links: Sequence[str], folder: Path, **_: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for link in links:
        name = link.rpartition("/")[2]
        shutil.copy(_folder() / name, folder / name)
