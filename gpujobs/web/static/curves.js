// Learning curves: a chart for each metric, with that of the validation beside it.
import { el, fill } from "./dom.js";

const colours = ["#2f7ed8", "#c0562b", "#2a8f5a", "#8b5fc7", "#b58900", "#c2407e", "#3a9aa8", "#7a7a7a"];
const MOST = 6;
let drawn = [];
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((one) => one.redraw()));

export function parseHistory(text) {
  const [head, ...lines] = text.trim().split("\n").map((one) => one.trim().split(","));
  if (!head || !lines.length) return null;
  return Object.fromEntries(head.map((name, column) => [name, lines.map((line) => (line[column] === "" ? null : Number(line[column])))]));
}

// The file counts them from 0; people, and all other places, from 1.
const epochs = (rows) => rows.epoch.map((one) => one + 1);

// Where nothing is pointed at, the legend has the last values.
function last(plot) { if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 }); }

function chart(metric, runs) {
  const place = el("div", {}, el("h2", {}, metric.slice(0, 60)));
  const names = [], series = [];
  for (const run of runs) for (const name of [metric, `val_${metric}`]) {
    if (run.rows[name]) { names.push(runs.length > 1 ? `${run.name} ${name}` : name); series.push([epochs(run.rows), run.rows[name]]); }
  }
  const axis = { stroke: () => getComputedStyle(document.body).color, grid: { stroke: "#8884" } };
  const options = {
    width: 360, height: 220, scales: { x: { time: false } }, axes: [axis, { ...axis, size: 60 }],
    legend: { show: names.length <= 8 }, hooks: { setCursor: [last] },
    series: [{ label: "epoch" }, ...names.map((name, at) => ({
      label: name.slice(0, 40), stroke: colours[at % colours.length], width: 2, dash: name.includes("val_") ? [6, 4] : undefined,
      points: { show: series[at][0].length < 3 },
    }))],
  };
  return { place, draw: () => {
    options.width = Math.max(240, place.clientWidth);
    const plot = new uPlot(options, uPlot.join(series), place);
    drawn.push(plot);
    last(plot);
    new ResizeObserver(() => plot.setSize({ width: Math.max(240, place.clientWidth), height: options.height })).observe(place);
  } };
}

export function charts(into, runs) {
  if (!runs.length || typeof uPlot === "undefined") return;
  const metrics = new Set(runs.flatMap((run) => Object.keys(run.rows)).filter((name) => name !== "epoch" && !name.startsWith("val_")));
  const made = [...metrics].slice(0, MOST).map((metric) => chart(metric, runs));
  drawn = [];
  fill(into, made.map((one) => one.place));
  for (const one of made) one.draw();
}
