// The pages. Whatever a user wrote goes through `el`, which makes text of it: there is no innerHTML here.
import { charts, parseHistory } from "./curves.js";
import { el, elapsed, time, gib, words, fill } from "./dom.js";
import { timeline as lanes } from "./timeline.js";
import { usage as showUsage } from "./usage.js";

const main = document.getElementById("main");
const box = { rows: [], devices: [], nodes: [], notices: [], total: 0 };
const ended = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"]);
let leave = () => {};
let redraw = () => {};

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-Gpujobs": "1" },
  };
  const answer = await fetch(path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.message);
  return value;
}

function say(text) { document.getElementById("said").textContent = text; if (text) setTimeout(() => say(""), 8000); }

function listen() {
  const source = new EventSource("/events");
  const link = document.getElementById("link");
  source.onopen = () => { link.textContent = "live"; };
  source.onerror = () => {
    link.textContent = source.readyState === 2 ? "logged out: `gpujobs web` prints a new link" : "the daemon is away; trying again";
    if (source.readyState === 2) setTimeout(listen, 3000);
  };
  source.addEventListener("now", (event) => { Object.assign(box, JSON.parse(event.data)); redraw(); });
  source.addEventListener("change", (event) => {
    const { put, order, ...rest } = JSON.parse(event.data);
    const known = new Map([...box.rows, ...put].map((row) => [row.key, row]));
    box.rows = (order ?? box.rows.map((row) => row.key)).map((key) => known.get(key));
    Object.assign(box, rest);
    redraw();
  });
}

async function act(verb, ids) {
  if (verb === "cancel" && !confirm(`Cancel ${ids.join(", ")}?`)) return;
  try {
    const done = await ask(`/v1/jobs/${verb}`, { ids });
    say(`${verb}: ${done.jobs.map((job) => job.id).join(", ") || "nothing to change"}`);
  } catch (error) { say(error.message); }
}

function actions(job) {
  const verbs = ended.has(job.state) ? ["requeue"]
    : [job.held ? "release" : job.state === "PENDING" ? "hold" : "requeue", "cancel"];
  return el("div", { class: "actions" }, verbs.map((verb) =>
    el("button", { type: "button", onclick: () => act(verb, [job.id]) }, verb)));
}

// Now

const jobsOf = (one) => one.jobs.map((id) => [el("a", { href: `#job/${id}` }, `job ${id}`), " "]);

// One box has no nodes to speak of.
function devicesByNode() {
  const of = (node) => el("div", { class: "cards" }, box.devices.filter((one) => !node || one.node === node.name).map((one) => device(one, node?.status === "down")));
  if (box.nodes.length < 2) return [of(null)];
  return box.nodes.map((node) => {
    const mine = box.devices.filter((one) => one.node === node.name), free = mine.filter((one) => one.state === "free").length;
    const says = node.status === "ok" ? `${free} of ${mine.length} free` : words(node.message || node.status);
    return el("section", { class: "node", "aria-label": node.name }, el("h2", {}, node.name, " ",
      el("span", { class: node.status === "ok" ? "dim" : "lost" }, says)), of(node));
  });
}

