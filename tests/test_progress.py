import logging

import pytest

from pipeline.files.progress import progress


def test_items_pass_and_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5), "count", unit="items")) == [0, 1, 2, 3, 4]
    assert "count: 100% 5/5" in caplog.messages[-1]
    assert "items/s" in caplog.messages[-1]
