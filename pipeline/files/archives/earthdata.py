"""NASA's Earthdata by way of earthaccess: the account, the search, the download."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.files.archives.attempts import TransientError


def log_in() -> None:
    """Use the account of the environment or of ~/.netrc; nobody is asked for a password."""
    import earthaccess  # slow to import
    from earthaccess.exceptions import LoginAttemptFailure, LoginStrategyUnavailable

    for strategy in ("environment", "netrc"):
        try:
            if earthaccess.login(strategy=strategy).authenticated:
                return
        except LoginStrategyUnavailable:
            continue
        except (LoginAttemptFailure, OSError) as error:
            raise ConnectionError(
                f"Earthdata refuses the account of the {strategy} ({_first_line(error)}); "
                "correct it or try again later"
            ) from error
    raise ValueError(
        "no Earthdata account is known; set EARTHDATA_TOKEN, or add urs.earthdata.nasa.gov to "
        "~/.netrc (fetch.source: nasa needs one)"
    )


def search(product: str, **criteria: Any) -> list[Any]:
    """All granules of a product, as earthaccess describes them."""
    import earthaccess

    try:
        return list(earthaccess.search_data(short_name=product, **criteria))
    except (RuntimeError, OSError) as error:
        raise ConnectionError(
            f"the search for {product} failed ({_first_line(error)}); run the stage again later"
        ) from error


def download(links: Sequence[str], folder: Path, n_parallel: int) -> None:
    """Bring files into `folder`, whole or cut; a name that is there already is skipped."""
    import earthaccess
    from earthaccess.exceptions import EulaNotAccepted

    try:
        earthaccess.download(
            list(links), folder, threads=n_parallel, show_progress=sys.stderr.isatty()
        )
    except EulaNotAccepted as error:
        raise ConnectionError(
            f"Earthdata wants its terms accepted first ({_first_line(error)}); do it at "
            "https://urs.earthdata.nasa.gov"
        ) from error
    except Exception as error:  # of whatever library earthaccess came by the file with
        raise TransientError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
