import os

import pytest

from pipeline.files.workers import n_workers, ordered_map


@pytest.mark.parametrize("n", [1, 2, 3])
def test_order_is_kept_whatever_the_workers(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", str(n))
    assert list(ordered_map(str.upper, "abcdefghij")) == list("ABCDEFGHIJ")


def test_default_is_the_cores_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILE2VEC_WORKERS", raising=False)
    assert n_workers() == len(os.sched_getaffinity(0))


@pytest.mark.filterwarnings("ignore")  # the cluster's own, at its end
def test_a_dask_cluster_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        assert list(ordered_map(str.upper, "abc")) == ["A", "B", "C"]
