"""An S3 bucket as anyone may read it: what it lists and what its objects hold."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, GenericError, InvalidPathError
from obstore.store import S3Store

from pipeline.files.archives.attempts import TransientError

AWS_ENDPOINT = "https://s3.us-east-1.amazonaws.com"
SILENCE_SECONDS = 60  # after which a connection counts as broken
CHUNK_BYTES = 2**16  # at most so many are lost where a connection breaks


@dataclass(frozen=True)
class RemoteFile:
    """An object as its bucket lists it; the size in bytes."""

    key: str
    size: int
    etag: str

    @property
    def md5(self) -> str | None:
        """Checksum of the content, unless it came to the bucket in parts."""
        return self.etag if re.fullmatch("[0-9a-f]{32}", self.etag) else None


class MissingBucketError(Exception):
    """There is no such bucket."""


class VanishedError(Exception):
    """There is no such object."""


class BucketError(Exception):
    """The bucket refuses an answer, whatever the number of attempts."""


def open_bucket(bucket: str, endpoint: str) -> S3Store:
    """A bucket of AWS, or of the S3 server at `endpoint` where that is not empty."""
    return S3Store(
        bucket,
        aws_endpoint_url_s3=endpoint or AWS_ENDPOINT,
        region="us-east-1",
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=SILENCE_SECONDS),
            "read_timeout": timedelta(seconds=SILENCE_SECONDS),
            "timeout": timedelta(days=1),  # of a whole file
        },
        retry_config={"max_retries": 0},  # attempts are ours: logged, and ended by Ctrl-C
    )


def list_prefix(store: S3Store, prefix: str) -> list[RemoteFile]:
    """Objects in the folder `prefix` of keys, at any depth."""
    with _our_errors(prefix):
        pages = obstore.list(store, prefix, chunk_size=1000)
        return [
            RemoteFile(entry["path"], entry["size"], (entry["e_tag"] or "").strip('"'))
            for page in pages
            for entry in page
        ]


def read_chunks(store: S3Store, file: RemoteFile, offset: int) -> Iterator[bytes]:
    """Content of an object from the byte `offset` on."""
    with _our_errors(file.key):
        yield from obstore.get(
            store, file.key, options={"range": {"offset": offset}} if offset else {}
        ).stream(CHUNK_BYTES)


@contextmanager
def _our_errors(name: str) -> Iterator[None]:
    """The library has one error for all that may pass: broken connections, answers like 503."""
    try:
        yield
    except FileNotFoundError as error:
        raise VanishedError(name) from error
    except GenericError as error:
        if "NoSuchBucket" in str(error):
            raise MissingBucketError from error
        raise TransientError(f"{name}: {_first_line(error)}") from error
    except InvalidPathError as error:
        raise ValueError(
            f"{name} holds a key which is refused ({_first_line(error)}); fetch from an archive "
            "which you trust"
        ) from error
    except BaseError as error:
        raise BucketError(f"{name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
