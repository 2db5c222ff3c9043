// Answers drawn over an image, and told in words beside it.

const OPACITY = 0.55;
const LEAST_SIDE = 640; // small images are drawn larger, or their boxes and names would hide them
const SHOWN = 5;

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
const dark = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue < 140;

function drawMask(context, mask, colours, width, height) {
  const layer = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  const packed = new Uint32Array(pixels.data.buffer);
  const table = new Uint32Array(Uint8Array.from(colours.flat()).buffer);
  for (let i = 0; i < mask.length; i++) packed[i] = table[mask[i]];
  layer.getContext("2d").putImageData(pixels, 0, 0);
  context.globalAlpha = OPACITY;
  context.drawImage(layer, 0, 0, context.canvas.width, context.canvas.height);
  context.globalAlpha = 1;
}

function drawBoxes(context, found, names, colours, scale, { width, height }) {
  const line = Math.max(2, Math.round(Math.min(width, height) / 160));
  const size = Math.max(12, Math.round(Math.min(width, height) / 26));
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const { label, score, box } of [...found].reverse()) {
    const [left, top, right, bottom] = box.map((side) => side * scale);
    for (const [style, wide] of [["rgb(20 20 24)", line + 2], [css(colours[label]), line]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    const text = `${names[label]} ${score.toFixed(2)}`;
    const plate = context.measureText(text).width + size * 0.6;
    const x = Math.max(0, Math.min(left - line / 2, width - plate));
    const y = top >= size * 1.4 ? top - size * 1.4 : top;
    context.fillStyle = css(colours[label]);
    context.fillRect(x, y, plate, size * 1.4);
    context.fillStyle = dark(colours[label]) ? "white" : "rgb(20 20 24)";
    context.fillText(text, x + size * 0.3, y + size * 0.72);
  }
}

/** The image with every head's masks and boxes on it. `result` has the answers, and the size that they are about. */
export function draw(canvas, image, result, model, least) {
  const { answers, width, height } = result;
  const scale = Math.max(1, LEAST_SIDE / Math.max(width, height));
  [canvas.width, canvas.height] = [width, height].map((side) => Math.round(side * scale));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  for (const [head, answer] of Object.entries(answers)) {
    if (answer.kind === "segmentation") drawMask(context, answer.mask, model.colours[head], width, height);
  }
  for (const [head, answer] of Object.entries(answers)) {
    if (answer.kind !== "detection") continue;
    const found = answer.detections.filter(({ score }) => score >= least);
    drawBoxes(context, found, model.labels[head], model.colours[head], scale, canvas);
  }
}

function row(colour, name, share, bar) {
  const item = document.createElement("li");
  const [swatch, text, number] = ["span", "span", "span"].map((tag) => document.createElement(tag));
  swatch.className = "swatch";
  swatch.ariaHidden = "true";
  if (colour) swatch.style.background = css(colour);
  else swatch.style.visibility = "hidden";
  text.textContent = name;
  number.textContent = share;
  number.className = "share";
  item.append(swatch, text, number);
  if (bar !== undefined) {
    const meter = document.createElement("meter");
    meter.value = bar;
    meter.setAttribute("aria-label", name);
    item.append(meter);
  }
  return item;
}

const labelsOf = (counts) => [...counts.keys()].filter((label) => counts[label]);

const TOLD = {
  classification: ({ classes }, names) =>
    classes.slice(0, SHOWN).map(({ label, score }) => row(null, names[label], score.toFixed(3), score)),
  detection: ({ detections }, names, colours, least) => {
    const best = new Map();
    for (const { label, score } of detections) {
      if (score < least) continue;
      const known = best.get(label) ?? { count: 0, score };
      best.set(label, { count: known.count + 1, score: known.score });
    }
    return [...best].map(([label, { count, score }]) =>
      row(colours[label], count > 1 ? `${names[label]} (${count})` : names[label], score.toFixed(2)),
    );
  },
  segmentation: ({ mask, counts }, names, colours) =>
    labelsOf(counts)
      .sort((a, b) => counts[b] - counts[a])
      .map((label) => row(colours[label][3] ? colours[label] : null, names[label], `${((100 * counts[label]) / mask.length).toFixed(1)} %`)),
};

/** Every head's answer in words, into `place`. */
export function tell(place, answers, model, least) {
  const parts = Object.entries(answers).map(([head, answer]) => {
    const section = document.createElement("section");
    const title = document.createElement("h2");
    title.textContent = head;
    const rows = TOLD[answer.kind](answer, model.labels[head], model.colours[head], least);
    const list = document.createElement(rows.length ? "ul" : "p");
    if (rows.length) list.append(...rows);
    else [list.textContent, list.className] = ["nothing", "none"];
    section.append(title, list);
    return section;
  });
  place.replaceChildren(...parts);
}

/** One line for those who do not see the image. */
export function summary(answers, model, least) {
  return Object.entries(answers)
    .map(([head, answer]) => {
      const names = model.labels[head];
      if (answer.kind === "classification") return `${head}: ${names[answer.classes[0].label]}`;
      if (answer.kind === "detection") {
        const found = answer.detections.filter(({ score }) => score >= least);
        return `${head}: ${found.length ? found.map(({ label }) => names[label]).join(", ") : "nothing"}`;
      }
      return `${head}: ${labelsOf(answer.counts).map((label) => names[label]).join(", ")}`;
    })
    .join("; ");
}
