"""What is wrong with files that cannot be read: no data, a part of it, or sound but lacking."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import rasterio
from netCDF4 import Dataset
from pyhdf.error import HDF4Error  # type: ignore[import-untyped]
from pyhdf.SD import SD  # type: ignore[import-untyped]
from pyproj.exceptions import DataDirError, GeodError, ProjError

from pipeline.files.granules.granule import UnusableGranuleError

NETCDF = (b"\x89HDF\r\n\x1a\n", b"CDF")
HDF4 = (b"\x0e\x03\x13\x01",)
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # either order of bytes, and BigTIFF
HRIT = (b"\x00\x00\x10",)  # a primary header, of 16 bytes
HEADERLESS = (
    b"\x01\x1a\x01",  # Himawari Standard Data: block 1, of 282 bytes
    b"BZh",
    b"\x1f\x8b",  # gzip
    b"FormatNa",  # SEVIRI's native format
)
NAME = re.compile(r"[\w/.-]+")  # of a variable, band or group
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|\?xml)", re.IGNORECASE)
BROKEN = (OSError, RuntimeError, EOFError, HDF4Error, zlib.error, struct.error)
SOUND = (  # of the former those that say nothing of what is in a file
    *(NotImplementedError, RecursionError, FileNotFoundError, PermissionError),
    *(ProjError, GeodError, DataDirError),
)
OF_KNOWN_FORMAT = {".nc", ".nc4", ".h5", ".hdf", ".tif", ".tiff"}


def refuse_what_is_no_data(file: Path) -> None:
    """Raise `UnusableGranuleError` if there is no file, nothing in it or a web page."""
    if not file.is_file():
        kind = "a directory" if file.is_dir() else "a link to nothing, or gone"
        raise UnusableGranuleError("unreadable", f"{file.name} is {kind}")
    if not file.stat().st_size:
        raise UnusableGranuleError("unreadable", f"{file.name} has no content")
    found = PAGE.match(_beginning(file))
    is_xml = found is not None and found[2] == b"?xml"
    if found and not (is_xml and file.suffix == ".xml"):  # which are parts of some granules
        kind = "an XML document" if is_xml else "a web page"
        detail = (
            f"{file.name} is {kind} of the archive's, such as that of a login or an error; log in "
            "and fetch it again"
        )
        raise UnusableGranuleError("unreadable", detail)


def unusable(files: Iterable[Path], error: Exception) -> UnusableGranuleError:
    """What `error`, raised anywhere inside a reader, says of the files that it was to read.

    They are damaged or truncated if they begin as their format does, and then either have no sound
    header or could not be read on; if not, what the error tells is lacking. Files whose header
    cannot be checked are damaged unless the error says nothing of their content.
    """
    line = _first_line(error)
    beginnings = [(file, _beginning(file)) for file in files]
    for file, beginning in beginnings:
        is_known = beginning.startswith((*NETCDF, *HDF4, *TIFF))
        if not is_known and file.suffix.lower() in OF_KNOWN_FORMAT:
            return UnusableGranuleError("unreadable", f"{line} ({file.name} is of no known format)")
    causes = list(_causes(error))
    is_headerless = any(beginning.startswith(HEADERLESS) for _, beginning in beginnings)
    is_excused = any(isinstance(each, SOUND) for each in causes)
    is_damaged = (
        any(map(_is_broken, causes))
        or not all(_has_header(*each) for each in beginnings)
        or (is_headerless and not is_excused)
    )
    return UnusableGranuleError("damaged or truncated" if is_damaged else "unreadable", line)


def _first_line(error: Exception) -> str:
    """What the error says; that of a lookup is a name alone, or already a sentence."""
    text = str(error)
    if isinstance(error, KeyError) and error.args and isinstance(key := error.args[0], str):
        text = f"it has no {key}" if NAME.fullmatch(key) else key
    return next(iter(text.strip().splitlines()), type(error).__name__)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(512)


def _has_header(file: Path, beginning: bytes) -> bool:
    try:
        if beginning.startswith(NETCDF):
            Dataset(file).close()
        elif beginning.startswith(HDF4):
            SD(str(file)).end()
        elif beginning.startswith(TIFF):
            rasterio.open(file).close()
        elif beginning.startswith(HRIT):
            return _is_whole_hrit(file, beginning)
    except BROKEN:
        return False
    return True


def _is_whole_hrit(file: Path, beginning: bytes) -> bool:
    """Whether it is as long as its primary header says (CGMS 03, section 4.2.1)."""
    n_header_bytes, n_bits = struct.unpack(">IQ", beginning[4:16])
    return bool(file.stat().st_size >= n_header_bytes + n_bits // 8)


def _is_broken(error: BaseException) -> bool:
    return isinstance(error, BROKEN) and not isinstance(error, SOUND)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
