// Tables that sort, charts that tell their values, a gallery that filters. No library, no network.
"use strict";

const make = (name, attributes = {}, ...content) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
};
const draw = (name, attributes = {}, ...content) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
};

// --- tables: the first number of a cell sorts, else its words; what is not measured stays last ---
const sortKey = (row, column) => {
  const text = row.cells[column].textContent.trim().replaceAll("−", "-");
  const number = /^[+-]?\d/.test(text) ? parseFloat(text) : NaN;
  return { text, number, empty: text === "–" || text.startsWith("not ") };
};
const compare = (a, b) =>
  Number.isNaN(a.number) || Number.isNaN(b.number)
    ? a.text.localeCompare(b.text, "en")
    : a.number - b.number;

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row, column), row]);
      const numbers = rows.some(([key]) => !Number.isNaN(key.number));
      const before = head.getAttribute("aria-sort");
      const first = numbers ? "descending" : "ascending";
      const order = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      rows.sort(([a], [b]) => a.empty - b.empty || sign * compare(a, b));
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

// --- charts: lines over a common x; pointer and slider move one cursor ---
const BOX = { left: 44, right: 8, top: 8, bottom: 34, width: 340, height: 230 };
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "10 4", "1 4"];
const short = (value) =>
  Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));

function scales(data) {
  const points = data.series.flatMap((one) => one.points);
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const low = data.log ? Math.log10(Math.min(...ys)) : 0;
  const high = data.log ? Math.log10(Math.max(...ys)) : Math.max(1, ...ys);
  const first = data.log ? Math.min(...xs) : 0, last = Math.max(...xs);
  const wide = BOX.width - BOX.left - BOX.right, tall = BOX.height - BOX.top - BOX.bottom;
  return {
    first, last, low, high,
    x: (value) => BOX.left + ((value - first) / (last - first || 1)) * wide,
    y: (value) => BOX.top + (1 - ((data.log ? Math.log10(value) : value) - low) / (high - low || 1)) * tall,
    back: (pixel) => first + ((pixel - BOX.left) / wide) * (last - first),
  };
}

function axes(svg, data, to) {
  for (let part = 0; part <= 4; part++) {
    const level = to.low + ((to.high - to.low) * part) / 4;
    const y = BOX.top + (1 - part / 4) * (BOX.height - BOX.top - BOX.bottom);
    const x = to.first + ((to.last - to.first) * part) / 4;
    svg.append(
      draw("line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: y, y2: y }),
      draw("text", { x: BOX.left - 5, y: y + 4, "text-anchor": "end" }, short(data.log ? 10 ** level : level)),
      draw("text", { x: to.x(x), y: BOX.height - 19, "text-anchor": part === 4 ? "end" : "middle" }, short(x)),
    );
  }
  svg.append(
    draw("text", { x: (BOX.left + BOX.width) / 2, y: BOX.height - 4, "text-anchor": "middle" }, data.x),
    draw("text", { transform: `translate(10 ${BOX.height / 2 - 12}) rotate(-90)`, "text-anchor": "middle" }, data.y),
  );
}

// The point of a curve at x: of several (a vertical piece) the last, else the nearest.
const nearest = (points, x) =>
  points.reduce((best, p) => (Math.abs(p[0] - x) <= Math.abs(best[0] - x) ? p : best));

function chart(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  if (!data.series.length) return figure.append("nothing to draw");
  const caption = figure.querySelector("figcaption"), to = scales(data);
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-labelledby": caption.id });
  const values = make("ul", { class: "values" });
  const slider = make("input", { type: "range", min: 0, max: 100, value: 10, "aria-label": `${caption.textContent}: read values at ${data.x}` });
  const cursor = draw("line", { class: "cursor", y1: BOX.top, y2: BOX.height - BOX.bottom });
  axes(svg, data, to);
  const rows = data.series.map((one, number) => {
    const style = { class: `c${number % 6}`, "stroke-dasharray": DASHES[number % 6] };
    const path = one.points.map(([x, y], i) => `${i ? "L" : "M"}${to.x(x).toFixed(1)} ${to.y(y).toFixed(1)}`);
    svg.append(draw("path", { ...style, d: path.join("") }));
    const sample = draw("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, draw("path", { ...style, d: "M0 4H26" }));
    const read = make("span");
    values.append(make("li", {}, sample, make("span", {}, one.name.replaceAll("_", " ")), read));
    return { one, read };
  });
  svg.append(cursor);
  const show = (x) => {
    cursor.setAttribute("x1", to.x(x));
    cursor.setAttribute("x2", to.x(x));
    const said = rows.map(({ one, read }) => {
      const [, y] = nearest(one.points, x);
      read.textContent = short(y);
      return `${one.name.replaceAll("_", " ")} ${short(y)}`;
    });
    head.textContent = `at ${data.x} ${short(x)}`;
    slider.setAttribute("aria-valuetext", `${data.x} ${short(x)}: ${said.join(", ")}`);
  };
  const head = make("span");
  values.prepend(make("li", {}, make("span", {}, data.y), head));
  slider.addEventListener("input", () => show(to.first + (slider.value / 100) * (to.last - to.first)));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = to.back(((event.clientX - box.left) / box.width) * BOX.width);
    slider.value = (100 * (x - to.first)) / (to.last - to.first);
    show(Math.min(to.last, Math.max(to.first, x)));
  });
  figure.append(svg, slider, values);
  show(to.first + 0.1 * (to.last - to.first));
}