function device(one, isAway) {
  const name = one.kind === "gpu" ? "GPU" : "CPU slot", head = box.nodes.length > 1 ? "h3" : "h2";
  if (isAway) return el("section", { class: "card" }, el(head, {}, `${name} ${one.index}`, el("span", { class: "state lost" }, "away")),
    el("p", { class: "dim" }, one.name), one.jobs.length ? el("p", {}, "last known: ", jobsOf(one)) : null);
  const memory = one.memory_total_bytes ? el("meter", {
    min: 0, max: one.memory_total_bytes, value: one.memory_used_bytes ?? 0, "aria-label": "memory in use",
  }) : null;
  const figures = [
    one.memory_total_bytes ? `${gib(one.memory_used_bytes ?? 0)} of ${gib(one.memory_total_bytes)} GiB` : null,
    one.utilization_percent == null ? null : `load ${one.utilization_percent} %`,
    one.temperature_celsius == null ? null : `${one.temperature_celsius} °C`,
  ].filter(Boolean).map((text) => text.replaceAll(" ", "\u00a0")).join(" · ");
  const isExplained = ["busy", "free"].includes(one.state) || (one.state === "foreign" && one.foreign.length);
  return el("section", { class: "card" },
    el(head, {}, `${name} ${one.index}`, el("span", { class: `state ${one.state}` }, one.state)),
    el("p", { class: "dim" }, one.name), memory, figures && el("p", {}, figures),
    one.jobs.length ? el("p", {}, jobsOf(one)) : null,
    one.message && !isExplained ? el("p", {}, words(one.message)) : null,
    one.foreign.map((p) => el("p", { class: "foreign" }, `stranger: ${p.user ?? "unknown"} pid ${p.pid} ${p.command ?? ""}`.slice(0, 120))));
}

function line(row) {
  const it = row.job ?? row.group;
  const href = row.job ? `#job/${it.id}` : `#compare/g${it.id}`;
  const where = it.device ? `${box.nodes.length > 1 ? `${it.node}:` : ""}${it.device.kind} ${it.device.index}` : "";
  const done = it.progress?.epochs ? it.progress.epoch / it.progress.epochs : row.group ? it.progress : null;
  const isActive = ["RUNNING", "COMPLETING"].includes(it.state);
  return el("tr", { class: row.own ? "own" : "" },
    el("td", { class: "num" }, el("a", { href }, row.job ? it.id : `g${it.id}`)),
    el("td", {}, el("span", { class: "name", title: (it.name ?? "").slice(0, 200) }, (it.name ?? "-").slice(0, 200))),
    el("td", {}, it.user ?? "-"), el("td", {}, el("span", { class: `state ${it.state}` }, it.state)),
    el("td", {}, where),
    el("td", { class: "says" }, isActive && done != null ? el("progress", { max: 1, value: done, "aria-label": "done" }) : null,
      words(row.says), it.expected_start ? el("div", { class: "dim" }, `expected to start ${time(it.expected_start)}`) : null),
    el("td", { class: "num" }, elapsed(it)));
}

const queueHead = ["Id", "Name", "User", "State", "Device", "Progress or reason", "Time"];

function now() {
  const filter = el("input", { type: "search", placeholder: "name, user, state", "aria-label": "Filter the queue" });
  const mine = el("input", { type: "checkbox", id: "mine" });
  const devices = el("div"), notes = el("div"), body = el("tbody"), more = el("p", { class: "dim" });
  redraw = () => {
    fill(devices, devicesByNode());
    fill(notes, [...box.notices.map((text) => el("p", { class: "foreign" }, words(text))),
      ...box.nodes.filter((node) => node.status !== "ok" && box.nodes.length < 2).map((node) => el("p", {}, `${node.name}: ${node.message || node.status}`))]);
    const wanted = filter.value.toLowerCase();
    const shown = box.rows.filter((row) => {
      const it = row.job ?? row.group;
      return (!mine.checked || row.own) && `${it.id} ${it.name} ${it.user} ${it.state} ${row.says}`.toLowerCase().includes(wanted);
    });
    fill(body, shown.map(line));
    more.textContent = !box.rows.length ? "No jobs; `gpujobs submit FILE` queues one."
      : box.total > box.rows.length ? `and ${box.total - box.rows.length} more` : "";
  };
  filter.oninput = mine.onchange = () => redraw();
  const timer = setInterval(() => redraw(), 10000);
  leave = () => clearInterval(timer);
  fill(main, [el("h1", {}, "Now"), notes, devices, el("h2", {}, "Queue"),
    el("div", { class: "actions" }, filter, el("label", {}, mine, " mine only")),
    el("div", { class: "wide" }, el("table", { class: "queue" },
      el("thead", {}, el("tr", {}, queueHead.map((text) => el("th", { scope: "col" }, text)))), body)), more]);
  redraw();
}

