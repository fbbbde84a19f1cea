// The time line: a lane for each device. Bars are placed in percent, so that they follow the window's width by themselves.
import { el, svg, fill, time, words, plain } from "./dom.js";

const HOUR = 3600000, ROW = 26, MOST = 80, LATER = 5000;
const STEPS = [5, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080].map((minutes) => minutes * 60000);
const SPANS = [[6, "6 hours"], [24, "24 hours"], [72, "3 days"], [168, "a week"]];
const LEGEND = [["job RUNNING", "running"], ["job COMPLETED", "completed"], ["job FAILED", "failed"], ["job", "ended otherwise"],
  ["expected", "expected"], ["reservation", "reserved"], ["drain", "drained"], ["stranger", "stranger"], ["now", "now"]];
const BAD = new Set(["FAILED", "TIMEOUT", "OUT_OF_MEMORY"]);

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const device = (one) => `${one.kind === "gpu" ? "GPU" : "CPU slot"} ${one.index}`;
const inZone = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16);
const isGoing = (span) => span.kind === "job" && span.ends_at === null;

function sort(span) {
  if (span.kind !== "job") return span.kind;
  return isGoing(span) ? "job RUNNING" : BAD.has(span.state) ? "job FAILED" : span.state === "COMPLETED" ? "job COMPLETED" : "job";
}

function said(span) {
  const label = cut(span.label, MOST);
  const since = `${Date.parse(span.starts_at) > Date.now() ? "from" : "since"} ${time(span.starts_at)}`, until = span.ends_at ? `until ${time(span.ends_at)}` : "";
  const times = `${since} ${until}`.trim();
  const who = `job ${span.job} ${label}`.trim();
  return {
    job: () => `${who}, attempt ${span.attempt}, ${isGoing(span) ? "runs" : span.state} ${times}`,
    expected: () => `${who}, expected to start ${time(span.starts_at)}${span.ends_at ? `, to end ${time(span.ends_at)}` : ""}`,
    reservation: () => `reserved for ${label || "somebody"} ${times}`,
    drain: () => `drained ${times}${label ? `: ${label}` : ""}`,
    stranger: () => `stranger at ${time(span.starts_at)}${label ? `: ${words(label)}` : ""}`,
  }[span.kind]();
}

// Covers the instant, as `gpujobs timeline --at` says it. A stranger is a moment: it counts for the minute.
function covers(span, at) {
  const starts = Date.parse(span.starts_at);
  if (span.kind === "stranger") return Math.abs(starts - at) < 60000;
  return starts <= at && (span.ends_at === null || at < Date.parse(span.ends_at));
}

// At whole hours of the reader, or at midnights.
function ticks(from, to, room) {
  const step = STEPS.find((one) => (to - from) / one <= room) ?? STEPS.at(-1);
  const midnight = new Date(from);
  midnight.setHours(0, 0, 0, 0);
  const found = [];
  for (let number = 0; number < 5000; number += 1) {
    const at = new Date(midnight);
    if (step >= 24 * HOUR) at.setDate(at.getDate() + number * (step / (24 * HOUR))); else at.setMinutes(number * (step / 60000));
    if (at >= to) break;
    if (at < from) continue;
    const isDay = at.getHours() + at.getMinutes() === 0;
    found.push({ at: at.getTime(), isDay, text: isDay ? at.toLocaleDateString(undefined, { day: "numeric", month: "short" })
      : at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }) });
  }
  return found;
}

function hatches() {
  const pattern = (id, size, path) => svg("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse" }, svg("path", { d: path }));
  return svg("svg", { class: "hatches", width: 0, height: 0, "aria-hidden": "true" }, svg("defs", {},
    pattern("h-expected", 8, "M-2 10L10 -2M-2 2L2 -2M6 10L10 6"), pattern("h-reservation", 6, "M0 3H6"), pattern("h-drain", 8, "M0 0L8 8M0 8L8 0")));
}

