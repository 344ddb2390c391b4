"""Pages of the site that are no files in docs/, and the links to them.

    index.md             README.md
    source/PATH          any other file of the repository that a page links to, or that mkdocs.yml names: Markdown as a
                         page, other text as a listing, a folder as a list, the rest as it is
    reference/cli.md     the command line, as argparse knows it
    reference/NAME.md    a Python module by its docstrings (mkdocstrings)

Pages link to files as they lie in the repository; here these become links to pages.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.lexers import find_lexer_class_for_filename

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)\s#:]+)(?=[)#])")  # in [text](target#anchor): the target, if it is no address
WHOLE = (".png", ".gz")  # not shown as text
ROOMS = {"": "src/edgeenhance", "simulation": "simulation", "models": "models"}


def on_startup(**_: object) -> None:
    """Lay out the rooms as the package they are once installed: docstrings are read from files, nothing is imported."""
    shutil.rmtree(ROOT / "build/docs", ignore_errors=True)
    for name, room in ROOMS.items():
        folder = ROOT / "build/docs/edgeenhance" / name
        folder.mkdir(parents=True)
        for path in (ROOT / room).glob("*.py"):
            (folder / path.name).symlink_to(path)


def on_files(files: Files, config: MkDocsConfig) -> None:
    for uri in _leaves(config.nav):
        if uri.startswith("reference/"):
            files.append(File.generated(config, uri, content=_reference(Path(uri).stem)))
        elif uri.startswith("source/") or uri == "index.md":
            _add(files, config, _path(uri))
    for page in list(files.documentation_pages()):
        for target in _targets(page.content_string, _path(page.src_uri)):
            _add(files, config, target)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links between files of the repository become links between pages."""
    here = _path(page.file.src_uri)

    def link(match: re.Match) -> str:
        target = _inside(here, match[2])
        return match[1] + (os.path.relpath(_uri(target), os.path.dirname(page.file.src_uri)) if target else match[2])

    return LINK.sub(link, markdown)


# ---- files of the repository ----


def _uri(path: Path) -> str:
    """Where a file of the repository is in the site, before Markdown becomes HTML."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if path.is_dir():
        return f"source/{name}/index.md"
    return f"source/{name}" + ("" if path.suffix in (".md", *WHOLE) else ".md")


def _path(uri: str) -> Path:
    """The other way round."""
    if uri == "index.md":
        return ROOT / "README.md"
    if not uri.startswith("source/"):
        return ROOT / "docs" / uri
    path = ROOT / uri.removeprefix("source/")
    return path if path.exists() else path.parent if path.name == "index.md" else path.with_suffix("")


def _inside(page: Path, target: str) -> Path | None:
    """The file or folder of the repository that a link on a page leads to, if there is one."""
    path = Path(os.path.normpath((page if page.is_dir() else page.parent) / target))
    return path if path.is_relative_to(ROOT) and path.exists() else None


def _targets(markdown: str, page: Path) -> list[Path]:
    return [path for match in LINK.finditer(markdown) if (path := _inside(page, match[2]))]


def _add(files: Files, config: MkDocsConfig, path: Path) -> None:
    """Add a file of the repository, and what it links to."""
    uri = _uri(path)
    if files.get_file_from_path(uri):
        return
    if path.suffix in WHOLE:
        files.append(File.generated(config, uri, abs_src_path=str(path)))
        return
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else _listing(path)
    files.append(File.generated(config, uri, content=text))
    for target in _targets(text, path) if path.suffix == ".md" or path.is_dir() else ():
        _add(files, config, target)


def _listing(path: Path) -> str:
    title = f"# {path.relative_to(ROOT)}\n\n"
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir() if child.name[0] not in "._")
        return title + "".join(f"- [{name}]({name})\n" for name in names)
    lexer = find_lexer_class_for_filename(path.name)
    text = path.read_text(encoding="utf-8")
    return f"{title}~~~~~~ {lexer.aliases[0] if lexer else 'text'}\n{text}\n~~~~~~\n"


# ---- reference ----


def _leaves(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for entry in (nav.values() if isinstance(nav, dict) else nav) for leaf in _leaves(entry)]


def _reference(name: str) -> str:
    if name == "cli":
        return _command_line()
    if name == "edgeenhance":
        return _package()
    return f"# {name}\n\n::: {name}\n"


def _package() -> str:
    """What `import edgeenhance` brings, and where it is explained."""
    tree = ast.parse((ROOT / ROOMS[""] / "__init__.py").read_text(encoding="utf-8"))
    found = [
        (alias.name, node.module) for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    rows = [f"| [`{name}`][edgeenhance.{module}.{name}] | `edgeenhance.{module}` |" for name, module in sorted(found)]
    return "\n".join(["# edgeenhance", "", ast.get_docstring(tree), "", "| name | from |", "|---|---|", *rows, ""])


def _command_line() -> str:
    """Every command's --help, as on a terminal of 90 columns."""
    from edgeenhance.cli import parser

    with mock.patch.dict(os.environ, COLUMNS="90", NO_COLOR="1"):
        return "# Command line\n\n" + "\n".join(_helps(parser()))


def _helps(parser: argparse.ArgumentParser) -> list[str]:
    """The help of a command and of the commands under it, one section each."""
    text = [f"## {parser.prog}\n\n~~~ text\n{parser.format_help()}~~~\n"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            text += [section for command in action.choices.values() for section in _helps(command)]
    return text