// The time line

function timeline(argument) {
  const changed = () => JSON.stringify([box.rows.map((row) => [row.key, (row.job ?? row.group).state, row.job?.attempt, row.job?.expected_start]),
    box.devices.map((one) => [one.uuid, one.state, one.jobs, one.foreign.length])]);
  ({ leave, redraw } = lanes(main, { ask, say, changed }, argument));
}

// One job

const pictures = { "forecast.png": "Forecast, truth and naive forecast", "confusion.png": "Confusion matrix: truth against prediction" };

function picture(id, name) {
  const href = `/v1/results/${id}/${name}`;
  const made = el("figure", {}, el("figcaption", {}, pictures[name]), el("a", { href, download: name },
    el("img", { src: href, alt: pictures[name], loading: "lazy", onerror: () => made.remove() })));
  return made;
}

// What a job has written, also before it has ended; nothing is asked for that cannot be there.
async function filesOf(it) {
  return it.attempt ? (await ask(`/v1/results?ids=${it.id}&partial=1`)).results[0]?.files ?? [] : [];
}

async function history(it) {
  try {
    if (!(await filesOf(it)).some((file) => file.name === "history.csv")) return null;
    const answer = await fetch(`/v1/results/${it.id}/history.csv`);
    return answer.ok ? parseHistory(await answer.text()) : null;
  } catch { return null; }
}

async function followLog(id, into, signal) {
  const answer = await fetch(`/v1/jobs/${id}/log?follow=1&tail=500`, { signal });
  if (!answer.ok) { into.textContent = (await answer.json()).message; return; }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const isAtEnd = into.scrollTop + into.clientHeight >= into.scrollHeight - 20;
    into.textContent = (into.textContent + part.value).slice(-200000);
    if (isAtEnd) into.scrollTop = into.scrollHeight;
  }
}

