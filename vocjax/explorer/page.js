"use strict";
const AT_HAND = 12;       // sliders shown at once
const DEVIATIONS = 3;     // a slider's range; coordinates may lie beyond
const DIGITS = 6;         // sent per number, as the server does
const PATIENCE = 30000;   // milliseconds until the server counts as gone

const get = (id) => document.getElementById(id);
const sliders = [];       // {input, output} by direction, as far as they are on the page
let space;                // what GET /space says
let point;                // what is shown: {coordinates, residual}
let start;                // where the interpolation begins: the last point it did not make itself
let end = null;           // {point, name} where it ends

// The server's answer, or an Error with a sentence for the page.
async function ask(path, type, body) {
  const request = body === undefined ? {} : { method: "POST", headers: { "Content-Type": type }, body };
  let answer;
  try {
    answer = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Error("the explorer doesn't answer; is vocjax explore still running?");
  }
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
    throw new Error(error);
  }
  return answer;
}

function complain(sentence) {
  if (get("errors").textContent !== sentence) get("errors").textContent = sentence;
}

async function paint(canvas, png) {
  const bitmap = await createImageBitmap(png);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

// Draws the latest point: one request at a time, and what came in between is left out.
let drawing = false;
let stale = false;
async function redraw() {
  stale = true;
  if (drawing) return;
  drawing = true;
  while (stale) {
    stale = false;
    const begun = performance.now();
    try {
      const answer = await ask("decode", "application/json", JSON.stringify(point));
      await paint(get("image"), await answer.blob());
      get("time").textContent = `${Math.round(performance.now() - begun)} ms · `;
    } catch (error) {
      complain(`The image can't be redrawn: ${error.message}`);
    }
  }
  drawing = false;
}

function display(index) {
  if (index >= sliders.length) return;
  const { input, output } = sliders[index];
  const value = point.coordinates[index];
  input.value = value;
  output.textContent = value.toFixed(2);
  output.classList.toggle("beyond", Math.abs(value) > DEVIATIONS);
}

function show(next, caption) {
  point = next;
  sliders.forEach((_, index) => display(index));
  get("caption").textContent = caption;
  redraw();
}

// Where one gets otherwise than by interpolating is where interpolation begins.
function depart(next, caption) {
  start = next;
  setMixture(0);
  show(next, caption);
}

const mixture = document.querySelector("#mixing input");
function setMixture(share) {
  mixture.value = share;
  document.querySelector("#mixing output").textContent = Number(share).toFixed(2);
}

const round = (number) => Number(number.toPrecision(DIGITS));
const mix = (from, to, share) => from.map((value, index) => round(value + share * (to[index] - value)));
const zeros = (count) => new Array(count).fill(0);

function interpolate() {
  complain("");
  const share = mixture.valueAsNumber;
  setMixture(share);
  const between = {
    coordinates: mix(start.coordinates, end.point.coordinates, share),
    residual: mix(start.residual, end.point.residual, share),
  };
  show(between, `${Math.round(100 * share)} % of the way to ${end.name}`);
}

function slide(index) {
  complain("");
  const coordinates = point.coordinates.slice();
  coordinates[index] = sliders[index].input.valueAsNumber;
  depart({ ...point, coordinates }, "moved by hand");
}

function percent(share) {
  const value = 100 * share;
  if (value < 0.01) return "< 0.01 %";
  return `${value >= 9.95 ? value.toFixed(0) : value >= 0.095 ? value.toFixed(1) : value.toFixed(2)} %`;
}

function addSliders(parent, count) {
  for (const until = sliders.length + count; sliders.length < until;) {
    const index = sliders.length;
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "range", min: -DEVIATIONS, max: DEVIATIONS, step: 0.01 });
    const output = document.createElement("output");
    label.className = "slider";
    label.append(`direction ${index + 1} · ${percent(space.share[index])} of the variance`, output, input);
    input.addEventListener("input", () => slide(index));
    parent.append(label);
    sliders.push({ input, output });
    display(index);
  }
}

// A normal deviate (Box and Muller 1958).
function deviate() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

async function encode(file) {
  if (file.size > space.image_bytes) throw new Error(`it is larger than ${space.image_bytes / 1e6} MB; shrink it and try again.`);
  const bytes = await file.arrayBuffer().catch(() => {
    throw new Error("it can't be read; is it a file, and still there?");
  });
  return (await ask("encode", "application/octet-stream", bytes)).json();
}

function fillZone(id, arrive) {
  const zone = get(id);
  const input = zone.querySelector("input");
  const canvas = zone.querySelector("canvas");
  let latest = 0;
  async function load(file) {
    complain("");
    const turn = ++latest;
    try {
      const { coordinates, residual, mse, input: png } = await encode(file);
      if (turn !== latest) return;  // another file came meanwhile
      await paint(canvas, new Blob([Uint8Array.from(atob(png), (byte) => byte.charCodeAt(0))]));
      canvas.hidden = false;
      zone.querySelector(".invitation").hidden = true;
      zone.classList.add("filled");
      const error = `MSE ${mse.toPrecision(3)}`;
      zone.parentElement.querySelector("figcaption").textContent = `${error} · ${file.name}`;
      arrive({ coordinates, residual }, error, file.name);
    } catch (error) {
      if (turn === latest) complain(`${file.name}: ${error.message}`);
    }
  }
  input.addEventListener("change", () => {
    if (input.files.length) load(input.files[0]);
    input.value = "";  // so that the same file can be chosen again
  });
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) load(event.dataTransfer.files[0]);
    else complain("That was no file; save the image and drop the file.");
  });
}

async function begin() {
  space = await (await ask("space")).json();
  const directions = space.share.length;
  document.title = `${space.title} · vocjax explorer`;
  get("title").textContent = space.title;
  get("summary").textContent = `a code of ${space.numbers} numbers, which vary in ${directions} principal ${directions === 1 ? "direction" : "directions"}`;
  const mean = () => ({ coordinates: zeros(directions), residual: zeros(space.numbers) });
  depart(mean(), "the mean code");
  addSliders(get("first"), Math.min(AT_HAND, directions));
  const others = directions - sliders.length;
  get("more").hidden = others === 0;
  document.querySelector("#more summary").textContent = `show ${others} more`;
  get("more").addEventListener("toggle", () => addSliders(get("others"), directions - sliders.length), { once: true });
  get("reset").addEventListener("click", () => {
    complain("");
    depart(mean(), "the mean code");
  });
  get("random").addEventListener("click", () => {
    complain("");
    depart({ ...mean(), coordinates: zeros(directions).map(() => round(deviate())) }, "a random draw");
  });
  mixture.addEventListener("input", interpolate);
  fillZone("start", (found, error) => depart(found, `reconstruction, ${error}`));
  fillZone("end", (found, _, name) => {
    end = { point: found, name };
    start = point;
    setMixture(0);
    get("mixing").hidden = false;
  });
}

// A file that misses its zone must not replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
begin().catch((error) => complain(`The page can't begin: ${error.message}`));
