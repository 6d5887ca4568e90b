"""Granules written in the true format of MODIS Level 1B and geolocation: MOD021KM with MOD03.

HDF-EOS in HDF4. The reflectances in the file are not divided by the cosine of the solar zenith
angle. The file of observations has places and angles at 5 km of its own, as it does in truth.

Source: MODIS Level 1B Earth View 1 km file specification (MCST, V6.1), and the MODIS Level 1B
Product User's Guide (MCST document PUB-01-U-0202), https://mcst.gsfc.nasa.gov/l1b/documents.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from instruments.responses import white_radiance
from numpy.typing import NDArray
from pyhdf.SD import SD, SDC

from pipeline.core import planck

FloatArray = NDArray[np.floating]

ROWS_PER_SCAN = 10
MAX_COUNT, FILL, ABOVE_RANGE, BELOW_RANGE = 32767, 65535, 65529, 65530
UNUSABLE, UNCERTAINTY_FILL = 15, 255
ANGLE_SCALE, ANGLE_FILL, PLACE_FILL = 0.01, -32767, -999.0
COARSE = slice(2, None, 5)  # of the rows and columns at 1 km, those at 5 km
RADIANCE_UNITS = "Watts/m^2/micrometer/steradian"

BANDS = {  # in each array of the file
    "EV_250_Aggr1km_RefSB": "1,2",
    "EV_500_Aggr1km_RefSB": "3,4,5,6,7",
    "EV_1KM_RefSB": "8,9,10,11,12,13lo,13hi,14lo,14hi,15,16,17,18,19,26",
    "EV_1KM_Emissive": "20,21,22,23,24,25,27,28,29,30,31,32,33,34,35,36",
}
DIMENSIONS = {
    "EV_250_Aggr1km_RefSB": "Band_250M",
    "EV_500_Aggr1km_RefSB": "Band_500M",
    "EV_1KM_RefSB": "Band_1KM_RefSB",
    "EV_1KM_Emissive": "Band_1KM_Emissive",
}
CENTRES_UM = {"1": 0.645, "2": 0.8585, "3": 0.469, "4": 0.555, "5": 1.24, "6": 1.64, "7": 2.13}
REFLECTANCE_SCALES = {  # of one granule; the calibration moves them by some percent
    "1": 5.1327e-5,
    "2": 3.2367e-5,
    "3": 4.0e-5,
    "4": 3.6e-5,
    "5": 3.5e-5,
    "6": 3.5e-5,
    "7": 2.7114e-5,
}
RADIANCE_PACKING = {  # scale in W m-2 um-1 sr-1, offset in counts
    "20": (6.15e-5, 2730.5835),
    "22": (6.9216e-5, 2730.5835),
    "29": (5.3249e-4, 2730.5835),
    "31": (8.40022e-4, 1577.3397),
    "32": (7.29698e-4, 1658.2213),
}
# Effective wavenumber in cm-1, and slope and intercept of the temperature that the band's width
# makes of brightness temperature: Terra, from the spectral responses (University of Wisconsin).
SPECTRAL = {
    "20": (2641.775, 0.9993411, 0.4770532),
    "22": (2518.028, 0.9998584, 0.09757996),
    "29": (1173.190, 0.9995495, 0.1599191),
    "31": (908.0884, 0.9995608, 0.1302699),
    "32": (831.5399, 0.9997256, 0.07181833),
}
PREFIXES = {"Terra": "MOD", "Aqua": "MYD"}


def write_modis(
    folder: Path,
    *,
    bands: Mapping[str, FloatArray],
    latitude: FloatArray,
    longitude: FloatArray,
    solar_zenith: FloatArray,
    solar_azimuth: FloatArray,
    view_zenith: FloatArray,
    view_azimuth: FloatArray,
    start_time: datetime,
    platform: str = "Terra",
) -> list[Path]:
    """Write a granule at 1 km, and return its paths: observations, geolocation.

    Args:
        folder: Where to write; the names follow from the other arguments.
        bands: 1 to 7 as reflectance factors (reflectance times the cosine of the solar zenith
            angle), 20, 22, 29, 31 and 32 in K; shape (row, column), NaN is missing. Values past
            the range of the counts are lost, as they are in truth: band 2 ends at 1.06. All other
            bands are in the file, empty.
        latitude: Degrees, same shape; NaN is missing.
        longitude: Degrees, same shape.
        solar_zenith: Degrees, same shape, as the other angles.
        solar_azimuth: Clockwise from north.
        view_zenith: Of the satellite.
        view_azimuth: Of the satellite.
        start_time: Of the first scan, UTC.
        platform: "Terra" or "Aqua".

    Raises:
        ValueError: If the rows are not whole scans.
    """
    if len(latitude) % ROWS_PER_SCAN:
        raise ValueError(f"{len(latitude)} rows are not whole scans of {ROWS_PER_SCAN} rows")
    folder.mkdir(parents=True, exist_ok=True)
    places = {"Latitude": latitude, "Longitude": longitude}
    angles = {
        "SensorZenith": view_zenith,
        "SensorAzimuth": view_azimuth,
        "SolarZenith": solar_zenith,
        "SolarAzimuth": solar_azimuth,
    }
    paths = []
    for level, hours in (("021KM", 6), ("03", 3)):
        product = PREFIXES[platform] + level
        created = start_time + timedelta(hours=hours)
        path = folder / f"{product}.A{start_time:%Y%j.%H%M}.061.{created:%Y%j%H%M%S}.hdf"
        file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
        for name, metadata in _metadata(product, path.name, platform, start_time).items():
            file.attr(name).set(SDC.CHAR, _as_odl(metadata) + "END\n")
        if level == "021KM":
            file.attr("Number of Scans").set(SDC.INT32, len(latitude) // ROWS_PER_SCAN)
            for name in BANDS:
                _write_bands(file, name, bands, latitude.shape)
            lines, dimensions = COARSE, ("2*nscans", "1KM_geo_dim")
        else:
            lines, dimensions = slice(None), ("nscans*10", "mframes")
        for name, degrees in places.items():
            _write_place(file, name, degrees[lines, lines], dimensions)
        for name, degrees in angles.items():
            _write_angle(file, name, degrees[lines, lines], dimensions)
        file.end()
        paths.append(path)
    return paths


def radiance(band: str, temperature: FloatArray) -> FloatArray:
    """Radiance of a thermal band at a brightness temperature in K, W m-2 um-1 sr-1."""
    wavenumber, slope, intercept = SPECTRAL[band]
    return planck.radiance(1e4 / wavenumber, slope * temperature + intercept)


def _write_bands(
    file: SD, name: str, bands: Mapping[str, FloatArray], shape: tuple[int, ...]
) -> None:
    """An array of bands as scaled integers, and its uncertainty indices."""
    names = BANDS[name].split(",")
    counts = np.full((len(names), *shape), FILL, np.uint16)
    packings = [_packing(band) for band in names]
    for index, band in enumerate(names):
        if band in bands:
            counts[index] = _as_counts(band, bands[band])
    uncertainty = np.where(counts > MAX_COUNT, UNUSABLE, 0).astype(np.uint8)
    uncertainty[counts == FILL] = UNCERTAINTY_FILL
    dimensions = [DIMENSIONS[name], "10*nscans", "Max_EV_frames"]
    attributes: dict[str, tuple[int, Any]] = {
        "long_name": (SDC.CHAR, f"{name} Scaled Integers"),
        "units": (SDC.CHAR, "none"),
        "valid_range": (SDC.UINT16, [0, MAX_COUNT]),
        "band_names": (SDC.CHAR, BANDS[name]),
        "radiance_scales": (SDC.FLOAT32, [scale for scale, _ in packings]),
        "radiance_offsets": (SDC.FLOAT32, [offset for _, offset in packings]),
        "radiance_units": (SDC.CHAR, RADIANCE_UNITS),
    }
    if name != "EV_1KM_Emissive":
        scales = [REFLECTANCE_SCALES.get(band, 1e-5) for band in names]
        attributes["reflectance_scales"] = (SDC.FLOAT32, scales)
        attributes["reflectance_offsets"] = (SDC.FLOAT32, [0.0] * len(names))
        attributes["reflectance_units"] = (SDC.CHAR, "none")
    _write(file, name, SDC.UINT16, counts, dimensions, FILL, attributes)
    attributes = {
        "units": (SDC.CHAR, "none"),
        "valid_range": (SDC.UINT8, [0, UNUSABLE]),
        "uncertainty_units": (SDC.CHAR, "percent"),
    }
    indices = f"{name}_Uncert_Indexes"
    _write(file, indices, SDC.UINT8, uncertainty, dimensions, UNCERTAINTY_FILL, attributes)


def _packing(band: str) -> tuple[float, float]:
    """Scale and offset of the radiance of a band."""
    if band not in CENTRES_UM:
        return RADIANCE_PACKING.get(band, (1e-4, 0.0))
    return REFLECTANCE_SCALES[band] * white_radiance(CENTRES_UM[band]), 0.0


def _as_counts(band: str, values: FloatArray) -> NDArray[np.uint16]:
    if band in SPECTRAL:
        scale, offset = RADIANCE_PACKING[band]
        steps = radiance(band, values) / scale + offset
    else:
        steps = values / REFLECTANCE_SCALES[band]
    counts = np.rint(steps)
    faults = [np.isnan(values), counts > MAX_COUNT, counts < 0]
    return np.select(faults, [FILL, ABOVE_RANGE, BELOW_RANGE], counts).astype(np.uint16)


def _write_place(file: SD, name: str, degrees: FloatArray, dimensions: Sequence[str]) -> None:
    limit = 90.0 if name == "Latitude" else 180.0
    attributes = {
        "units": (SDC.CHAR, "degrees"),
        "valid_range": (SDC.FLOAT32, [-limit, limit]),
    }
    pixels = np.where(np.isnan(degrees), PLACE_FILL, degrees).astype(np.float32)
    _write(file, name, SDC.FLOAT32, pixels, dimensions, PLACE_FILL, attributes)


def _write_angle(file: SD, name: str, degrees: FloatArray, dimensions: Sequence[str]) -> None:
    azimuth = name.endswith("Azimuth")
    attributes = {
        "units": (SDC.CHAR, "degrees"),
        "valid_range": (SDC.INT16, [-18000 if azimuth else 0, 18000]),
        "scale_factor": (SDC.FLOAT64, ANGLE_SCALE),
    }
    turned = (degrees + 180) % 360 - 180 if azimuth else degrees
    counts = np.rint(turned / ANGLE_SCALE)
    pixels = np.where(np.isnan(counts), ANGLE_FILL, np.nan_to_num(counts)).astype(np.int16)
    _write(file, name, SDC.INT16, pixels, dimensions, ANGLE_FILL, attributes)


def _write(
    file: SD,
    name: str,
    kind: int,
    values: NDArray[Any],
    dimensions: Sequence[str],
    fill_value: float,
    attributes: Mapping[str, tuple[int, Any]],
) -> None:
    array = file.create(name, kind, values.shape)
    array.setfillvalue(fill_value)
    for axis, dimension in enumerate(dimensions):
        array.dim(axis).setname(dimension)
    for key, (attribute_kind, value) in attributes.items():
        array.attr(key).set(attribute_kind, value)
    array[:] = values
    array.endaccess()


def _metadata(
    product: str, name: str, platform: str, start_time: datetime
) -> dict[str, dict[str, Any]]:
    """The parts of the three ECS metadata texts that say what, whose and when."""
    end_time = start_time + timedelta(minutes=5)
    inventory = {
        "GROUPTYPE": "MASTERGROUP",
        "ECSDATAGRANULE": {"LOCALGRANULEID": {"NUM_VAL": 1, "VALUE": f'"{name}"'}},
        "COLLECTIONDESCRIPTIONCLASS": {
            "SHORTNAME": {"NUM_VAL": 1, "VALUE": f'"{product}"'},
            "VERSIONID": {"NUM_VAL": 1, "VALUE": 61},
        },
        "RANGEDATETIME": {
            f"RANGE{edge}{part}": {"NUM_VAL": 1, "VALUE": f'"{time:{style}}"'}
            for edge, time in (("BEGINNING", start_time), ("ENDING", end_time))
            for part, style in (("DATE", "%Y-%m-%d"), ("TIME", "%H:%M:%S.%f"))
        },
        "ASSOCIATEDPLATFORMINSTRUMENTSENSOR": {
            "ASSOCIATEDPLATFORMINSTRUMENTSENSORCONTAINER": {
                "CLASS": '"1"',
                **{
                    f"ASSOCIATED{part}SHORTNAME": {
                        "CLASS": '"1"',
                        "NUM_VAL": 1,
                        "VALUE": f'"{value}"',
                    }
                    for part, value in (
                        ("SENSOR", "MODIS"),
                        ("PLATFORM", platform),
                        ("INSTRUMENT", "MODIS"),
                    )
                },
            }
        },
    }
    archive = {
        "GROUPTYPE": "MASTERGROUP",
        "LONGNAME": {"NUM_VAL": 1, "VALUE": f'"Synthetic {product}"'},
    }
    swath = {"SwathName": '"MODIS_SWATH_Type_L1B"'}
    return {
        "CoreMetadata.0": {"INVENTORYMETADATA": inventory},
        "ArchiveMetadata.0": {"ARCHIVEDMETADATA": archive},
        "StructMetadata.0": {"SwathStructure": {"SWATH_1": swath}},
    }


def _as_odl(tree: Mapping[str, Any]) -> str:
    """Nested names as the Object Description Language of ECS metadata."""
    lines = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            kind = "OBJECT" if {"NUM_VAL", "CLASS"} & set(value) else "GROUP"
            lines.append(f"{kind} = {name}\n{_as_odl(value)}END_{kind} = {name}\n")
        else:
            lines.append(f"{name} = {value}\n")
    return "".join(lines)