async function job(id) {
  const stop = new AbortController();
  leave = () => stop.abort();
  let found;
  try { found = await ask(`/v1/jobs/${id}`); } catch (error) { fill(main, [el("h1", {}, `Job ${id}`), el("p", {}, error.message)]); return; }
  const top = el("div"), plots = el("div", { class: "plots" }), log = el("pre", { tabindex: 0, role: "region", "aria-label": "Log" }, ""), files = el("ul"), rest = el("div"), drawn = el("div", { class: "plots" });
  const describe = (it) => fill(top, [
    el("h1", {}, `Job ${id} `, el("span", { class: "name" }, (it.name ?? "-").slice(0, 200))),
    el("p", {}, el("span", { class: `state ${it.state}` }, it.state), " ", words(says(it))), actions(it),
    el("dl", {}, [["user", it.user], ["device", it.device ? `${it.device.kind} ${it.device.index} on ${it.node}` : "-"],
      ["submitted", time(it.submitted_at)], ["started", time(it.started_at)], ["ended", time(it.ended_at)],
      ["expected start", time(it.expected_start)], ["group", it.group], ["priority", String(it.priority)]]
      .filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))]);
  const curves = async () => { const rows = await history(last); if (rows && !stop.signal.aborted) charts(plots, [{ name: `job ${id}`, rows }]); };
  const details = async () => {
    const made = found.device_use;
    fill(rest, [...(made?.line ? [el("h2", {}, "Device use"), el("p", {}, made.line), made.advice ? el("p", {}, `Advice: ${made.advice}.`) : null] : []),
      el("h2", {}, "Attempts"), !found.attempts.length ? el("p", { class: "dim" }, "none yet") : el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Attempts" }, el("table", {},
      el("thead", {}, el("tr", {}, ["No.", "Device", "Started", "Ended", "Reason"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, found.attempts.map((one) => el("tr", {}, el("td", {}, one.number), el("td", {}, `${box.nodes.length > 1 ? `${one.node}:` : ""}${one.device.kind} ${one.device.index}`),
        el("td", {}, time(one.started_at)), el("td", {}, time(one.ended_at)), el("td", {}, words(`${one.reason} ${one.message}`.trim()))))))),
      el("h2", {}, "History"), el("ul", {}, found.events.map((e) => el("li", {}, `${time(e.at)} · ${e.kind.replaceAll("_", " ")} by ${e.actor}`,
        e.to && e.from ? `, ${e.from} → ${e.to}` : "", e.message ? `: ${words(e.message)}` : ""))),
      el("h2", {}, "Job file, resolved"), el("pre", { tabindex: 0, role: "region", "aria-label": "Job file, resolved" }, JSON.stringify(found.spec, null, 2))]);
    try {
      const there = await filesOf(last);
      fill(drawn, there.filter((file) => Object.hasOwn(pictures, file.name)).map((file) => picture(id, file.name)));
      if (!there.length) throw new Error("none");
      fill(files, there.map((file) => el("li", {},
        el("a", { href: `/v1/results/${id}/${file.name.split("/").map(encodeURIComponent).join("/")}`, download: file.name }, file.name), ` ${file.bytes.toLocaleString()} B`)));
    } catch { fill(files, [el("li", { class: "dim" }, "none yet")]); }
  };
  fill(main, [top, el("div", { class: "beside" }, plots, drawn), el("h2", {}, "Log"), log, el("h2", {}, "Results"), files, rest]);
  describe(found.job);
  let last = found.job;
  redraw = () => {
    const row = box.rows.find((one) => one.key === `j${id}`);
    if (!row || JSON.stringify(row.job) === JSON.stringify(last)) return;
    const before = last; last = row.job;
    describe(last);
    if (last.progress?.epoch !== before.progress?.epoch || last.state !== before.state) curves();
    if (!before.attempt && last.attempt) { log.textContent = ""; followLog(id, log, stop.signal).catch(() => {}); }
    if (last.state !== before.state) ask(`/v1/jobs/${id}`).then((answer) => { found = answer; details(); }, () => {});
  };
  curves(); details();
  if (!found.attempts.length) log.textContent = "It has not started.";
  else followLog(id, log, stop.signal).catch(() => {});
}

function says(it) {
  const row = box.rows.find((one) => one.key === `j${it.id}`);
  return row && row.job.state === it.state ? row.says : [it.reason, it.message].filter(Boolean).join(": ");
}

// Compare

// What a sweep sets, as the terminal has it: Adam(learning_rate=0.01).
function setting(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(setting).join(", ")}]`;
  return Object.entries(value).map(([name, given]) => {
    const isNamed = given !== null && typeof given === "object" && !Array.isArray(given);
    return isNamed ? `${name}(${Object.entries(given).map(([key, one]) => `${key}=${setting(one)}`).join(", ")})` : `${name}=${setting(given)}`;
  }).join(", ");
}

async function compare(text) {
  const entry = el("input", { value: text, placeholder: "7, 9, 60-65, g12", "aria-label": "Jobs to compare" });
  const plots = el("div", { class: "plots" }), table = el("div", { class: "wide" });
  const form = el("form", { class: "actions", onsubmit: (event) => { event.preventDefault(); location.hash = `compare/${entry.value.replaceAll(" ", "")}`; } },
    entry, el("button", {}, "Compare"));
  fill(main, [el("h1", {}, "Compare"), form, plots, table]);
  if (!text) return;
  try {
    const { jobs } = await ask(`/v1/jobs?ids=${encodeURIComponent(text)}`);
    const drawn = await Promise.all(jobs.slice(0, 40).map(async (one) => ({ name: `job ${one.id}`, rows: await history(one) })));
    charts(plots, drawn.filter((one) => one.rows));
    const ranking = /^g\d+$/.test(text) ? await ask(`/v1/ranking?ids=${text}`) : null;
    const members = ranking?.members ?? jobs.map((one) => ({ job: one, rank: null, value: null }));
    fill(table, [ranking?.why ? el("p", {}, `ranked by ${ranking.metric}: ${ranking.why}`) : null, el("table", {},
      el("thead", {}, el("tr", {}, ["Rank", "Job", "Name", "State", ranking?.metric ?? "Figure"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, members.map((one) => el("tr", {}, el("td", {}, one.rank ?? "-"), el("td", {}, el("a", { href: `#job/${one.job.id}` }, one.job.id)),
        el("td", {}, one.job.sweep ? Object.entries(one.job.sweep).map(([key, value]) => `${key.split(".").pop()}=${setting(value)}`).join(" ").slice(0, 200) : (one.job.name ?? "-").slice(0, 200)),
        el("td", {}, el("span", { class: `state ${one.job.state}` }, one.job.state)), el("td", { class: "num" }, one.value == null ? "-" : Number(one.value.toPrecision(4)))))))]);
  } catch (error) { fill(table, [el("p", {}, error.message)]); }
}

