"""The report: what the page says, that it needs nothing but itself, and that it works in a browser."""

import copy
import json
import os
import re
import shutil
import time
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("pyroomacoustics")
pytest.importorskip("matplotlib")
sf = pytest.importorskip("soundfile")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.simulation import pictures, report  # noqa: E402
from edgeenhance.simulation.evaluate import summarize  # noqa: E402
from edgeenhance.simulation.plan import Plan  # noqa: E402
from edgeenhance.simulation.report import write_report  # noqa: E402

RATE, SECONDS = 16000, 4.0
NOISY, BEAM, OURS = SYSTEMS = ["noisy", "superdirective", "mvdr+assist-m"]
TONES = {"clean": 400, NOISY: 800, BEAM: 1200, OURS: 1600}  # Hz: what is heard tells which sound it is
SUITE = f"""
title = "Two places"
systems = {json.dumps(SYSTEMS)}
metrics = ["pesq", "si_sdr", "artifact_score"]
[draw]
count = 1
[defaults]
array = {{name = "bte-2x2"}}
talkers = [{{distance_m = 1.0}}]
[sweep]
snr_db = [-5, 10]
[gate]
systems = ["{OURS}"]
[gate.improvement]
pesq = 0.1
[gate.at_most]
artifact_score = 0.3
"""
# name: snr_db, PESQ, SI-SDR and artifact score of each system
SCENES = {
    "hall+snr_db=-5": (-5, [1.2, 1.26, 1.5], [-5.2, -4.1, 3.0], [0.0, 0.1, 0.6]),
    "cafe+snr_db=10": (10, [1.5, 1.4, 2.4], [9.1, 9.5, 12.5], [0.0, 0.1, 0.4]),
    "cafe+snr_db=-5": (-5, [1.1, 1.3, 1.8], [-4.9, -3.5, 2.5], [0.0, 0.1, 0.5]),
    "hall+snr_db=10": (10, [1.6, 1.9, 2.6], [8.8, 9.9, 10.5], [0.0, 0.1, 0.3]),
}
FAILED = "street+snr_db=10"
NASTY = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>&amp;{{ 7 * 7 }}"