export function timeline(main, { ask, say, changed }, argument) {
  const state = { hours: 24, at: Date.parse(argument) || null, shown: null, told: changed() };
  const instant = el("input", { type: "datetime-local", id: "at" });
  const span = el("select", { "aria-label": "How much is shown" }, SPANS.map(([hours, text]) => el("option", { value: hours }, text)));
  const button = (text, onclick) => el("button", { type: "button", onclick }, text);
  const chart = el("div", { class: "lanes" }), was = el("div", { class: "was" }), notes = el("p", { class: "dim" }), tip = el("div", { class: "tip", role: "tooltip", id: "tip", hidden: "" });
  let timer = null, latest = 0, wanted = 0;
  span.value = "24";

  function called(lane) {
    const several = state.shown.lanes.some((one) => one.device.node !== lane.device.node);
    return several ? `${cut(lane.device.node, 24)}: ${device(lane.device)}` : device(lane.device);
  }

  // Above the first lane of each node, where there are several.
  function head(lane, place) {
    const { lanes, nodes } = state.shown, name = lane.device.node;
    if (lanes.every((one) => one.device.node === name) || (place && lanes[place - 1].device.node === name)) return null;
    const says = nodes?.[name];
    return el("p", { class: "of" }, el("strong", {}, cut(name, 100)), says ? el("span", { class: "lost" }, ` ${words(says)}`) : null);
  }

  async function load() {
    const asked = (wanted += 1), half = state.hours * HOUR / 2, middle = state.at ?? Date.now();
    latest = Date.now();
    try {
      const [from, to] = [middle - half, middle + half].map((one) => new Date(one).toISOString());
      const found = await ask(`/v1/timeline?from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`);
      if (asked === wanted && chart.isConnected) { state.shown = found; draw(); }
    } catch (error) { say(error.message); }
  }

  function go(at) {
    state.at = at;
    instant.value = inZone(at ?? Date.now());
    history.replaceState(null, "", at === null ? "#timeline" : `#timeline/${new Date(at).toISOString().slice(0, 16)}Z`);
    load();
  }

  function mark(at) { state.at = at; instant.value = inZone(at); history.replaceState(null, "", `#timeline/${new Date(at).toISOString().slice(0, 16)}Z`); draw(); }

  function show(bar, text) {
    const frame = chart.getBoundingClientRect(), place = bar.getBoundingClientRect();
    fill(tip, [text]);
    tip.hidden = false;
    tip.style.left = "0";
    const left = Math.min(Math.max(0, place.left - frame.left), Math.max(0, frame.width - tip.offsetWidth));
    tip.style.left = `${left}px`;
    tip.style.top = `${place.bottom - frame.top}px`;
  }
  const hide = () => { tip.hidden = true; };

  function bar(one, lane, scale) {
    const from = Math.max(0, scale(Date.parse(one.starts_at)));
    const ends = one.ends_at ? Date.parse(one.ends_at) : isGoing(one) ? Date.now() : Infinity;
    const to = Math.min(100, scale(ends));
    const text = said(one), isMoment = one.kind === "stranger";
    const width = Math.max(0.4, to - from);
    const key = `${lane.device.uuid} ${one.kind} ${one.job} ${one.attempt} ${one.starts_at}`;
    const label = one.kind === "job" || one.kind === "expected" ? `${one.job} ${cut(one.label, MOST)}` : cut(one.label, MOST) || one.kind;
    const inner = isMoment ? svg("svg", { x: `${from}%`, y: one.row * ROW, overflow: "visible" }, svg("path", { d: "M-8 4H8L0 20Z" }))
      : svg("svg", { x: `${from}%`, y: one.row * ROW + 2, width: `${width}%`, height: ROW - 4 },
        svg("rect", { width: "100%", height: "100%", rx: 3, class: "base" }),
        svg("rect", { width: "100%", height: "100%", rx: 3, class: "hatch", fill: one.kind in { expected: 1, reservation: 1, drain: 1 } ? `url(#h-${one.kind})` : "none" }),
        svg("text", { x: 6, y: 16 }, label));
    const isLink = one.job !== null;
    const made = svg(isLink ? "a" : "g", {
      class: `bar ${sort(one)}`, tabindex: -1, "aria-label": plain(text), "data-key": key,
      ...(isLink ? { href: `#job/${one.job}` } : { role: "img" }),
      onfocus: () => show(made, text), onblur: hide, onmouseenter: () => show(made, text),
      onmouseleave: (event) => { if (event.relatedTarget !== tip) hide(); },
    }, inner);
    return made;
  }

  function lines(marks, at, scale) {
    const upright = (place, kind) => svg("line", { x1: `${place}%`, x2: `${place}%`, y1: 0, y2: "100%", class: kind });
    const now = scale(Date.now());
    return [...marks.map((one) => upright(scale(one.at), one.isDay ? "day" : "tick")), now > 0 && now < 100 ? upright(now, "now") : null,
      at !== null ? upright(scale(at), "at") : null];
  }

  function draw() {
    const { shown } = state;
    if (!shown) return;
    const from = Date.parse(shown.from), to = Date.parse(shown.to), scale = (at) => 100 * (at - from) / (to - from);
    const hadTip = !tip.hidden, focused = chart.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const wide = chart.clientWidth - (innerWidth > 736 ? 130 : 0), marks = ticks(from, to, Math.max(3, wide / 70));
    const pick = (event) => { if (event.target === event.currentTarget) { const box = event.currentTarget.getBoundingClientRect(); mark(from + (to - from) * (event.clientX - box.left) / box.width); } };
    const rows = shown.lanes.map((lane, place) => {
      const count = 1 + Math.max(0, ...lane.spans.map((one) => one.row));
      const bars = lane.spans.map((one) => bar(one, lane, scale));
      bars[0]?.setAttribute("tabindex", 0);
      return [head(lane, place), el("section", { class: "lane", "aria-label": plain(called(lane)) },
        el("h2", {}, device(lane.device), el("span", { class: "dim" }, cut(lane.device.name, 40))),
        svg("svg", { class: "bars", width: "100%", height: count * ROW, onclick: pick }, lines(marks, state.at, scale), bars))];
    });
    const fits = (one) => scale(one.at) * wide > 3000 && (100 - scale(one.at)) * wide > 3000;
    const axis = svg("svg", { class: "axis", width: "100%", height: 20, "aria-hidden": "true" }, marks.filter(fits)
      .map((one) => svg("text", { x: `${scale(one.at)}%`, y: 14, class: one.isDay ? "day" : "" }, one.text)));
    fill(chart, [hatches(), el("div", { class: "lane" }, el("div"), axis), rows, tip]);
    hide();
    if (focused) [...chart.querySelectorAll(".bar")].find((one) => one.dataset.key === focused)?.focus();
    if (!hadTip) hide();
    notes.textContent = !shown.lanes.length ? "No device is known yet." : shown.is_whole ? "" : "There is more than is shown: look at a shorter time.";
    tell(shown);
  }

  function tell(shown) {
    const at = state.at ?? Date.now();
    fill(was, [el("h2", {}, state.at === null ? "Now" : `${at > Date.now() ? "As is expected" : "As it was"} ${time(new Date(at).toISOString())}`), el("dl", {}, shown.lanes.flatMap((lane) => {
      const there = lane.spans.filter((one) => covers(one, at));
      return [el("dt", {}, called(lane)), el("dd", {}, there.length ? there.map((one) => el("div", {}, one.job === null ? said(one)
        : el("a", { href: `#job/${one.job}` }, said(one)))) : state.at === null && shown.nodes?.[lane.device.node] ? "not known" : "free")];
    }))]);
  }

  // One stop of the Tab key for each lane; the arrows go on from there.
  chart.onkeydown = (event) => {
    if (event.key === "Escape") { hide(); return; }
    const own = event.target.closest?.(".bar"), move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!own || (move === undefined && !["ArrowUp", "ArrowDown"].includes(event.key))) return;
    event.preventDefault();
    const lanes = [...chart.querySelectorAll(".bars")], lane = lanes.indexOf(own.closest(".bars"));
    let next;
    if (move !== undefined) {
      const bars = [...lanes[lane].querySelectorAll(".bar")].sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left);
      next = bars[Math.min(bars.length - 1, Math.max(0, bars.indexOf(own) + move))];
    } else {
      const rest = event.key === "ArrowUp" ? lanes.slice(0, lane).reverse() : lanes.slice(lane + 1);
      next = rest.map((one) => one.querySelector(".bar")).find(Boolean);
    }
    next?.focus();
  };
  tip.onmouseleave = hide;
  instant.onchange = () => { const at = Date.parse(instant.value); if (at) go(at); };
  span.onchange = () => { state.hours = Number(span.value); load(); };
  const shift = (part) => () => go((state.at ?? Date.now()) + part * state.hours * HOUR / 2);
  fill(main, [el("h1", {}, "Time line"), el("div", { class: "actions" }, el("label", { for: "at" }, "At "), instant, button("‹ Earlier", shift(-1)), button("Later ›", shift(1)),
    button("Now", () => go(null)), span), chart, el("ul", { class: "legend" }, LEGEND.map(([kind, text]) => el("li", {},
    kind === "now" ? svg("svg", { class: "bars", width: 22, height: 16, "aria-hidden": "true" }, svg("line", { x1: 11, x2: 11, y1: 0, y2: 16, class: "now" }))
    : svg("svg", { width: 22, height: 16, "aria-hidden": "true" }, svg("g", { class: `bar ${kind}` }, kind === "stranger" ? svg("path", { d: "M3 1H19L11 15Z" })
      : [svg("rect", { width: 22, height: 16, rx: 3, class: "base" }), svg("rect", { width: 22, height: 16, rx: 3, class: "hatch", fill: kind.includes("job") ? "none" : `url(#h-${kind})` })])), text))), notes, was]);
  instant.value = inZone(state.at ?? Date.now());
  load();

  const watched = new ResizeObserver(() => draw());
  watched.observe(main);
  const tick = () => {
    if (state.at !== null || document.hidden) return;
    if (!instant.matches(":focus")) instant.value = inZone(Date.now());
    if (Date.now() - latest > state.hours * HOUR / 24) load(); else draw();
  };
  const clock = setInterval(tick, 60000);
  return {
    leave: () => { clearInterval(clock); clearTimeout(timer); watched.disconnect(); },
    // What is new on the box, at most once in a while: a busy queue has an event each second.
    redraw: () => {
      const news = changed();
      if (state.at !== null || news === state.told) return;
      state.told = news;
      if (timer !== null) return;
      timer = setTimeout(() => { timer = null; load(); }, Math.max(0, latest + LATER - Date.now()));
    },
  };
}