// Results

async function results() {
  const search = el("input", { type: "search", "aria-label": "Search the results", placeholder: "name, user, group" });
  const body = el("tbody"), order = { key: "job", sign: -1 }, heads = {};
  fill(main, [el("h1", {}, "Results"), el("div", { class: "actions" }, search), el("div", { class: "wide" }, el("table", { class: "results" }, el("thead", {}, el("tr", {},
    [["job", "Job"], ["name", "Name"], ["user", "User"], ["group", "Group"], ["ended_at", "Ended"], ["figures", "Figures"]].map(([key, text]) =>
      heads[key] = el("th", { scope: "col" }, el("button", { type: "button", onclick: () => { order.sign = order.key === key ? -order.sign : 1; order.key = key; draw(); } }, text))))), body))]);
  let found = [];
  const figures = (entry) => Object.entries(entry.metrics.final ?? {}).map(([name, value]) => `${name} ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`).join(" · ");
  const draw = () => {
    for (const [key, head] of Object.entries(heads)) head.setAttribute("aria-sort", key !== order.key ? "none" : order.sign > 0 ? "ascending" : "descending");
    fill(body, found.filter((entry) => `${entry.job} ${entry.name} ${entry.user} ${entry.group}`.toLowerCase().includes(search.value.toLowerCase()))
    .sort((a, b) => order.sign * (a[order.key] < b[order.key] ? -1 : a[order.key] > b[order.key] ? 1 : 0))
    .slice(0, 500)
    .map((entry) => el("tr", {}, el("td", { class: "num" }, el("a", { href: `#job/${entry.job}` }, entry.job)), el("td", {}, el("span", { class: "name" }, entry.name.slice(0, 200))),
      el("td", {}, entry.user), el("td", {}, (entry.group ?? "").slice(0, 80)), el("td", {}, time(entry.ended_at)), el("td", {}, entry.evaluation[0] ?? entry.figures))));
  };
  search.oninput = draw;
  try { found = (await ask("/v1/results")).results.map((entry) => ({ ...entry, figures: figures(entry) })); } catch (error) { say(error.message); }
  draw();
}

function usage(argument) { return showUsage(main, { ask, say }, argument); }

const pages = { now, timeline, job, compare, results, usage };

function route() {
  const [name, argument = ""] = decodeURIComponent(location.hash.slice(1) || "now").split("/");
  leave(); leave = () => {}; redraw = () => {};
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = `gpujobs ${name} ${argument}`;
  Promise.resolve((pages[name] ?? now)(argument)).catch((error) => say(error.message));
}

addEventListener("hashchange", () => { route(); main.focus(); });
listen();
route();