def scene(name, snr_db, scores=(), **more):
    rows = {
        system: dict(zip(("pesq", "si_sdr", "artifact_score"), values)) for system, *values in zip(SYSTEMS, *scores)
    }
    facts = {"snr_db": snr_db, "rt60_s": 0.4, "competing": False}
    return {
        "name": name,
        "facts": facts,
        "error": None,
        "rows": rows,
        "reasons": [],
        "audio": {},
        "pictures": {},
        **more,
    }


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """What `evaluate` makes of four scenes and a failed one, without sounds and pictures."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "suite.toml").write_text(SUITE)
    scenes = [scene(name, snr, scores) for name, (snr, *scores) in SCENES.items()]
    scenes.append(scene(FAILED, 10, error="EdgeEnhanceError: there is no program 'mine'"))
    return summarize(Plan.load(folder / "suite.toml"), scenes, "edgeenhance evaluate suite.toml -o report")


@pytest.fixture
def results(example):
    return copy.deepcopy(example)


@pytest.fixture(scope="module")
def listened(example, tmp_path_factory):
    """A folder with sounds, one of them missing, and pictures; its report is written."""
    folder, results = tmp_path_factory.mktemp("report"), copy.deepcopy(example)
    t = np.arange(int(SECONDS * RATE)) / RATE
    sounds = {name: 0.3 * np.sin(2 * np.pi * hertz * t) for name, hertz in TONES.items()}
    for number, entry in enumerate(results["scenes"][:4]):
        place = folder / "cases" / str(number)
        place.mkdir(parents=True)
        for name, sound in sounds.items():
            path = place / f"{name}.ogg"
            sf.write(path, sound.astype(np.float32), RATE, format="OGG", subtype="OPUS")
            entry["audio"][name] = str(path.relative_to(folder))
        for name, draw in (("waveforms", pictures.waveforms), ("spectrograms", pictures.spectrograms)):
            path = pictures.save_picture(draw({k: sounds[k] for k in ("clean", NOISY)}, RATE), place / name)
            entry["pictures"][name] = str(path.relative_to(folder))
    (folder / results["scenes"][3]["audio"][BEAM]).unlink()
    results["scenes"][3]["reasons"] = ["superdirective: PESQ (WB) is NaN: no utterance found"]
    return written(folder, results)


def written(folder, results):
    """The report of a folder with these results."""
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return write_report(folder)


class Page(HTMLParser):
    """elements : (tag, attributes) · rows : cells' text, by table row · text : all of it · data : JSON by id"""

    def __init__(self, path):
        super().__init__()
        self.elements, self.rows, self.data = [], [], {}
        self._inside, self._words, self._classes = None, [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = " ".join(" ".join(self._words).split())
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self._inside = attributes.get("id", tag) if tag in ("script", "style") else None
        if tag == "tr":
            self.rows.append([])
            self._classes.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._classes[-1].append(attributes.get("class", "").split())

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.data[self._inside] = json.loads(data) if self._inside not in ("script", "style") else data
            return
        self._words.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def row(self, start, number=0):
        """Of the rows that start with this cell, one."""
        return [row for row in self.rows if row and row[0] == start][number]

    def changes(self, system):
        """ "gain", "loss" or "" of each metric."""
        own = [classes for row, classes in zip(self.rows, self._classes) if row and row[0] == system][1]
        return ["".join({"gain", "loss"}.intersection(cell)) for cell in own[1:]]


@pytest.fixture
def page(results, tmp_path):
    return Page(written(tmp_path, results))


# ---- what the page says ----


def test_the_report_is_index_html(results, tmp_path):
    assert written(tmp_path, results) == tmp_path / "index.html"


def test_a_missed_bound_fails(page):
    assert "Two places FAIL" in page.text and "1 of 2 bounds kept" in page.text and "PASS" not in page.text
    assert page.row("✓ kept")[1:3] == [f"{OURS}: PESQ (WB), over noisy", "≥ 0.1"]
    assert page.row("✗ missed")[1:3] == [f"{OURS}: artifact score", "≤ 0.3"]


def test_bounds_that_are_kept_pass(results, tmp_path):
    results["gate"] = results["gate"][:1]
    del results["scenes"][-1]
    page = Page(written(tmp_path, results))
    assert "Two places PASS" in page.text and "FAIL" not in page.text


def test_a_failed_scene_fails_whatever_the_bounds_say(results, tmp_path):
    results["gate"] = results["gate"][:1]
    assert "Two places FAIL" in Page(written(tmp_path, results)).text


def test_without_bounds_there_is_no_verdict(results, tmp_path):
    results["gate"] = []
    text = Page(written(tmp_path, results)).text
    assert "PASS" not in text and "FAIL" not in text and "Bounds" not in text


def test_failed_scenes_are_told_with_their_reason(page):
    assert "5 scenes, 1 failed" in page.text
    assert f"{FAILED} : EdgeEnhanceError: there is no program 'mine'" in page.text
    assert page.row(f"{FAILED} failed")


def test_means_stand_with_their_intervals(page):
    assert page.row(NOISY)[1] == "1.350 [0.971, 1.729]"
    assert page.row(OURS)[1] == "2.075 (best) [1.260, 2.890]"


def test_the_best_mean_is_the_lowest_where_less_is_better(page):
    assert "(best)" in page.row(NOISY)[3] and "(best)" not in page.row(OURS)[3]


def test_a_mean_that_all_have_is_nobodys_best(results, tmp_path):
    for entry in results["summary"]:
        entry["mean"] = 1.0
    assert "(best)" not in Page(written(tmp_path, results)).text


def test_changes_are_coloured_where_the_interval_leaves_out_zero(page):
    assert page.row(BEAM, 1)[1:] == ["+0.115 [−0.162, +0.392]", "+1.00 [+0.32, +1.68]", "+0.100 [+0.100, +0.100]"]
    assert page.changes(BEAM) == ["", "gain", "loss"]  # more artifacts are worse
    assert page.changes(OURS) == ["gain", "gain", "loss"]


def test_metrics_keep_their_order(page):
    assert [cell.split(" ")[0] for cell in page.row("System")] == ["System", "PESQ", "SI-SDR", "Artifact"]
    assert list(page.data["index"]["metrics"]) == ["pesq", "si_sdr", "artifact_score"]


def test_a_score_that_could_not_be_computed_is_a_dash(results, tmp_path):
    results["summary"][0].update(mean=float("nan"), low=float("nan"), high=float("inf"))
    results["scenes"][0]["rows"][NOISY]["pesq"] = float("nan")
    page = Page(written(tmp_path, results))
    assert page.row(NOISY)[1] == "–"
    assert page.data["index"]["scenes"][0]["scores"]["pesq"] == [None, 1.26, 1.5]


def test_facts_that_are_alike_everywhere_have_no_column(page):
    assert page.row("Scene") == ["Scene", "SNR / dB", *SYSTEMS]
    assert page.row("cafe +snr_db=10".replace(" ", ""))[1] == "10"


def test_the_command_is_there(page):
    assert "edgeenhance evaluate suite.toml -o report" in page.text


def test_an_evaluation_without_scenes_is_a_page(tmp_path):
    empty = {"title": "Nothing", "systems": ["noisy"], "metrics": {}, "scenes": []}
    assert "0 scenes" in Page(written(tmp_path, empty)).text


# ---- curves and latency ----


def curves(page):
    """Points (x, y) of every line, in the order of the page."""
    lines = [attributes["points"].split() for tag, attributes in page.elements if tag == "polyline"]
    return [np.array([point.split(",") for point in line], float) for line in lines]


def test_each_score_has_a_curve_of_each_system_over_what_was_swept(page):
    assert len(curves(page)) == 3 * 3
    assert "PESQ (WB) over SNR" in page.text and "Artifact score over SNR" in page.text


def test_curves_run_to_the_right_and_more_is_higher(page):
    noisy = curves(page)[0]
    assert noisy[0, 0] < noisy[1, 0] and noisy[0, 1] > noisy[1, 1]  # SVG counts y downwards


def test_points_tell_their_values(page):
    assert f"{OURS} at −5: 1.650" in page.text and f"{OURS} at 10: 2.500" in page.text


def test_a_score_that_is_the_same_everywhere_has_no_curve(results, tmp_path):
    for point in results["sweeps"][0]["points"]:
        point["mean"] = 1.0
    page = Page(written(tmp_path, results))
    assert "PESQ (WB) over" not in page.text and "SI-SDR over SNR" in page.text


def test_names_on_an_axis_make_points_without_lines(results, tmp_path):
    for point in results["sweeps"][0]["points"]:
        point["at"] = {-5: "bte-2x2", 10: "glasses-6"}[point["at"]]
    results["sweeps"] = results["sweeps"][:1]
    page = Page(written(tmp_path, results))
    assert not curves(page) and "glasses-6" in page.text
    assert sum(tag == "circle" for tag, _ in page.elements) == 6


def test_latency_is_shown_part_by_part(results, tmp_path):
    parts = [{"name": "window", "ms": 6.0}, {"name": "block", "ms": 2.0}]
    results["latency"] = [{"system": OURS, "parts": parts, "us_per_10ms": 310.0}]
    page = Page(written(tmp_path, results))
    assert f"{OURS} 8.0 ms 310 µs for 10 ms of sound, 3.1 % of real time" in page.text
    widths = [attributes["width"] for tag, attributes in page.elements if tag == "rect"]
    assert widths == ["75.0%", "25.0%"]


# ---- it needs nothing but itself ----


def test_the_page_loads_nothing(listened):
    page, text = Page(listened), listened.read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "@import" not in page.data["style"]
    assert "url(" not in page.data["style"]
    links = [a[key] for _, a in page.elements for key in ("src", "href", "srcset", "poster", "data") if key in a]
    assert links and all(link.startswith(("#", "data:")) for link in links)


def test_sounds_and_pictures_are_in_the_page(listened):
    data = Page(listened).data["data-0"]
    assert [name for name, _ in data["audio"]] == ["clean", *SYSTEMS]
    assert [title for title, _ in data["pictures"]] == ["Waveforms", "Spectrograms"]
    assert all(uri.startswith("data:audio/ogg;base64,") for _, uri in data["audio"])
    assert all(uri.startswith("data:image/") for _, uri in data["pictures"])


def test_missing_files_are_named(listened):
    page = Page(listened)
    assert page.row("hall+snr_db=10 1 file missing 1 note")
    assert page.data["data-3"]["notes"] == ["superdirective: PESQ (WB) is NaN: no utterance found",
                                            "missing file: superdirective"]  # fmt: skip
    assert [name for name, _ in page.data["data-3"]["audio"]] == ["clean", NOISY, OURS]


def nasty(results):
    """HTML in everything that people name."""
    text = json.dumps(results).replace(json.dumps(OURS)[1:-1], json.dumps(NASTY)[1:-1])
    results = json.loads(text)
    results.update(title=NASTY, command=NASTY, version=NASTY)
    results["scenes"][0].update(name=NASTY, error=NASTY, facts={NASTY: NASTY})
    return results


def test_html_in_names_is_text(results, tmp_path):
    clean = [tag for tag, _ in Page(written(tmp_path, results)).elements if tag in ("img", "script")]
    page = Page(written(tmp_path, nasty(results)))
    assert [tag for tag, _ in page.elements if tag in ("img", "script")] == clean
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count(" ".join(NASTY.split())) > 5
    assert page.data["index"]["scenes"][0]["name"] == NASTY and page.data["data-0"]["error"] == NASTY


# ---- what goes wrong ----


def test_a_folder_without_results_raises(tmp_path):
    with pytest.raises(EdgeEnhanceError, match=r"cannot read .*results\.json.*; run the evaluation into that folder"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"title": "Half', b"\xff\xfe\x00"])
def test_results_that_are_not_json_raise(content, tmp_path):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"results\.json is not JSON .*; run the evaluation again"):
        write_report(tmp_path)


@pytest.mark.parametrize("key, kind", [("title", "str"), ("systems", "list"), ("metrics", "dict"), ("scenes", "list")])
@pytest.mark.parametrize("value", [None, 7])
def test_results_without_what_is_needed_raise(key, kind, value, results, tmp_path):
    results[key] = value
    with pytest.raises(ValueError, match=f"needs '{key}', a {kind}; run the evaluation again"):
        written(tmp_path, results)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda r: r["scenes"][1].pop("name"), "scene 1 has no name"),
        (lambda r: r["summary"][0].update(system="other"), "summary has the system 'other'; the systems are noisy, "),
        (lambda r: r["differences"][0].pop("metric"), "differences has the metric None; the metrics are pesq, "),
        (lambda r: r["sweeps"][0].update(metric="other"), "sweeps has the metric 'other'"),
        (lambda r: r["scenes"][0].update(audio={"clean": "../clean.ogg"}), "outside its folder; copy it into"),
        (lambda r: r["scenes"][0].update(audio={"clean": "/etc/clean.ogg"}), "outside its folder; copy it into"),
        (lambda r: r["scenes"][0].update(audio={"clean": "clean.mp3"}), r"'clean\.mp3'; a report takes \.ogg, "),
    ],
)
def test_results_that_contradict_themselves_raise(change, sentence, results, tmp_path):
    change(results)
    with pytest.raises(ValueError, match=sentence):
        written(tmp_path, results)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_report_that_cannot_be_written_raises(results, tmp_path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(EdgeEnhanceError, match=r"cannot write .*index\.html"):
        written(tmp_path, results)


def test_a_report_that_stops_half_way_leaves_the_old_one(listened, tmp_path, monkeypatch):
    shutil.copytree(listened.parent, tmp_path / "report")
    (tmp_path / "report/index.html").write_text("the old one")
    before, read = sorted((tmp_path / "report").iterdir()), report._data_uri

    def broken(path):
        if "cases/2" in path.as_posix():
            raise OSError("the disk is gone")
        return read(path)

    monkeypatch.setattr(report, "_data_uri", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        write_report(tmp_path / "report")
    assert (tmp_path / "report/index.html").read_text() == "the old one"
    assert sorted((tmp_path / "report").iterdir()) == before


# ---- in a browser ----

# What reaches the loudspeaker passes a spectrum analyser: `heard()` is its strongest frequency, 0 in silence.
EAR = """
const connect = AudioNode.prototype.connect;
let ear = null;
AudioNode.prototype.connect = function (to, ...more) {
  if (!(to instanceof AudioDestinationNode)) return connect.call(this, to, ...more);
  if (!ear) connect.call(ear = new AnalyserNode(to.context, { fftSize: 4096, smoothingTimeConstant: 0 }), to);
  return connect.call(this, ear);
};
window.heard = () => {
  if (!ear) return 0;
  const levels = new Float32Array(ear.frequencyBinCount);
  ear.getFloatFrequencyData(levels);
  const top = levels.indexOf(Math.max(...levels));
  return levels[top] < -60 ? 0 : (top * ear.context.sampleRate) / ear.fftSize;
};
"""
PLAY = "button.play"


def missing(what):
    """Skip, where skipping is allowed."""
    if os.environ.get("EE_NO_SKIP"):
        pytest.fail(f"{what} is not here, and EE_NO_SKIP is set")
    pytest.skip(f"{what} is not here")


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    chromium = shutil.which("chromium") or missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(path, fragment, **context) opens a report; what the browser complains about fails the test."""
    contexts, complaints = [], []

    def visit(path, fragment="", **context):
        contexts.append(browser.new_context(**context))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(10_000)
        tab.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        tab.add_init_script(EAR)
        tab.goto(path.as_uri() + fragment)
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def tab(visit, listened):
    return visit(listened)


def names(tab):
    """Of the scenes that are shown, from above."""
    return tab.locator("tbody:visible .open").all_inner_texts()


def column(tab, number):
    """Of the scenes' table, from above."""
    return tab.locator(f".row:visible > :nth-child({number})").all_inner_texts()


def sort_by(tab, title):
    tab.locator("#table > thead").get_by_role("button", name=title, exact=True).click()


def until(tab, condition):
    """Wait for a condition in JavaScript, which the page's policy lets only the outside evaluate."""
    end = time.monotonic() + 10
    while not tab.evaluate(condition):
        assert time.monotonic() < end, f"waited for {condition}"
        tab.wait_for_timeout(20)


def opened(tab, name="cafe+snr_db=10"):
    """The scene's part of the table, its player ready."""
    tab.get_by_role("button", name=name, exact=True).click()
    until(tab, "document.querySelector('button.play')?.getAttribute('aria-disabled') === 'false'")
    return tab.locator("tbody.opened")


def position(tab):
    return float(tab.get_by_label("Position").input_value())


def wait_for_position(tab, seconds):
    until(tab, f"document.querySelector('[aria-label=Position]').value >= {seconds}")


def wait_to_hear(tab, name):
    """A sound by its tone; None: silence."""
    until(tab, f"Math.abs(heard() - {TONES.get(name, 0)}) < 30")


def chosen(tab):
    """Without the digit of its key."""
    return tab.locator(".clips [aria-pressed=true]").inner_text().lstrip("123456789 \n")


def test_the_page_opens_without_errors_and_asks_for_nothing_else(visit, listened, browser):
    tab, asked = visit(listened), []
    tab.on("request", lambda request: asked.append(request.url))
    tab.reload()
    opened(tab)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [listened.as_uri()]


def test_without_javascript_the_figures_are_there(visit, listened):
    tab = visit(listened, java_script_enabled=False)
    assert tab.locator("#summary .mean").first.inner_text() == "1.350"
    assert tab.locator("noscript .note").is_visible()


def test_numbers_sort_as_numbers(tab):
    tab.get_by_role("combobox").select_option("si_sdr")
    sort_by(tab, OURS)
    assert column(tab, 5) == ["12.50", "10.50", "3.00", "2.50", "–"]  # the best first
    sort_by(tab, OURS)
    assert column(tab, 5) == ["2.50", "3.00", "10.50", "12.50", "–"]
    sort_by(tab, NOISY)
    assert column(tab, 3) == ["9.10", "8.80", "−4.90", "−5.20", "–"]


def test_the_best_is_first_where_less_is_better(tab):
    tab.get_by_role("combobox").select_option("artifact_score")
    sort_by(tab, OURS)
    assert column(tab, 5) == ["0.300", "0.400", "0.500", "0.600", "–"]


def test_names_sort_up_and_down(tab):
    sort_by(tab, "Scene")
    up = names(tab)
    assert [name.split("+")[0] for name in up] == ["cafe", "cafe", "hall", "hall", "street"]
    assert tab.locator("[aria-sort=ascending]").inner_text().startswith("Scene")
    sort_by(tab, "Scene")
    assert names(tab) == up[::-1]


def test_facts_sort_as_numbers(tab):
    sort_by(tab, "SNR / dB")
    assert column(tab, 2) == ["−5", "−5", "10", "10", "10"]


def test_sorting_takes_the_opened_scene_along(tab):
    opened(tab, "hall+snr_db=10")
    sort_by(tab, OURS)
    assert names(tab)[0] == "hall+snr_db=10"
    assert tab.locator("tbody.opened .open").inner_text() == "hall+snr_db=10"
    assert tab.locator("tbody.opened .player").is_visible()


@pytest.mark.parametrize(
    "words, left",
    [
        ("cafe", ["cafe+snr_db=10", "cafe+snr_db=-5"]),
        ("CAFE", ["cafe+snr_db=10", "cafe+snr_db=-5"]),
        ("snr_db=−5", ["hall+snr_db=-5", "cafe+snr_db=-5"]),
        ("10 hall", ["hall+snr_db=10"]),
        ("garden", []),
        (" ", [*SCENES, FAILED]),
    ],
)
def test_scenes_are_filtered_by_words(tab, words, left):
    tab.get_by_label("Filter").fill(words)
    assert names(tab) == left
    assert tab.locator("#shown").inner_text() == f"{len(left)} of 5 scenes"


def test_scores_can_be_shown_as_changes(tab):
    assert column(tab, 5)[:2] == ["1.500", "2.400"]
    tab.get_by_label("as change against noisy").check()
    assert column(tab, 4)[:2] == ["+0.060", "−0.100"] and column(tab, 3)[0] == "+0.000"


def test_the_best_of_a_scene_is_bold(tab):
    assert tab.locator(".row .best").all_inner_texts() == ["1.500", "2.400", "1.800", "2.600"]


def test_a_name_in_the_legend_hides_its_curves(tab):
    lines = tab.locator("svg .line.s1")
    assert [line.is_visible() for line in lines.all()] == [True] * 3
    tab.locator(".legend button", has_text=BEAM).click()
    assert [line.is_visible() for line in lines.all()] == [False] * 3
    assert tab.locator("svg .line.s2").first.is_visible()


def test_an_opened_scene_shows_what_there_is(tab):
    body = opened(tab)
    assert body.locator(".clips button").all_inner_texts() == ["1clean", "2noisy", "3superdirective", "4mvdr+assist-m"]
    assert body.locator("h3").all_inner_texts() == ["Scores", "Waveforms", "Spectrograms", "Facts"]
    assert body.locator(".sheet tr").nth(3).inner_text().split() == [OURS, "2.400", "12.50", "0.400"]
    assert "RT60 / s\n0.4" in body.locator("dl").inner_text()
    until(tab, "[...document.querySelectorAll('.pictures img')].every((image) => image.naturalWidth > 500)")


def test_one_scene_is_open_at_a_time(tab):
    opened(tab)
    opened(tab, "hall+snr_db=10")
    assert tab.locator(".open[aria-expanded=true]").all_inner_texts() == ["hall+snr_db=10"]
    assert tab.locator(".panel:visible").count() == 1


def test_missing_sounds_are_named(tab):
    assert "missing file: superdirective" in opened(tab, "hall+snr_db=10").locator(".notes").inner_text()


def test_the_list_of_failed_scenes_leads_to_them(tab):
    tab.get_by_label("Filter").fill("cafe")
    tab.locator("#failed a").click()
    tab.wait_for_selector("tbody.opened .error")
    body = tab.locator("tbody.opened")
    assert body.locator(".open").inner_text() == FAILED and body.locator(".row").is_visible()
    assert body.locator(".error").inner_text() == "EdgeEnhanceError: there is no program 'mine'"
    assert body.locator(".player").count() == 0


def test_the_address_of_a_scene_opens_it(tab, visit, listened):
    opened(tab, "hall+snr_db=10")
    again = visit(listened, tab.url[tab.url.index("#") :])
    assert again.locator("tbody.opened .open").inner_text() == "hall+snr_db=10"


def test_html_in_names_does_not_run(visit, results, tmp_path):
    tab = visit(written(tmp_path, nasty(results)))
    tab.locator(".open").first.click()
    assert tab.locator("tbody.opened .error").inner_text() == NASTY
    assert tab.locator("img[onerror]").count() == 0


# ---- the player ----


def test_a_scene_begins_with_the_baseline(tab):
    opened(tab)
    assert chosen(tab) == NOISY and position(tab) == 0


def test_playing_is_heard_and_moves_on(tab):
    opened(tab)
    tab.click(PLAY)
    wait_to_hear(tab, NOISY)
    wait_for_position(tab, 0.3)
    assert tab.locator(".time").inner_text().endswith(f"of {SECONDS:.1f} s")


def test_a_pause_is_silent_and_keeps_the_position(tab):
    opened(tab)
    tab.click(PLAY)
    wait_for_position(tab, 0.3)
    tab.click(PLAY)
    at = position(tab)
    wait_to_hear(tab, None)
    assert 0.3 <= at == position(tab)
    tab.click(PLAY)
    wait_for_position(tab, at + 0.1)


def test_switching_changes_the_sound_and_keeps_the_position(tab):
    opened(tab)
    tab.click(PLAY)
    wait_for_position(tab, 0.4)
    for name in ("clean", OURS, BEAM):
        before = position(tab)
        tab.locator(".clips button", has_text=name).click()
        assert chosen(tab) == name
        wait_to_hear(tab, name)
        assert position(tab) >= before
    assert tab.locator(PLAY).get_attribute("aria-label") == "Pause"


def test_switching_in_a_pause_keeps_the_position(tab):
    opened(tab)
    tab.get_by_label("Position").fill("2.5")
    tab.locator(".clips button", has_text=OURS).click()
    assert position(tab) == 2.5 and tab.locator(PLAY).get_attribute("aria-label") == "Play"


def test_the_choice_lasts_for_the_next_scene(tab):
    opened(tab)
    tab.locator(".clips button", has_text=OURS).click()
    opened(tab, "hall+snr_db=10")
    assert chosen(tab) == OURS


def test_another_scene_ends_the_sound(tab):
    opened(tab)
    tab.click(PLAY)
    wait_to_hear(tab, NOISY)
    opened(tab, "hall+snr_db=10")
    wait_to_hear(tab, None)
    assert position(tab) == 0


def test_at_the_end_it_stops_at_the_beginning(tab):
    opened(tab)
    tab.get_by_label("Position").fill("3.8")
    tab.click(PLAY)
    tab.wait_for_selector(f"{PLAY}[aria-label=Pause]")
    tab.wait_for_selector(f"{PLAY}[aria-label=Play]")
    assert position(tab) == 0


def test_with_repeat_it_goes_on(tab):
    opened(tab)
    tab.get_by_label("repeat").check()
    tab.get_by_label("Position").fill("3.8")
    tab.click(PLAY)
    until(tab, "(document.querySelector('[aria-label=Position]').value % 3.8) > 0.3")
    assert position(tab) < 3.8
    wait_to_hear(tab, NOISY)


# ---- keys ----


def test_space_plays_and_pauses(tab):
    opened(tab)
    tab.keyboard.press("Space")
    wait_for_position(tab, 0.2)
    tab.keyboard.press("Space")
    at = position(tab)
    wait_to_hear(tab, None)
    assert position(tab) == at


def test_space_plays_after_a_click_on_a_sound(tab):
    opened(tab)
    tab.locator(".clips button", has_text=OURS).click()
    tab.keyboard.press("Space")
    wait_to_hear(tab, OURS)


def test_digits_choose_the_sound(tab):
    opened(tab)
    for digit, name in zip("1432", ["clean", OURS, BEAM, NOISY]):
        tab.keyboard.press(digit)
        assert chosen(tab) == name
    tab.keyboard.press("9")
    assert chosen(tab) == NOISY


def test_arrows_move_by_a_second(tab):
    opened(tab)
    positions = []
    for key in ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", *["ArrowRight"] * 5]:
        tab.keyboard.press(key)
        positions.append(position(tab))
    assert positions == [1, 2, 1, 0, 0, 1, 2, 3, 4, 4]


def test_escape_closes_the_scene_and_goes_back_to_its_name(tab):
    opened(tab)
    tab.keyboard.press("Escape")
    assert tab.locator(".panel:visible").count() == 0
    assert tab.evaluate("document.activeElement.textContent") == "cafe+snr_db=10"
    tab.keyboard.press("Enter")
    assert tab.locator("tbody.opened .open").inner_text() == "cafe+snr_db=10"


def test_typing_into_the_filter_leaves_the_player_alone(tab):
    opened(tab)
    tab.get_by_label("Filter").click()
    tab.keyboard.type("1 cafe")
    assert chosen(tab) == NOISY and tab.get_by_label("Filter").input_value() == "1 cafe"
    assert tab.locator(PLAY).get_attribute("aria-label") == "Play"


def test_a_picture_is_enlarged_and_escape_closes_only_that(tab):
    opened(tab)
    tab.get_by_role("button", name="Enlarge: Spectrograms").click()
    assert tab.locator("dialog img").get_attribute("alt") == "Spectrograms, cafe+snr_db=10"
    assert tab.locator("dialog").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("dialog").is_visible() and tab.locator("tbody.opened .player").is_visible()


# ---- phones and the dark ----


def test_a_phone_needs_no_scrolling_sideways(visit, listened):
    tab = visit(listened, viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    widths = "[document.documentElement.scrollWidth, visualViewport.width]"
    assert tab.evaluate(widths) == [390, 390]
    opened(tab)
    assert tab.evaluate(widths) == [390, 390]


def test_on_a_phone_the_player_and_the_pictures_are_all_there(visit, listened):
    tab = visit(listened, viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    body = opened(tab)
    for part in (PLAY, ".track", ".clips button >> nth=3", ".pictures img >> nth=0", ".pictures img >> nth=1", "dl"):
        box = body.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, part


def test_on_a_phone_a_score_is_in_sight(visit, listened):
    tab = visit(listened, viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    box = tab.locator(".row .score").first.bounding_box()
    assert box["x"] + box["width"] <= 390


def contrast(tab, selector):
    """Of text on its background (WCAG 2): 1 .. 21."""
    colours = tab.locator(selector).first.evaluate(
        """(element) => {
          let behind = element;
          while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
          return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }"""
    )
    light = []
    for colour in colours:
        rgb = np.array(re.findall(r"[\d.]+", colour)[:3], float) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_the_page_is_dark_where_that_is_wanted(visit, listened):
    shades = {}
    for scheme in ("light", "dark"):
        colour = visit(listened, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = np.mean([int(value) for value in re.findall(r"\d+", colour)])
    assert shades["light"] > 230 and shades["dark"] < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(visit, listened, scheme):
    tab = visit(listened, color_scheme=scheme)
    opened(tab)
    places = ["h1", ".lead", ".badge", ".mark.pass", ".mark.fail", "#failed li", "nav a", ".interval", ".best .mean",
              ".gain .mean", ".loss .mean", ".open", ".clips [aria-pressed=true]", "dt", ".command"]  # fmt: skip
    assert {place: ratio for place in places if (ratio := contrast(tab, place)) < 4.5} == {}
