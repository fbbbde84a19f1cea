// Elements whose children are texts or elements: never markup that somebody wrote.
export function el(tag, attributes, ...children) { return made_of(document.createElement(tag), attributes, children); }

export function svg(tag, attributes, ...children) {
  return made_of(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function made_of(made, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made[name] = value; else if (value !== undefined) made.setAttribute(name, value);
  }
  fill(made, children);
  return made;
}

export function fill(parent, children) {
  parent.replaceChildren(...children.flat(9).filter((one) => one !== null && one !== undefined && one !== false && one !== "")
    .map((one) => (one instanceof Node ? one : document.createTextNode(plain(String(one))))));
}

// What could turn the text around, or hide in it, is shown as a mark.
export function plain(text) { return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd"); }

export function time(text) { return text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : ""; }

// The daemon's sentences have UTC.
export function words(text) {
  return (text ?? "").replace(/\b(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) UTC\b/g, (_, day, hour) => time(`${day}T${hour}Z`));
}

export function gib(bytes) { return (bytes / 2 ** 30).toFixed(1); }

export function elapsed(it) {
  const start = it.started_at ?? it.submitted_at;
  if (!start) return "";
  const seconds = Math.max(0, Math.floor((new Date(it.ended_at ?? Date.now()) - new Date(start)) / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days) return `${days}d ${two(hours)}:${two(minutes)}`;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
