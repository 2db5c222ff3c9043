// From an image to the square that the model sees: the same resizing as tasks/data/transforms, within one grey level.
// An image is {data: Uint8Array of RGB, width, height}. `taps` are, for every pixel of a side, where its sources start
// and how much each counts.

/** Python's round(): of two equally near integers the even one. */
export function roundHalfEven(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** OpenCV's INTER_LINEAR: the two pixels around the place, however much it shrinks. */
function linearTaps(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const place = ((i + 0.5) * from) / to - 0.5;
    const start = Math.floor(place);
    if (start < 0) return [0, [1]];
    if (start >= from - 1) return [from - 1, [1]];
    return [start, [1 - (place - start), place - start]];
  });
}

/** OpenCV's INTER_AREA where both sides shrink: the mean over what falls on a pixel. */
function areaTaps(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const low = i * scale;
    const high = low + scale;
    const width = Math.min(scale, from - low);
    const last = Math.min(Math.floor(high), from - 1);
    const first = Math.min(Math.ceil(low), last);
    const weights = [];
    let start = first;
    if (first - low > 1e-3) {
      start = first - 1;
      weights.push((first - low) / width);
    }
    for (let j = first; j < last; j++) weights.push(1 / width);
    if (high - last > 1e-3) weights.push(Math.min(high - last, 1, width) / width);
    return [start, weights];
  });
}

/** OpenCV's INTER_AREA where one side grows: two pixels that meet at the sources' edges. */
function edgeTaps(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const start = Math.floor(i * scale);
    const past = i + 1 - (start + 1) / scale;
    const share = past <= 0 ? 0 : past - Math.floor(past);
    if (start >= from - 1) return [from - 1, [1]];
    return [start, [1 - share, share]];
  });
}

const FILTERS = {
  bilinear: { half: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    half: 2,
    at: (x) => {
      const a = -0.5;
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

/** Pillow's and torch's filters, which take in more pixels when they shrink. */
function wideTaps(from, to, filter) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = filter.half * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = [];
    for (let j = start; j < end; j++) weights.push(filter.at((j - centre + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return [start, weights.map((weight) => weight / total)];
  });
}

/** Separable resampling, along rows first. `between` is what holds the values in the middle: bytes are rounded. */
function resample(image, columns, rows, between) {
  const { data, width } = image;
  const firstRow = Math.min(...rows.map(([start]) => start));
  const lastRow = Math.max(...rows.map(([start, weights]) => start + weights.length));
  const stride = columns.length * 3;
  const middle = new between((lastRow - firstRow) * stride);
  for (let y = firstRow; y < lastRow; y++) {
    let out = (y - firstRow) * stride;
    for (const [start, weights] of columns) {
      let at = (y * width + start) * 3;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let j = 0; j < weights.length; j++, at += 3) {
        red += weights[j] * data[at];
        green += weights[j] * data[at + 1];
        blue += weights[j] * data[at + 2];
      }
      middle[out++] = red;
      middle[out++] = green;
      middle[out++] = blue;
    }
  }
  const result = new Uint8ClampedArray(rows.length * stride);
  const sums = new Float32Array(stride);
  rows.forEach(([start, weights], y) => {
    sums.fill(0);
    weights.forEach((weight, j) => {
      const line = (start - firstRow + j) * stride;
      for (let x = 0; x < stride; x++) sums[x] += weight * middle[line + x];
    });
    result.set(sums, y * stride);
  });
  return { data: new Uint8Array(result.buffer), width: columns.length, height: rows.length };
}

/** `resize_by_area` of tasks/data/transforms/resizing.py. */
export function resizeByArea(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const [across, down] = [image.width / width, image.height / height];
  let taps = linearTaps;
  if (Math.max(across, down) > 2) taps = across >= 1 && down >= 1 ? areaTaps : edgeTaps;
  return resample(image, taps(image.width, width), taps(image.height, height), Float32Array);
}

/** `resize` of the same module; of the result only the window {left, top, width, height} is computed. */
export function resize(image, width, height, interpolation, window = { left: 0, top: 0, width, height }) {
  if (interpolation === "area") {
    const whole = resizeByArea(image, width, height);
    return cut(whole, window.left, window.top, window.width, window.height);
  }
  const enlarges = width >= image.width && height >= image.height;
  const plain = interpolation === "point_bilinear" || (enlarges && interpolation === "bilinear");
  const taps = plain ? linearTaps : (from, to) => wideTaps(from, to, FILTERS[interpolation]);
  const columns = taps(image.width, width).slice(window.left, window.left + window.width);
  const rows = taps(image.height, height).slice(window.top, window.top + window.height);
  return resample(image, columns, rows, plain ? Float32Array : Uint8ClampedArray);
}

function cut(image, left, top, width, height) {
  if (width === image.width && height === image.height) return image;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(start, start + width * 3), y * width * 3);
  }
  return { data, width, height };
}

function padded(image, size, levels) {
  if (image.width === size && image.height === size) return image;
  const data = new Uint8Array(size * size * 3);
  for (let i = 0; i < data.length; i++) data[i] = levels[i % 3];
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3), y * size * 3);
  }
  return { data, width: size, height: size };
}

const WAYS = {
  stretch: (image, way, size) => resize(image, size, size, way.interpolation),
  whole: (image, way) => {
    const longer = Math.max(image.width, image.height);
    if (longer <= way.max_side) return image;
    const scale = way.max_side / longer;
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, roundHalfEven(side * scale)));
    return resizeByArea(image, width, height);
  },
  centre_crop: (image, way, size) => {
    const top = Math.floor(Math.max(0, image.height - way.max_aspect * image.width) / 2);
    const left = Math.floor(Math.max(0, image.width - way.max_aspect * image.height) / 2);
    const middle = cut(image, left, top, image.width - 2 * left, image.height - 2 * top);
    const shorter = Math.min(middle.width, middle.height);
    const [width, height] = [middle.width, middle.height].map((side) => Math.floor((side * way.resize_size) / shorter));
    const window = {
      left: roundHalfEven((width - size) / 2),
      top: roundHalfEven((height - size) / 2),
      width: size,
      height: size,
    };
    if (width === middle.width && height === middle.height) return cut(middle, window.left, window.top, size, size);
    return resize(middle, width, height, way.interpolation, window);
  },
  central_part: (image, way, size) => {
    const [left, top] = [image.width, image.height].map((side) => Math.trunc((side - side * way.fraction) / 2));
    const part = cut(image, left, top, image.width - 2 * left, image.height - 2 * top);
    if (part.width === size && part.height === size) return part;
    return resize(part, size, size, way.interpolation);
  },
};

/**
 * What the model sees of an image.
 * @param way how, as model.json says it in `view`.
 * @returns {{data: Uint8Array, content: number[]}} the square, and height and width of what of it is image.
 */
export function look(image, way, size, padding) {
  const seen = WAYS[way.kind](image, way, size);
  return { data: padded(seen, size, padding).data, content: [seen.height, seen.width] };
}
