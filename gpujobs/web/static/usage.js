// Who used what: what `gpujobs report` tells, with a bar beside each figure.
import { el, fill } from "./dom.js";

const kinds = { user: "user", group: "group", week: "week", device: "device" };
const spans = { 7: "7 days", 30: "30 days", 90: "90 days" };

function number(value) { return value.toLocaleString(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 }); }

function hours(value) { return value > 0 && value < 0.05 ? "<0.1 h" : `${number(value)} h`; }

function percent(value) { return `${Math.round(100 * value)} %`; }

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
}

function energy(joules) {
  if (joules >= 360000) return `${Number((joules / 3.6e6).toPrecision(3))} kWh`;
  return joules >= 1000 ? `${(joules / 1000).toFixed(1)} kJ` : `${Math.round(joules)} J`;
}

// Key, heading, how it is written, what the whole bar is (none: the largest in its column), what it means.
const columns = [
  ["gpu_hours", "GPU hours", hours, null, "of whole GPUs: half of one for two hours is one"],
  ["cpu_hours", "CPU hours", hours, null, "of whole CPU slots"],
  ["unused_hours", "Unused", hours, null, "jobs had a GPU, and it did not compute; as far as that was sampled"],
  ["load", "Load", percent, 1, "of the sampled time in which jobs had GPUs, the part in which these computed"],
  ["memory_used", "Memory used", percent, 1, "of the GPU memory that was reserved, the part that was in use at most"],
  ["idle_hours", "Idle", hours, null, "no job was on the device"],
  ["foreign_hours", "Strangers", hours, null, "something that is no job was seen on the device"],
  ["energy_joules", "Energy", energy, null, "as far as the GPUs tell it"],
  ["wait_median", "Wait", duration, null, "half of the jobs waited so long, or less"],
  ["wait_max", "Longest wait", duration, null, ""],
  ["jobs", "Jobs", String, null, ""],
];

// A bar is as long as its part of the whole; a lighter end is what was not used.
function bar(part, idle = 0) {
  const made = el("span", { class: "share", "aria-hidden": "true" }, el("i", {}), idle > 0 ? el("i", { class: "idle" }) : null);
  const [first, last] = made.children;
  first.style.width = `${100 * Math.max(0, part - idle)}%`;
  if (last) last.style.width = `${100 * Math.min(part, idle)}%`;
  return made;
}

function cell(row, [key, head, write, whole], most) {
  const value = row[key], of = whole ?? most[key];
  if (value == null) return el("td", { class: "num dim", "data-head": head }, "-");
  const idle = key === "gpu_hours" && of > 0 ? (row.unused_hours ?? 0) / of : 0;
  return el("td", { class: "num", "data-head": head }, write(value), bar(of > 0 ? Math.min(1, value / of) : 0, idle));
}

function day(date) { return date.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" }); }

function name(by, key) { return by === "week" ? `from ${day(new Date(`${key}T12:00`))}` : key; }

function table(found, shown) {
  const most = Object.fromEntries(columns.map(([key]) => [key, Math.max(...found.rows.map((row) => row[key] ?? 0))]));
  return el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Usage by ${found.by}` }, el("table", { class: "use" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, found.by[0].toUpperCase() + found.by.slice(1)), shown.map(([, head]) => el("th", { scope: "col", class: "num" }, head)))),
    el("tbody", {}, found.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, name(found.by, row.key)), shown.map((one) => cell(row, one, most)))))));
}

function draw(found) {
  if (!found.rows.length) return [el("p", { class: "dim" }, "Nothing was used in this time.")];
  const shown = columns.filter(([key]) => key === "gpu_hours" || [...found.rows, found.total].some((row) => row[key] > 0 || (row[key] === 0 && key === "load")));
  const totals = shown.filter(([key]) => found.total[key] != null);
  return [el("dl", { class: "totals" }, totals.map(([key, head, write]) => el("div", {}, el("dt", {}, head), el("dd", {}, write(found.total[key]))))),
    table(found, shown), found.is_whole ? null : el("p", { class: "foreign" }, "There are more attempts than are counted; choose less time."),
    el("ul", { class: "legend" }, shown.filter(([, , , , means]) => means).map(([key, head, , , means]) =>
      el("li", {}, key === "unused_hours" ? bar(1, 1) : null, el("b", {}, head), means)))];
}

// A row of choices, of which one holds: arrow keys go through them.
function choices(legend, all, chosen, change) {
  return el("fieldset", { class: "choices" }, el("legend", {}, legend), Object.entries(all).map(([value, text]) => {
    const button = el("input", { type: "radio", name: legend, value, onchange: () => change(value) });
    button.checked = value === chosen;
    return el("label", {}, button, el("span", {}, text));
  }));
}

// As the address has it: #usage/week,90
function asked(argument) {
  const [by, span] = argument.split(",");
  return { by: Object.hasOwn(kinds, by) ? by : "user", span: Object.hasOwn(spans, span ?? "") ? span : "7" };
}

function zone() {
  const named = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return named && named !== "Etc/Unknown" ? named : "UTC";
}

function present(info, jobs) {
  const people = new Map();
  for (const one of jobs) {
    const count = people.get(one.user ?? "others") ?? { running: 0, waiting: 0 };
    count[one.state === "PENDING" ? "waiting" : "running"] += 1;
    people.set(one.user ?? "others", count);
  }
  const heads = el("tr", {}, ["User", "Running", "Waiting"].map((text) => el("th", { scope: "col" }, text)));
  return el("div", { class: "present" },
    el("section", {}, el("h2", {}, "People now"), !people.size ? el("p", { class: "dim" }, "No jobs.") : el("table", { class: "narrow" }, el("thead", {}, heads),
      el("tbody", {}, [...people].map(([user, count]) => el("tr", {}, el("td", {}, user), el("td", { class: "num" }, count.running), el("td", { class: "num" }, count.waiting)))))),
    el("section", {}, el("h2", {}, "Jobs by state"), el("table", { class: "narrow" }, el("tbody", {}, Object.entries(info.jobs).map(([state, count]) =>
      el("tr", {}, el("th", { scope: "row" }, el("span", { class: `state ${state}` }, state)), el("td", { class: "num" }, count)))))));
}

export async function usage(main, { ask, say }, argument) {
  const choice = asked(argument), found = el("div"), csv = el("a", { download: "" }, "Save as CSV"), now = el("div"), share = el("p");
  const show = async () => {
    const { by, span } = choice, since = new Date(Date.now() - span * 86400000);
    const path = `/v1/report?${new URLSearchParams({ by, since: since.toISOString(), zone: zone() })}`;
    csv.href = `${path}&format=csv`;
    csv.download = `usage-by-${by}-${span}-days.csv`;
    const answer = await ask(path);
    if (choice.by === by && choice.span === span) fill(found, draw(answer));
  };
  const change = (key) => (value) => {
    choice[key] = value;
    history.replaceState(null, "", `#usage/${choice.by},${choice.span}`);
    show().catch((error) => say(error.message));
  };
  fill(main, [el("h1", {}, "Usage"), share, el("div", { class: "actions" }, choices("By", kinds, choice.by, change("by")),
    choices("In the last", spans, choice.span, change("span")), csv), found, now]);
  const [info, { jobs }] = await Promise.all([ask("/v1/info"), ask("/v1/jobs"), show()]);
  if (info.share) share.textContent = `You have used ${percent(info.share.used)} of the GPU time that counts; your share is ${percent(info.share.share)}.`;
  fill(now, [present(info, jobs)]);
}
