"""Where products lie on the disk, of which DVC refuses some only when their stage has run."""

import os
from collections.abc import Iterable
from pathlib import Path


def refuse_links_out_of_the_repository(products: Iterable[Path]) -> None:
    """Raise an error if DVC started the stage and will not take a product behind a link.

    DVC notes products in .gitignore, unless it is told to do without git, and then finds that what
    a link leads to lies elsewhere.

    Raises:
        ValueError: If there is such a product.
    """
    if (root := os.environ.get("DVC_ROOT")) is None:
        return
    for product in products:
        folder = product.parent.resolve()
        if not folder.is_relative_to(Path(root).resolve()) and not _does_without_git(root):
            raise ValueError(
                f"{product.parent} is a link to {folder}, outside of the repository, where DVC "
                "takes no product; run: dvc config --local core.no_scm true"
            )


def _does_without_git(root: str) -> bool:
    from dvc.config import Config  # slow to import

    return bool(Config(str(Path(root, ".dvc")))["core"]["no_scm"])
