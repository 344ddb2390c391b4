"""Docstrings as Markdown.

They are plain text: paragraphs, indented listings, and lines of

    x : (n, mics) float32, full scale ±1 · look : degrees, 0 = front

which become a list. Nothing else in them is meant as markup, but `code`.
"""

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

import griffe

_NAMES = r"[A-Za-z_][\\\w.]*(?:, [A-Za-z_][\\\w.]*)*"  # underscores are escaped by then
_ITEM = re.compile(rf"(?:^|(?<= · )|(?<=\. ))({_NAMES}) : ", re.M)
_SENTENCE = re.compile(r"\n(?=(?:Returns|Raises|Yields|Warns|Source|[A-Z]\w*Error)\b)")
_COLUMNS = re.compile(r"^\S.* {3,}\S", re.M)  # a listing that lost its indentation with the docstring's
_MARKUP = re.compile(r"(`[^`]*`)|([\\*_\[\]<>#])")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is rendered; a function without one is shown by its signature."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
        elif obj.is_function or "property" in obj.labels:
            obj.docstring = griffe.Docstring("", parent=obj)


def markdown(docstring: str) -> str:
    """A docstring, its indentation taken away, as Markdown."""
    return "\n\n".join(block for paragraph in re.split(r"\n\s*\n", docstring) for block in _blocks(paragraph))


def _blocks(paragraph: str) -> Iterator[str]:
    if _COLUMNS.search(paragraph):
        paragraph = textwrap.indent(paragraph, "    ")
    for listing, lines in groupby(paragraph.split("\n"), lambda line: line.startswith("    ")):
        if listing:
            yield "\n".join(lines)
        else:
            yield from map(_text, _SENTENCE.split("\n".join(lines)))


def _text(paragraph: str) -> str:
    """Running text, or a list if it begins so."""
    before, *items = _ITEM.split(_escaped(paragraph))
    listed = [f"- {_code(names)} : {text.strip().removesuffix(' ·')}" for names, text in zip(items[::2], items[1::2])]
    return "\n\n".join(part for part in (before.strip().removesuffix(" ·"), "\n".join(listed)) if part)


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.replace("\\", "").split(", "))


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda match: match[1] or "\\" + match[2], text)
