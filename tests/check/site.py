"""The site in Chromium, on a desk and on a phone: every page, every link. Run by `make check`.   site.py FOLDER

Nothing is asked of another host, the browser has nothing to complain about, links lead to pages and places that are
there, and no page is wider than a phone.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

from playwright.sync_api import Browser, Page, sync_playwright

SCREENS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LINKS = "[...document.querySelectorAll('a[href]')].map(a => a.href)"
PLACES = "[...document.querySelectorAll('[id]')].map(e => e.id)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}/"
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        wrong = [fault for screen in SCREENS for fault in look(browser, screen, home, pages)]
        wrong += search(browser, home)
        browser.close()
    print(f"{len(pages)} pages, on {' and '.join(SCREENS)}")
    for fault in wrong:
        print("NOT OK:", fault)
    sys.exit(bool(wrong))


def look(browser: Browser, screen: str, home: str, pages: list[str]) -> list[str]:
    """What is wrong with the pages on a screen."""
    wrong: list[str] = []
    links: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    tab = new_tab(browser, screen, home, wrong)
    for page in pages:
        tab.goto(home + page, wait_until="load")
        links[page], places[page] = set(tab.evaluate(LINKS)), set(tab.evaluate(PLACES))
        width = tab.evaluate("document.documentElement.scrollWidth")
        if width > SCREENS[screen]["width"]:
            wrong.append(f"{page} is {width} pixels wide on a {screen}")
    return wrong + [f"{page}: {link} leads nowhere" for page in pages for link in broken(links[page], places, home)]


def new_tab(browser: Browser, screen: str, home: str, wrong: list[str]) -> Page:
    """A tab that writes down what the browser complains about and what is asked of other hosts."""
    tab = browser.new_context(viewport=SCREENS[screen]).new_page()
    tab.on("console", lambda line: line.type in ("error", "warning") and wrong.append(f"{tab.url}: {line.text}"))
    tab.on("pageerror", lambda error: wrong.append(f"{tab.url}: {error}"))
    tab.on("request", lambda asked: asked.url.startswith((home, "data:", "blob:")) or wrong.append(f"asks {asked.url}"))
    return tab


def broken(links: set[str], places: dict[str, set[str]], home: str) -> list[str]:
    """Links within the site to nothing."""
    return [link for link in sorted(links) if link.startswith(home) and not leads(link.removeprefix(home), places)]


def leads(link: str, places: dict[str, set[str]]) -> bool:
    page, place = map(unquote, urldefrag(link))
    page = page or "index.html"
    if page not in places:
        return Path(sys.argv[1], page).is_file()
    return place in places[page] | {""}


def search(browser: Browser, home: str) -> list[str]:
    """The search finds a function of the reference."""
    wrong: list[str] = []
    tab = new_tab(browser, "desk", home, wrong)
    tab.goto(home)
    tab.click("input[name=query]")
    tab.keyboard.type("directivity_index")
    tab.wait_for_selector(".md-search-result__item a[href*='edgeenhance.beamform']", timeout=20_000)
    return wrong


if __name__ == "__main__":
    main()
