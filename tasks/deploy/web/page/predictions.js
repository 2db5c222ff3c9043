// From what the graph gives out to classes, boxes and masks in the pixels of the image, as tasks/deploy/endings.py.
// An output is {data, dims}. Letters: A default boxes, K classes, h w cells.

import { roundHalfEven } from "./view.js";

const f32 = Math.fround;
const UNDECIDED = 255; // at most 255 classes

/** Classes with their probabilities, the best first. */
export function classes(output) {
  const order = Array.from(output.data, (score, label) => ({ label, score }));
  return order.sort((a, b) => b.score - a.score || a.label - b.label);
}

function overlap(boxes, a, b) {
  const width = Math.min(boxes[a + 2], boxes[b + 2]) - Math.max(boxes[a], boxes[b]);
  const height = Math.min(boxes[a + 3], boxes[b + 3]) - Math.max(boxes[a + 1], boxes[b + 1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (i) => (boxes[i + 2] - boxes[i]) * (boxes[i + 3] - boxes[i + 1]);
  return (width * height) / (area(a) + area(b) - width * height);
}

/**
 * The best `detections` pairs of box and class that suppression, class by class, leaves.
 * @param content height and width of what of the input is image; `size` is the input's side.
 * @returns [{label, score, box}] with the corners x, y, x, y in pixels of the image, the best first.
 */
export function detections(scores, boxes, settings, { content, size, width, height }) {
  const count = scores.dims[2];
  const wide = [size / content[1], size / content[0], size / content[1], size / content[0]];
  const places = Float32Array.from(boxes.data, (side, i) => Math.min(1, Math.max(0, side * wide[i % 4])));
  const candidates = [];
  for (let pair = 0; pair < scores.data.length; pair++) {
    if (scores.data[pair] > settings.score_threshold) candidates.push(pair);
  }
  candidates.sort((a, b) => scores.data[b] - scores.data[a] || a - b);
  const kept = Array.from({ length: count }, () => []);
  const left = new Array(count).fill(settings.candidates ?? Infinity); // of a class, to be looked at
  const found = [];
  for (const pair of candidates) {
    if (found.length === settings.detections) break;
    const label = pair % count;
    const at = 4 * Math.floor(pair / count);
    if (--left[label] < 0) continue;
    if (kept[label].some((other) => overlap(places, at, other) > settings.nms_iou)) continue;
    kept[label].push(at);
    const sides = [width, height, width, height];
    found.push({ label, score: scores.data[pair], box: sides.map((side, i) => places[at + i] * side) });
  }
  return found;
}

/** Cells before and after each pixel of a side, and how much the one after counts. */
function between(cells, pixels, aligned) {
  const low = new Int32Array(pixels);
  const high = new Int32Array(pixels);
  const share = new Float32Array(pixels);
  const step = f32(aligned ? (cells - 1) / Math.max(pixels - 1, 1) : cells / pixels);
  for (let i = 0; i < pixels; i++) {
    const place = aligned ? f32(i * step) : Math.max(0, f32(f32(step * (i + 0.5)) - 0.5));
    low[i] = Math.min(Math.trunc(place), cells - 1);
    high[i] = Math.min(low[i] + 1, cells - 1);
    share[i] = place - low[i];
  }
  return { low, high, share };
}

/** Class of every cell that the next one and the two below share; UNDECIDED where they do not. */
function agreed({ data, dims: [, count, rows, columns] }) {
  const cells = rows * columns;
  const winners = new Uint8Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    let best = 0;
    for (let k = 1; k < count; k++) {
      if (data[k * cells + cell] > data[best * cells + cell]) best = k;
    }
    winners[cell] = best;
  }
  return winners.map((winner, cell) => {
    const right = (cell + 1) % columns ? 1 : 0;
    const below = cell + columns < cells ? columns : 0;
    const same = [right, below, below + right].every((step) => winners[cell + step] === winner);
    return same ? winner : UNDECIDED;
  });
}

/** Best class of every pixel of the image; only between cells of different classes are scores interpolated. */
function maskOfLogits(output, aligned, { content, size, width, height }) {
  const [, count, rows, columns] = output.dims;
  const cells = rows * columns;
  const decided = agreed(output);
  const down = between(rows, Math.max(roundHalfEven((height * size) / content[0]), height), aligned);
  const across = between(columns, Math.max(roundHalfEven((width * size) / content[1]), width), aligned);
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const [above, below, part] = [down.low[y] * columns, down.high[y] * columns, down.share[y]];
    for (let x = 0; x < width; x++) {
      const near = decided[above + across.low[x]];
      if (near !== UNDECIDED) {
        mask[y * width + x] = near;
        continue;
      }
      const [before, after] = [across.low[x], across.high[x]];
      let best = 0;
      let most = -Infinity;
      for (let k = 0; k < count; k++) {
        const at = k * cells;
        const left = output.data[at + above + before] * (1 - part) + output.data[at + below + before] * part;
        const right = output.data[at + above + after] * (1 - part) + output.data[at + below + after] * part;
        const score = left + across.share[x] * (right - left);
        if (score > most) {
          best = k;
          most = score;
        }
      }
      mask[y * width + x] = best;
    }
  }
  return mask;
}

/** The label map of the input, cut and brought to the size of the image: the nearest pixel. */
function maskOfPixels(output, { content, size, width, height }) {
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.min(Math.floor(((y + 0.5) * content[0]) / height), content[0] - 1) * size;
    for (let x = 0; x < width; x++) {
      mask[y * width + x] = output.data[row + Math.min(Math.floor(((x + 0.5) * content[1]) / width), content[1] - 1)];
    }
  }
  return mask;
}

/** Pixels of each class of a mask. */
export function counted(mask) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < mask.length; i++) counts[mask[i]]++;
  return counts;
}

/**
 * What all heads say.
 * @param outputs by name, `head.output`.
 * @param frame {content, size, width, height}: see `detections`.
 * @returns by head: {kind, classes | detections | mask and counts, the pixels of each class}.
 */
export function read(outputs, heads, frame) {
  const found = {};
  for (const [name, head] of Object.entries(heads)) {
    const [first, second] = head.outputs.map((output) => outputs[`${name}.${output}`]);
    if (head.kind === "classification") found[name] = { kind: head.kind, classes: classes(first) };
    else if (head.kind === "detection") {
      found[name] = { kind: head.kind, detections: detections(first, second, head.settings, frame) };
    } else {
      const { settings } = head;
      const mask = head.outputs[0] === "logits" ? maskOfLogits(first, settings.aligned_corners, frame) : maskOfPixels(first, frame);
      found[name] = { kind: head.kind, mask, counts: counted(mask) };
    }
  }
  return found;
}