// --- gallery ---
const OUTCOMES = { "hit": "hit", "miss": "miss", "false-alarm": "false alarm", "correct-rejection": "correct rejection" };
const PLURALS = { "hit": "hits", "miss": "misses", "false-alarm": "false alarms", "correct-rejection": "correct rejections" };
const TITLES = Object.fromEntries(Object.entries(OUTCOMES).map(([key, text]) => [key, text[0].toUpperCase() + text.slice(1)]));
const AT_ONCE = 24;
const outcomeOf = (image, kind, threshold) =>
  image.scores[kind] >= threshold ? (image.label ? "hit" : "false-alarm") : image.label ? "miss" : "correct-rejection";

function tile(gallery, index, kind, words) {
  const { columns } = gallery, room = columns * gallery.rows;  // tiles of a full sheet
  const number = Math.floor(index / room), here = index % room;
  const rows = Math.ceil(Math.min(room, gallery.images.length - number * room) / columns);
  const share = (at, of) => (of > 1 ? (100 * at) / (of - 1) : 0);
  const place = (node, sheet) => {
    node.style.backgroundImage = `url("images/${gallery.category}-${sheet}-${number}.webp")`;
    node.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    node.style.backgroundPosition = `${share(here % columns, columns)}% ${share(Math.floor(here / columns), rows)}%`;
    return node;
  };
  const [base, over] = kind;
  const node = place(make("span", { class: "tile", role: "img", "aria-label": words }), base);
  if (over) node.append(place(make("span"), over));
  return node;
}

function picture(gallery, index, kind, outcome) {
  const image = gallery.images[index], name = image.name;
  const mask = image.mask
    ? tile(gallery, index, ["mask"], `mask of ${name}`)
    : make("span", { class: "tile none" }, "not known");
  const parts = [
    ["image", tile(gallery, index, ["image"], `image ${name}`)],
    ["mask", mask],
    ["cosine", tile(gallery, index, ["cosine"], `cosine map of ${name}`)],
    ["segm.", tile(gallery, index, ["segmentation"], `segmentation map of ${name}`)],
    ["overlay", tile(gallery, index, ["image", kind], `${kind} map over ${name}`)],
  ];
  const title = make("h2", {}, `${TITLES[outcome]}: ${image.defect.replaceAll("_", " ")}, score ${short(image.scores[kind])} `, make("small", {}, name));
  const pictures = make("div", { class: "pictures" }, ...parts.map(([word, node]) => make("div", {}, node, word)));
  return make("li", { class: outcome, "data-outcome": outcome, "data-defect": image.defect, "data-name": name }, title, pictures);
}

