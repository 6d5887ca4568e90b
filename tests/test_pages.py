"""Pages filled from templates."""

from pathlib import Path

import jinja2
import pytest

from pipeline.files import pages

CONTENT = {
    "title": "Cards of 0 clusters",
    "subject": "A <script> & more.",
    "overview": {},
    "key_names": [],
    "clusters": [],
    "composites_comment": "",
    "footer": "",
}


def test_text_is_escaped(tmp_path: Path) -> None:
    pages.write_page(tmp_path / "deep/index.html", "report.html", **CONTENT)
    html = (tmp_path / "deep/index.html").read_text(encoding="utf-8")
    assert "A &lt;script&gt; &amp; more." in html
    assert "<script" not in html


def test_missing_content_is_refused(tmp_path: Path) -> None:
    content = {name: text for name, text in CONTENT.items() if name != "footer"}
    with pytest.raises(jinja2.UndefinedError, match="footer"):
        pages.write_page(tmp_path / "index.html", "report.html", **content)
    assert not (tmp_path / "index.html").exists()
