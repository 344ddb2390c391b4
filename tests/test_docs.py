"""The site's hooks: docstrings become Markdown, links between files links between pages, argparse a page."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("griffe")

import edgeenhance

ROOT = Path(__file__).resolve().parents[1]


def hook(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/hooks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docstrings, pages = hook("docstrings"), hook("pages")


def linked(markdown, uri):
    return pages.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=uri)))


# ---- docstrings ----


def test_names_and_what_they_are_become_a_list():
    text = docstrings.markdown("Turn it.\n\nx : (n, mics) · look, head_deg : degrees,\n0 = front · y : as x")
    assert text == "Turn it.\n\n- `x` : (n, mics)\n- `look`, `head_deg` : degrees,\n0 = front\n- `y` : as x"


def test_a_sentence_after_names_is_no_part_of_them():
    assert docstrings.markdown("x : (n,)\nReturns (n, 2).\nValueError if odd.") == (
        "- `x` : (n,)\n\nReturns (n, 2).\n\nValueError if odd."
    )


def test_names_may_follow_a_sentence():
    assert docstrings.markdown("One hop. x : (n,) · y : (m,)") == "One hop.\n\n- `x` : (n,)\n- `y` : (m,)"


def test_text_with_a_colon_within_is_text():
    assert docstrings.markdown("Weights w : (F, M), used as y = x.") == "Weights w : (F, M), used as y = x."


def test_listings_stay_as_they_are():
    listing = "    a_b = 1   # *one*\n\n    [room]"
    assert docstrings.markdown("A file:\n\n" + listing) == "A file:\n\n" + listing
    assert docstrings.markdown("Names:\n    read   a_b") == "Names:\n\n    read   a_b"
    assert docstrings.markdown("Names.\n\nread   a_b\nwrite  c") == "Names.\n\n    read   a_b\n    write  c"


def test_what_is_markup_elsewhere_is_not_here_but_code_is():
    assert docstrings.markdown("[0, 1) * a_b <x> `a_b`") == r"\[0, 1) \* a\_b \<x\> `a_b`"


# ---- pages ----


@pytest.mark.parametrize(
    "page, target, expected",
    [
        ("index.md", "docs/live.md", "live.md"),
        ("index.md", "docs/model-format.md#the-program", "model-format.md#the-program"),
        ("index.md", "csrc/enhancer.c", "source/csrc/enhancer.c.md"),
        ("index.md", "simulation/scenes", "source/simulation/scenes/index.md"),
        ("live.md", "../csrc/host/live.c", "source/csrc/host/live.c.md"),
        ("tutorial/live.md", "../live.md", "../live.md"),
        ("tutorial/live.md", "../../README.md", "../index.md"),
        ("source/models/zoo/assist-m/CARD.md", "../../../docs/data.md", "../../../../data.md"),
        ("source/simulation/scenes/index.md", "meeting.toml", "meeting.toml.md"),
        ("live.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("live.md", "not-there.md", "not-there.md"),
    ],
)
def test_links_between_files_are_links_between_pages(page, target, expected):
    assert linked(f"see [it]({target}).", page) == f"see [it]({expected})."


def test_every_command_is_on_the_page_of_the_command_line():
    text = pages._command_line()
    for command in ("enhance", "live", "simulate", "firmware flash", "data synthesize"):
        assert f"## edgeenhance {command}\n" in text and f"usage: edgeenhance {command} " in text
    assert max(map(len, text.splitlines())) <= 90


def test_every_name_of_the_package_leads_to_its_module():
    text, nav = pages._package(), (ROOT / "mkdocs.yml").read_text()
    for name in edgeenhance.__all__:
        module = next(line.split("`")[-2] for line in text.splitlines() if line.startswith(f"| [`{name}`]"))
        assert f"reference/{module}.md" in nav