function galleryPage(data) {
  const find = (id) => document.getElementById(id);
  const [category, defect, kind, order, slider] = ["category", "defect", "kind", "order", "threshold"].map(find);
  const boxes = [...document.querySelectorAll("[name=outcome]")];
  let gallery, positions, shown = AT_ONCE;

  const threshold = () => positions[slider.value];
  const members = () => {
    const wanted = defect.value;
    return gallery.images.map((image, index) => [image, index]).filter(([image]) =>
      wanted === "all" || (wanted === "real" ? !image.drawn : image.defect === wanted));
  };
  const enterCategory = () => {
    gallery = data.find((one) => one.category === category.value);
    const kinds = [...new Set(gallery.images.map((image) => image.defect))].sort();
    const options = [["real", gallery.images.some((i) => i.drawn) ? "good and real defects" : "all"], ...kinds.map((k) => [k, k.replaceAll("_", " ")])];
    if (gallery.images.some((image) => image.drawn)) options.push(["all", "all, also drawn defects"]);
    defect.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
    enterKind();
  };
  const enterKind = () => {
    // A step of the slider is a step in rank: each passes one score, wherever the scores crowd.
    const scores = gallery.images.map((image) => image.scores[kind.value]);
    const above = Math.max(...scores) * 1.001;
    const chosen = gallery.threshold[kind.value];  // null: no validation split, nothing is chosen
    positions = [...new Set([...scores, ...(chosen === null ? [] : [chosen]), above])].sort((a, b) => a - b);
    slider.max = positions.length - 1;
    reset();
  };
  const reset = () => {
    const chosen = gallery.threshold[kind.value];
    slider.value = chosen === null ? Math.floor(positions.length / 2) : positions.indexOf(chosen);
    show();
  };
  const rug = (chosen) => {
    const canvas = find("rug"), context = canvas.getContext("2d"), colours = getComputedStyle(document.documentElement);
    canvas.width = canvas.clientWidth;
    const at = new Map(positions.map((score, place) => [score, place]));
    for (const [image] of chosen) {
      context.fillStyle = colours.getPropertyValue(image.label ? "--miss" : "--correct-rejection");
      const x = 8 + (at.get(image.scores[kind.value]) / (positions.length - 1)) * (canvas.width - 16);
      context.fillRect(x - 0.75, image.label ? 2 : 19, 1.5, 13);
    }
  };
  const show = () => {
    const cut = threshold(), chosen = members(), wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const counts = Object.fromEntries(Object.keys(OUTCOMES).map((key) => [key, 0]));
    const listed = [];
    for (const [image, index] of chosen) {
      const outcome = outcomeOf(image, kind.value, cut);
      counts[outcome] += 1;
      if (wanted.has(outcome)) listed.push([image, index, outcome]);
    }
    const score = ([image]) => image.scores[kind.value];
    const keys = { high: (a) => -score(a), low: score, near: (a) => Math.abs(score(a) - cut) };
    listed.sort((a, b) => keys[order.value](a) - keys[order.value](b) || a[1] - b[1]);
    find("images").replaceChildren(...listed.slice(0, shown).map(([, index, outcome]) => picture(gallery, index, kind.value, outcome)));
    for (const key of Object.keys(OUTCOMES)) document.querySelector(`[data-count=${key}]`).textContent = `(${counts[key]})`;
    const words = Object.keys(OUTCOMES).map((key) => `${counts[key]} ${counts[key] === 1 ? OUTCOMES[key] : PLURALS[key]}`).join(", ");
    const default_ = gallery.threshold[kind.value] === null ? ", not chosen by anything: there is no validation split" : cut === gallery.threshold[kind.value] ? ", from validation" : "";
    find("status").textContent = `${Math.min(shown, listed.length)} of ${listed.length} images shown. At this threshold: ${words}.`;
    find("value").textContent = `${short(cut)}${default_}`;
    slider.setAttribute("aria-valuetext", `${short(cut)}${default_}: ${words}`);
    find("more").hidden = listed.length <= shown;
    rug(chosen);
  };
  const afresh = (action) => () => { shown = AT_ONCE; action(); };

  const asked = new URLSearchParams(location.hash.slice(1));
  if (data.some((one) => one.category === asked.get("category"))) category.value = asked.get("category");
  if (asked.get("outcome") in OUTCOMES) boxes.forEach((box) => { box.checked = box.value === asked.get("outcome"); });
  find("filters").hidden = false;
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  category.addEventListener("change", afresh(enterCategory));
  kind.addEventListener("change", afresh(enterKind));
  [defect, order, ...boxes].forEach((node) => node.addEventListener("change", afresh(show)));
  slider.addEventListener("input", show);
  find("reset").addEventListener("click", reset);
  find("more").addEventListener("click", () => {
    const place = shown;
    shown += AT_ONCE;
    show();
    const next = find("images").children[place];  // the keyboard goes on where the new ones begin
    next.tabIndex = -1;
    next.focus();
  });
  addEventListener("resize", () => rug(members()));
  enterCategory();
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("figure.chart").forEach(chart);
const embedded = document.getElementById("galleries");
if (embedded) galleryPage(JSON.parse(embedded.textContent));
