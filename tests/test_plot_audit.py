from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import plot_audit
from pipeline.core import audit_product
from pipeline.core.audit_product import BEST, DIFFERENCE
from pipeline.core.other_days import Explained
from pipeline.core.representations import OWN, STATISTICS, Representation
from pipeline.files import figures as draw
from pipeline.files import stores

SHARES = {
    (OWN, "mean temperature"): Explained(0.3, 0.2, 0.4),
    (OWN, "latitude"): Explained(-0.2, -0.3, 0.1),
    (OWN, "colour"): Explained(0.3, 0.2, 0.4),
    (OWN, "place and time"): Explained(-0.2, -0.3, 0.1),
    (OWN, "all factors"): Explained(0.4, 0.3, 0.5),
    (OWN, BEST): Explained(0.4, 0.3, 0.5),
}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit of clusters for k = 4 and 5, of which the latter are explained fully."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3))
    clusters = {k: (np.arange(40) % k, features[:k]) for k in (4, 5)}
    representations = {name: Representation(features, clusters) for name in (OWN, STATISTICS)}
    factors = {"brightness_temperature": features[:, :1], "latitude": features[:, 1:2]}
    explained = {
        (representation, name): {
            ("clusters", 4): share,
            ("clusters", 5): Explained(1.0, 1.0, 1.0),
            ("components", 1): share,
            ("components", 2): share,
            ("embedding", 0): share,
            (DIFFERENCE, 4): Explained(0.0, 0.0, 0.0),
            (DIFFERENCE, 5): Explained(0.0, 0.0, 0.0),
        }
        for representation in representations
        for (_, name), share in SHARES.items()
    }
    product = audit_product.assemble(explained, representations, factors)
    folder = tmp_path_factory.mktemp("audit")
    stores.write_product(product, folder / "audit.nc", None)
    return folder


def test_every_figure_is_drawn(audit: Path, toy_clusters: Path, tmp_path: Path) -> None:
    plot_audit.run(audit, toy_clusters, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "components.png",
        "correlation_ratio.png",
        "explained.png",
    ]


def test_shares_are_those_of_the_recommended_k_and_what_is_left(
    audit: Path, toy_clusters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(draw, "intervals", lambda panels, *_, **__: drawn.append(panels))

    plot_audit.run(audit, toy_clusters, tmp_path)

    [panels] = drawn
    assert list(panels) == [OWN, STATISTICS]
    assert panels[OWN]["mean temperature"] == (0.3, 0.2, 0.4)
    assert panels[OWN]["latitude"] == (0.0, 0.0, 0.1)
    assert panels[OWN]["what is left"] == pytest.approx((0.6, 0.5, 0.7))
