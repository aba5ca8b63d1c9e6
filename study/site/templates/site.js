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

// About `count` round numbers from low to high: 1, 2 or 5 times a power of ten apart.
function round(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((part) => part * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

// Round numbers of a log axis, low and high as powers of ten: denser where the axis is short.
function decades(low, high) {
  for (const parts of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]]) {
    const found = [];
    for (let power = Math.floor(low); power <= high; power++)
      for (const part of parts) found.push(Number((part * 10 ** power).toPrecision(3)));
    const inside = found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
    if (inside.length > 2) return inside;
  }
  return [10 ** low, 10 ** high];
}

function axes(svg, data, to) {
  for (const level of data.log ? decades(to.low, to.high) : round(to.low, to.high, 4)) {
    svg.append(
      draw("line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: to.y(level), y2: to.y(level) }),
      draw("text", { x: BOX.left - 5, y: to.y(level) + 4, "text-anchor": "end" }, short(level)),
    );
  }
  for (const x of round(to.first, to.last, 4)) {
    const end = to.x(x) > BOX.width - 20 ? "end" : "middle";
    svg.append(draw("text", { x: to.x(x), y: BOX.height - 19, "text-anchor": end }, short(x)));
  }
  svg.append(
    draw("line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: BOX.height - BOX.bottom, y2: BOX.height - BOX.bottom }),
    draw("text", { x: (BOX.left + BOX.width) / 2, y: BOX.height - 4, "text-anchor": "middle" }, data.x),
    draw("text", { transform: `translate(10 ${BOX.height / 2 - 12}) rotate(-90)`, "text-anchor": "middle" }, data.y + (data.log ? " (log)" : "")),
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
    if (data.x === "step") [x] = nearest(rows[0].one.points, x);  // a whole step
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
const OUTCOMES = { "miss": "miss", "false-alarm": "false alarm", "hit": "hit", "correct-rejection": "correct rejection" };
const PLURALS = { "miss": "misses", "false-alarm": "false alarms", "hit": "hits", "correct-rejection": "correct rejections" };
const TITLES = Object.fromEntries(Object.entries(OUTCOMES).map(([key, text]) => [key, text[0].toUpperCase() + text.slice(1)]));
const OTHER = { segmentation: "cosine", cosine: "segmentation" };
const AT_ONCE = 24;
const exact = (value) => Number(value.toPrecision(4)).toString();  // scores crowd near the top
const outcomeOf = (label, score, threshold) =>
  score >= threshold ? (label ? "hit" : "false-alarm") : label ? "miss" : "correct-rejection";

function tile(gallery, index, sheets, words) {
  const { columns } = gallery, room = columns * gallery.rows;  // tiles of a full sheet
  const number = Math.floor(index / room), here = index % room;
  const rows = Math.ceil(Math.min(room, gallery.images.length - number * room) / columns);
  const share = (at, of) => (of > 1 ? (100 * at) / (of - 1) : 0);
  const place = (node, sheet, filter) => {
    node.style.backgroundImage = `url("images/${gallery.category}-${sheet}-${number}.webp")`;
    node.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    node.style.backgroundPosition = `${share(here % columns, columns)}% ${share(Math.floor(here / columns), rows)}%`;
    if (filter) node.style.filter = `url(#${filter})`;
    return node;
  };
  const [base, over] = sheets;
  const grey = base !== "image" && base !== "mask";
  const node = place(make("span", { class: "tile", role: "img", "aria-label": words }), base, grey && "colours");
  if (over) node.append(place(make("span"), over, "overlay"));
  return node;
}

function tiles(gallery, index, kind, seed) {
  const { name, mask } = gallery.images[index];
  const parts = [
    ["image", tile(gallery, index, ["image"], `image ${name}`)],
    ["cosine map", tile(gallery, index, [`cosine-${seed}`], `cosine map of ${name}`)],
    ["segmentation map", tile(gallery, index, [`segmentation-${seed}`], `segmentation map of ${name}`)],
    ["overlay", tile(gallery, index, ["image", `${kind}-${seed}`], `${kind} map over ${name}`)],
  ];
  if (mask) parts.splice(1, 0, ["mask", tile(gallery, index, ["mask"], `mask of ${name}`)]);
  return parts.map(([word, node]) => make("div", {}, node, word));
}

function galleryPage(data) {
  const find = (id) => document.getElementById(id);
  const ids = ["category", "defect", "kind", "seed", "every", "order"];
  const [category, defect, kind, seed, every, order] = ids.map(find), slider = find("threshold");
  const boxes = [...document.querySelectorAll("[name=outcome]")], closer = find("closer");
  let gallery, positions, listed = [], cuts = [], open = 0, shown = AT_ONCE;

  const place = () => gallery.seeds.map(String).indexOf(seed.value);
  const scoreOf = (image) => image.scores[kind.value][place()];
  const chosen = () => gallery.threshold[kind.value][place()];  // null: no validation split
  const threshold = () => positions[slider.value];
  // The other seeds: each its own threshold from validation; once the slider has moved, or where
  // there is none, the score that as many images reach as here.
  const cutsOfSeeds = () => {
    const cut = threshold(), alarms = gallery.images.filter((image) => scoreOf(image) >= cut).length;
    return gallery.seeds.map((_, number) => {
      if (cut === chosen()) return gallery.threshold[kind.value][number];
      const scores = gallery.images.map((image) => image.scores[kind.value][number]).sort((a, b) => b - a);
      return alarms ? scores[alarms - 1] : scores[0] * 1.001;
    });
  };
  const ofSeeds = (image) => image.scores[kind.value].map((score, number) => outcomeOf(image.label, score, cuts[number]));
  const agreed = (image) => {
    const found = new Set(ofSeeds(image));
    return every.value === "any" || (every.value === "mixed" ? found.size > 1 : found.size === 1 && found.has(every.value));
  };
  const members = () => gallery.images.map((image, index) => [image, index]).filter(([image]) =>
    defect.value === "all" || (defect.value === "real" ? !image.drawn : image.defect === defect.value));
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
    const scores = gallery.images.map(scoreOf), above = Math.max(...scores) * 1.001;
    positions = [...new Set([...scores, ...(chosen() === null ? [] : [chosen()]), above])].sort((a, b) => a - b);
    slider.max = positions.length - 1;
    const parts = [0, 0.25, 0.5, 0.75, 1].map((part) => positions[Math.round(part * (positions.length - 2))]);
    find("ticks").replaceChildren(...parts.map((score) => make("span", {}, exact(score))));
    reset();
  };
  const first = () => (chosen() === null ? Math.floor(positions.length / 2) : positions.indexOf(chosen()));
  const reset = () => { slider.value = first(); show(); };
  const rug = (chosen) => {
    const canvas = find("rug"), context = canvas.getContext("2d"), colours = getComputedStyle(document.documentElement);
    canvas.width = canvas.clientWidth;
    const at = new Map(positions.map((score, place) => [score, place]));
    for (const [image] of chosen) {
      context.fillStyle = colours.getPropertyValue(image.label ? "--miss" : "--correct-rejection");
      const x = 8 + (at.get(scoreOf(image)) / (positions.length - 1)) * (canvas.width - 16);
      context.fillRect(x - 0.75, image.label ? 2 : 19, 1.5, 13);
    }
  };
  // The address names every filter that is not as at the start.
  const remember = () => {
    const state = new URLSearchParams({ category: category.value });
    const start = { defect: "real", kind: "segmentation", seed: String(gallery.seeds[0]), every: "any", order: "errors" };
    for (const [key, value] of Object.entries(start)) if (find(key).value !== value) state.set(key, find(key).value);
    const checked = boxes.filter((box) => box.checked).map((box) => box.value);
    if (checked.length < boxes.length) state.set("outcome", checked.join(","));
    if (Number(slider.value) !== first()) state.set("threshold", slider.value);
    history.replaceState(null, "", `#${state.toString().replaceAll("%2C", ",")}`);
  };
  const describe = (entry) => {
    const [image, , outcome] = entry;
    return `${TITLES[outcome]}: ${image.defect.replaceAll("_", " ")}, score ${exact(scoreOf(image))} `;
  };
  const picture = (entry, position) => {
    const [image, index, outcome] = entry;
    const larger = make("button", { type: "button", "aria-label": `Enlarge ${image.name}` }, "Enlarge");
    const title = make("h2", {}, describe(entry), make("small", {}, image.name), " ", larger);
    const pictures = make("div", { class: "pictures" }, ...tiles(gallery, index, kind.value, seed.value));
    for (const node of [larger, pictures]) node.addEventListener("click", () => enlarge(position));
    return make("li", { class: outcome, "data-outcome": outcome, "data-defect": image.defect, "data-name": image.name }, title, pictures);
  };
  const enlarge = (position) => {
    open = (position + listed.length) % listed.length;
    const [image, index] = listed[open];
    find("closer-title").replaceChildren(describe(listed[open]), make("small", {}, image.name));
    closer.querySelector(".pictures").replaceChildren(...tiles(gallery, index, kind.value, seed.value));
    const rows = gallery.seeds.map((one, number) => make("tr", {}, make("th", { scope: "row" }, String(one)),
      ...[exact(image.scores[kind.value][number]), exact(cuts[number]), OUTCOMES[ofSeeds(image)[number]]].map((text) => make("td", {}, text))));
    closer.querySelector("tbody").replaceChildren(...rows);
    if (!closer.open) closer.showModal();
  };
  const show = () => {
    const cut = threshold(), here = members(), wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const counts = Object.fromEntries(Object.keys(OUTCOMES).map((key) => [key, 0]));
    cuts = cutsOfSeeds();
    listed = [];
    for (const [image, index] of here) {
      const outcome = outcomeOf(image.label, scoreOf(image), cut);
      counts[outcome] += 1;
      if (wanted.has(outcome) && agreed(image)) listed.push([image, index, outcome]);
    }
    const score = ([image]) => scoreOf(image), tie = ([image]) => image.scores[OTHER[kind.value]][place()];
    const near = (a) => [Math.abs(score(a) - cut), score(a) < cut ? -tie(a) : tie(a)];
    const errors = Object.keys(OUTCOMES);
    const keys = {
      errors: (a) => [Math.min(errors.indexOf(a[2]), 2), ...near(a)], near,
      high: (a) => [-score(a), -tie(a)], low: (a) => [score(a), tie(a)],
    };
    const key = keys[order.value];
    listed = listed.map((entry) => [key(entry), entry]).sort(([a, x], [b, y]) => a.reduce((sum, part, i) => sum || part - b[i], 0) || x[1] - y[1]).map(([, entry]) => entry);
    find("images").replaceChildren(...listed.slice(0, shown).map(picture));
    for (const key of Object.keys(OUTCOMES)) document.querySelector(`[data-count=${key}]`).textContent = `(${counts[key]})`;
    const words = Object.keys(OUTCOMES).map((key) => `${counts[key]} ${counts[key] === 1 ? OUTCOMES[key] : PLURALS[key]}`).join(", ");
    const default_ = chosen() === null ? ", not chosen by anything: there is no validation split" : cut === chosen() ? ", from validation" : "";
    find("status").textContent = `${Math.min(shown, listed.length)} of ${listed.length} images shown. Seed ${seed.value} alone, at this threshold: ${words}.`;
    find("value").textContent = `${exact(cut)}${default_}`;
    slider.setAttribute("aria-valuetext", `${exact(cut)}${default_}: ${words}`);
    find("tops").textContent = `${exact(gallery.top.cosine)} (cosine map), ${exact(gallery.top.segmentation)} (segmentation map)`;
    find("more").hidden = listed.length <= shown;
    rug(here);
    remember();
  };
  const afresh = (action) => () => { shown = AT_ONCE; action(); };

  const read = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const set = (node) => { if ([...node.options].some((one) => one.value === asked.get(node.id))) node.value = asked.get(node.id); };
    const outcomes = (asked.get("outcome") ?? "").split(",").filter((key) => key in OUTCOMES);
    boxes.forEach((box) => { box.checked = !outcomes.length || outcomes.includes(box.value); });
    [category, kind, seed, every, order].forEach(set);
    enterCategory();  // with the defect types of the category
    set(defect);
    if (Number(asked.get("threshold")) in positions && asked.has("threshold")) slider.value = asked.get("threshold");
    show();
  };
  find("filters").hidden = find("legend").hidden = false;
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  category.addEventListener("change", afresh(enterCategory));
  [kind, seed].forEach((node) => node.addEventListener("change", afresh(enterKind)));
  [defect, every, order, ...boxes].forEach((node) => node.addEventListener("change", afresh(show)));
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
  const step = (by) => () => enlarge(open + by);
  find("closer-previous").addEventListener("click", step(-1));
  find("closer-next").addEventListener("click", step(1));
  find("closer-close").addEventListener("click", () => closer.close());
  closer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) enlarge(open + by);
  });
  addEventListener("hashchange", read);
  addEventListener("resize", () => rug(members()));
  read();
}

addEventListener("beforeprint", () => document.querySelectorAll("section > details").forEach((one) => { one.open = true; }));
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("figure.chart").forEach(chart);
const embedded = document.getElementById("galleries");
if (embedded) galleryPage(JSON.parse(embedded.textContent));
