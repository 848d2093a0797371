"""Pages: HTML files that are complete in themselves. Images are embedded, scripts are forbidden, nothing is fetched.

A page is a template of `templates/` that extends `base.html`. jinja2 escapes every value that a template shows.
"""

import base64
import dataclasses
from pathlib import Path

import jinja2

from emi_jax.files import whole_file

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image to be embedded in a page as data, never as markup, so that an untrusted SVG file cannot run scripts.

    Attributes:
        alt: what it shows, in words.
        content: the file.
        media_type: of the file.
    """

    alt: str
    content: bytes
    media_type: str

    @classmethod
    def svg(cls, alt: str, text: str) -> "Image":
        """A drawing."""
        return cls(alt, text.encode(), "image/svg+xml")

    @classmethod
    def jpeg(cls, alt: str, content: bytes) -> "Image":
        """A picture."""
        return cls(alt, content, "image/jpeg")

    @property
    def source(self) -> str:
        """The `src` of an <img> element."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def render(template: str, title: str, **values: object) -> str:
    """Fills in a template of `templates/`.

    Args:
        template: its file name.
        title: of the page.
        values: what else the template shows.
    """
    return _TEMPLATES.get_template(template).render(title=title, **values)


def write(path: Path, template: str, title: str, **values: object) -> Path:
    """Renders a page and writes it; the file appears complete or not at all."""
    return store(path, render(template, title, **values))


def store(path: Path, text: str) -> Path:
    """Writes a rendered page."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))  # a file's name may hold bytes that are not UTF-8
    return path
