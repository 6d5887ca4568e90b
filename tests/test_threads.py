from contextlib import suppress
from threading import Barrier, BrokenBarrierError

from pipeline.core.threads import keep_latest, sharing_cores


def test_what_is_kept_is_computed_by_one_thread_while_others_wait() -> None:
    computed, meet = [], Barrier(2)

    @keep_latest
    def read(name: str) -> object:
        computed.append(name)
        with suppress(BrokenBarrierError):
            meet.wait(timeout=0.2)  # for another thread, which must not come
        return object()

    with sharing_cores(4) as threads:
        first, *others = threads.map(read, ["a"] * 4)
    assert computed == ["a"]
    assert all(other is first for other in others)


def test_the_latest_result_is_kept_alone() -> None:
    computed = []

    @keep_latest
    def double(number: int) -> int:
        computed.append(number)
        return 2 * number

    assert [double(number) for number in (1, 1, 2, 1)] == [2, 2, 4, 2]
    assert computed == [1, 2, 1]
