"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /** An element with properties (or attributes, where the name has a dash) and children. */
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-")) element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  const index = JSON.parse(find("#index").textContent);
  const table = find("#table");
  const bodies = all("tbody", table); // in the order of index.scenes

  function number(value, digits, sign) {
    if (value === null) return "–";
    const text = value.toFixed(digits).replace("-", "−");
    return sign && value >= 0 ? "+" + text : text;
  }

  // ---- the table: scores, order, filter ----

  const controls = { metric: find("#metric"), change: find("#change"), filter: find("#filter") };
  const order = { header: null, falling: false };

  /** The scores of a scene in the chosen metric, as they stand in the table. */
  function scores(scene) {
    const values = scene.scores[controls.metric.value] ?? index.systems.map(() => null);
    if (!controls.change?.checked) return values;
    const origin = values[index.systems.indexOf(index.baseline)];
    return values.map((value) => (value === null || origin === null ? null : value - origin));
  }

  /** Positions of the best values; none where nothing is better than anything else. */
  function best(values, metric) {
    const known = values.filter((value) => value !== null);
    if (metric.better === "none" || new Set(known).size < 2) return [];
    const top = metric.better === "lower" ? Math.min(...known) : Math.max(...known);
    return values.map((value, n) => (value === top ? n : -1));
  }

  function fill() {
    const metric = index.metrics[controls.metric.value];
    bodies.forEach((body, n) => {
      const values = scores(index.scenes[n]);
      const winners = best(values, metric);
      all(".row .score", body).forEach((cell, s) => {
        cell.textContent = number(values[s], metric.digits ?? 3, controls.change?.checked);
        cell.classList.toggle("best", winners.includes(s));
      });
    });
    sort();
  }

  function sortKey(n) {
    const { column, key } = order.header.dataset;
    const scene = index.scenes[n];
    if (column === "name") return scene.name;
    return (column === "fact" ? scene.facts[key] : scores(scene)[Number(key)]) ?? null;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort() {
    if (!order.header) return;
    const keys = bodies.map((_, n) => sortKey(n));
    const places = keys.map((_, n) => n).sort((a, b) => {
      if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null) || a - b;
      return (order.falling ? -1 : 1) * compare(keys[a], keys[b]) || a - b;
    });
    table.append(...places.map((n) => bodies[n]));
  }

  function sortBy(header) {
    const again = header === order.header;
    const higher = index.metrics[controls.metric.value]?.better === "higher";
    order.falling = again ? !order.falling : header.dataset.column === "system" && higher;
    order.header?.removeAttribute("aria-sort");
    order.header = header;
    header.setAttribute("aria-sort", order.falling ? "descending" : "ascending");
    sort();
  }

  function filter() {
    const words = controls.filter.value.toLowerCase().replaceAll("−", "-").split(/\s+/).filter(Boolean);
    let shown = 0;
    bodies.forEach((body, n) => {
      body.hidden = !words.every((word) => index.scenes[n].text.includes(word));
      shown += !body.hidden;
    });
    if (opened !== null && bodies[opened].hidden) close();
    find("#shown").textContent = `${shown} of ${bodies.length} scenes`;
  }

  // ---- the player: all sounds run side by side, one is heard ----

  const FADE = 0.008; // s, so that switching does not click
  const STEP = 1; // s, of the arrow keys

  const ICONS = { play: "M6 3v18l15-9z", pause: "M5 3h5v18H5zM14 3h5v18h-5z" };
  const player = makePlayer();

  function makePlayer() {
    const button = make("button", { type: "button", className: "play", "aria-label": "Play", onclick: toggle });
    button.innerHTML = '<svg width="24" height="24" aria-hidden="true"><path></path></svg>';
    const clips = make("div", { className: "clips", role: "group", "aria-label": "What you hear" });
    const canvas = make("canvas");
    const slider = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "Position" });
    const time = make("span", { className: "time" });
    const loop = make("input", { type: "checkbox" });
    const message = make("span", { role: "status" });
    const element = make("div", { className: "player" }, clips,
      make("div", { className: "transport" }, button, make("div", { className: "track" }, canvas, slider)),
      make("div", { className: "below" }, time, message, make("label", {}, loop, " repeat")));

    let context = null; // made at the first play: browsers want a gesture before
    let sounds = []; // {name, button, buffer}
    let chosen = 0;
    let sources = []; // {source, gain} of each sound while playing
    let offset = 0; // s, where playing began or will
    let started = 0; // the context's time then
    let visit = 0; // counts loads: a slow one must not come after a fast one
    let outline = [];
    let favourite = null; // the name chosen last, also in the next scene

    const playing = () => sources.length > 0;
    const duration = () => Math.max(0, ...sounds.map((sound) => sound.buffer?.duration ?? 0));
    const position = () =>
      playing() ? Math.min(duration(), offset + Math.max(0, context.currentTime - started)) : offset;

    slider.oninput = () => seek(Number(slider.value));
    new ResizeObserver(trace).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

    /** Not `disabled`, which would take the focus away. */
    const ready = (yes) => button.setAttribute("aria-disabled", String(!yes));

    async function load(audio) {
      stop(0);
      const mine = ++visit;
      const names = audio.map(([name]) => name);
      sounds = audio.map(([name], n) => ({
        name,
        button: make("button", { type: "button", "aria-pressed": "false", onclick: () => pick(n) },
          ...(n < 9 ? [make("kbd", { "aria-hidden": "true" }, String(n + 1))] : []), name),
      }));
      clips.replaceChildren(...sounds.map((sound) => sound.button));
      ready(false);
      message.textContent = "loading";
      choose(Math.max(0, names.indexOf(names.includes(favourite) ? favourite : index.baseline)));
      try {
        const buffers = await Promise.all(audio.map(([, uri]) => decode(uri)));
        if (mine !== visit) return;
        buffers.forEach((buffer, n) => (sounds[n].buffer = buffer));
        message.textContent = "";
        ready(true);
      } catch {
        if (mine === visit) message.textContent = "This browser cannot decode Opus in Ogg; a current one can.";
      }
      slider.max = duration();
      trace();
    }

    function decode(uri) {
      const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (c) => c.charCodeAt(0));
      return new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes.buffer);
    }

    function unload() {
      visit++;
      stop(0);
      sounds = [];
    }

    function choose(n) {
      if (n >= sounds.length) return;
      chosen = n;
      sounds.forEach((sound, m) => sound.button.setAttribute("aria-pressed", String(m === n)));
      const now = context?.currentTime ?? 0;
      sources.forEach(({ gain }, m) => {
        gain.gain.cancelScheduledValues(now);
        gain.gain.setTargetAtTime(m === n ? 1 : 0, now, FADE / 3);
      });
      trace();
    }

    function pick(n) {
      choose(n);
      favourite = sounds[chosen]?.name;
    }

    async function toggle() {
      if (playing()) stop(position());
      else if (button.getAttribute("aria-disabled") === "false") await play();
    }

    async function play() {
      if (navigator.audioSession) navigator.audioSession.type = "playback"; // phones: heard though set to silent
      context ??= new AudioContext();
      const mine = visit;
      await context.resume();
      if (mine !== visit || playing()) return;
      if (offset >= duration() - 0.01) offset = 0;
      started = context.currentTime + 0.02;
      sources = sounds.map(({ buffer }, n) => {
        const source = new AudioBufferSourceNode(context, { buffer });
        const gain = new GainNode(context, { gain: n === chosen ? 1 : 0 });
        source.connect(gain).connect(context.destination);
        source.start(started, Math.min(offset, buffer.duration));
        return { source, gain };
      });
      show();
      requestAnimationFrame(follow);
    }

    function stop(at) {
      sources.forEach(({ source }) => source.stop());
      sources = [];
      offset = at;
      show();
    }

    function seek(to) {
      const again = playing();
      stop(Math.min(Math.max(0, to), duration()));
      if (again) play();
    }

    function follow() {
      if (!playing()) return;
      if (position() >= duration()) {
        stop(0);
        if (loop.checked) play();
        return;
      }
      show();
      requestAnimationFrame(follow);
    }

    function show() {
      const at = position();
      find("path", button).setAttribute("d", ICONS[playing() ? "pause" : "play"]);
      button.setAttribute("aria-label", playing() ? "Pause" : "Play");
      slider.value = at;
      slider.setAttribute("aria-valuetext", `${at.toFixed(1)} s`);
      time.textContent = `${at.toFixed(1)} of ${duration().toFixed(1)} s`;
      draw();
    }

    /** The outline of the chosen sound, one pair (low, high) per two pixels, all sounds on one scale. */
    function trace() {
      const buffer = sounds[chosen]?.buffer;
      const columns = Math.floor(canvas.clientWidth / 2);
      if (buffer && columns) {
        const samples = buffer.getChannelData(0);
        const step = (duration() * buffer.sampleRate) / columns;
        outline = Array.from({ length: columns }, (_, c) => extremes(samples, Math.floor(c * step), Math.floor((c + 1) * step)));
      } else outline = [];
      show();
    }

    function extremes(samples, first, end) {
      let low = 0, high = 0;
      for (let n = first; n < Math.min(end, samples.length); n += 4) {
        if (samples[n] < low) low = samples[n];
        if (samples[n] > high) high = samples[n];
      }
      return [low, high];
    }

    function peak() {
      const of = (sound) => (sound.peak ??= Math.max(...extremes(sound.buffer.getChannelData(0), 0, Infinity).map(Math.abs)));
      return Math.max(1e-6, ...sounds.filter((sound) => sound.buffer).map(of));
    }

    function draw() {
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (!width) return;
      canvas.width = width * devicePixelRatio;
      canvas.height = height * devicePixelRatio;
      const pen = canvas.getContext("2d");
      pen.scale(devicePixelRatio, devicePixelRatio);
      const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
      const at = duration() ? (position() / duration()) * width : 0;
      const scale = (0.46 * height) / peak();
      outline.forEach(([low, high], c) => {
        pen.fillStyle = 2 * c < at ? colour("--accent") : colour("--s0");
        pen.fillRect(2 * c, height / 2 - high * scale - 0.5, 1.4, (high - low) * scale + 1);
      });
      pen.fillStyle = colour("--ink");
      pen.fillRect(Math.min(at, width - 1.5), 0, 1.5, height);
    }

    return { element, load, unload, pick, toggle, seek, position, focus: () => button.focus({ preventScroll: true }) };
  }

  // ---- the panel of a scene ----

  let opened = null;

  /** What stands in a scene's piece of JSON at the end of the page, which may still be loading. */
  async function unpack(n) {
    if (!find(`#data-${n}`) && document.readyState === "loading")
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
    return JSON.parse(find(`#data-${n}`).textContent);
  }

  async function open(n) {
    const before = bodies[n].getBoundingClientRect().top;
    close();
    opened = n;
    bodies[n].classList.add("opened");
    find(".open", bodies[n]).setAttribute("aria-expanded", "true");
    find(".panel", bodies[n]).hidden = false;
    history.replaceState(null, "", "#scene:" + encodeURIComponent(index.scenes[n].name));
    const data = await unpack(n);
    if (opened !== n) return;
    find(".sheet", bodies[n]).replaceChildren(...panel(n, data));
    scrollBy({ top: bodies[n].getBoundingClientRect().top - before, behavior: "instant" });
    if (data.audio.length) {
      player.load(data.audio);
      player.focus();
    }
  }

  function close(focus = false) {
    if (opened === null) return;
    const body = bodies[opened];
    opened = null;
    player.unload();
    body.classList.remove("opened");
    find(".panel", body).hidden = true;
    find(".sheet", body).replaceChildren();
    const button = find(".open", body);
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus();
    history.replaceState(null, "", "#scenes");
  }

  function* panel(n, data) {
    if (data.error) yield make("p", { className: "error" }, data.error);
    if (data.audio.length) yield player.element;
    if (!data.error) yield block("Scores", scoreTable(index.scenes[n]));
    if (data.pictures.length)
      yield make("div", { className: "pictures" }, ...data.pictures.map(([title, uri]) => picture(n, title, uri)));
    if (data.facts.length) yield block("Facts", make("dl", {}, ...data.facts.map(fact)));
    if (data.notes.length)
      yield block("Notes", make("ul", { className: "notes" }, ...data.notes.map((note) => make("li", {}, note))));
  }

  const block = (title, content) => make("div", {}, make("h3", {}, title), content);
  const fact = ([label, text]) => make("div", {}, make("dt", {}, label), make("dd", {}, text));

  function picture(n, title, uri) {
    const alt = `${title}, ${index.scenes[n].name}`;
    const image = () => make("img", { src: uri, alt, loading: "lazy", decoding: "async" });
    const zoom = () => {
      find("#zoom img").replaceWith(image());
      find("#zoom").showModal();
    };
    return block(title, make("button", { type: "button", "aria-label": `Enlarge: ${alt}`, onclick: zoom }, image()));
  }

  function scoreTable(scene) {
    const metrics = Object.entries(index.metrics).filter(([key]) => scene.scores[key].some((value) => value !== null));
    const winners = Object.fromEntries(metrics.map(([key, metric]) => [key, best(scene.scores[key], metric)]));
    const cell = (key, metric, s) =>
      make("td", { className: winners[key].includes(s) ? "number score best" : "number score" },
        number(scene.scores[key][s], metric.digits ?? 3));
    const rows = index.systems.map((system, s) =>
      make("tr", {}, make("th", { scope: "row" }, system), ...metrics.map(([key, metric]) => cell(key, metric, s))));
    const head = metrics.map(([, metric]) => make("th", { scope: "col", className: "number" }, metric.title));
    return make("div", { className: "scroll", tabIndex: 0 },
      make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "System"), ...head)), make("tbody", {}, ...rows)));
  }

  // ---- events ----

  all("th[data-column]", table).forEach((header) => find("button", header).addEventListener("click", () => sortBy(header)));
  controls.metric.addEventListener("change", fill);
  controls.change?.addEventListener("change", fill);
  controls.filter.addEventListener("input", filter);
  bodies.forEach((body, n) =>
    find(".row", body).addEventListener("click", () => {
      if (opened === n) close(true);
      else if (!String(getSelection())) open(n);
    }));
  all("button.legend-item").forEach((button) =>
    button.addEventListener("click", () => {
      const off = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!off));
      all(`svg [data-series="${button.dataset.series}"]`).forEach((series) => series.classList.toggle("off", off));
    }));

  document.addEventListener("keydown", (event) => {
    if (opened === null || event.ctrlKey || event.altKey || event.metaKey || find("#zoom").open) return;
    const { target, key } = event;
    if (target.matches("select, textarea, input:not([type=range], [type=checkbox])")) return;
    const outside = target !== document.body && !target.closest(".panel");
    const moves = { ArrowLeft: -STEP, ArrowRight: STEP };
    if (key === "Escape") close(true);
    else if (key >= "1" && key <= "9") player.pick(Number(key) - 1);
    else if (outside || target.matches("[type=checkbox], .scroll")) return;
    else if (key === " " && !target.closest(".pictures")) player.toggle();
    else if (key in moves) player.seek(player.position() + moves[key]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest?.(".player") && event.target.matches("button")) event.preventDefault();
  });

  function openNamed() {
    const name = location.hash.startsWith("#scene:") ? decodeURIComponent(location.hash.slice(7)) : null;
    const n = index.scenes.findIndex((scene) => scene.name === name);
    if (n < 0 || n === opened) return;
    if (bodies[n].hidden) {
      controls.filter.value = "";
      filter();
    }
    open(n);
    bodies[n].scrollIntoView();
  }
  addEventListener("hashchange", openNamed);

  if (bodies.length) {
    fill();
    filter();
    openNamed();
  }
})();
