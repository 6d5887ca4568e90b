"""Reports as HTML that opens from disk, without a network or scripts."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **content: object) -> None:
    """Fill `template`, a file of the folder templates, with `content`.

    Raises:
        jinja2.UndefinedError: If the template names what `content` lacks.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template(template).render(content), encoding="utf-8")
