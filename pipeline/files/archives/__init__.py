"""Granules from public archives: NOAA's open buckets and NASA's Earthdata."""

from pipeline.files.archives.nasa import fetch_nasa
from pipeline.files.archives.noaa import fetch_goes

__all__ = ["fetch_goes", "fetch_nasa"]
