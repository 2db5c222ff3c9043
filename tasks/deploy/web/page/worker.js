// Looks at images, away from the page's thread: pixels in, what every head says out.

import { read } from "./predictions.js";
import { look } from "./view.js";

const MOST_PIXELS = 16e6; // what phones let a canvas have
let model;
let run;

/** ONNX Runtime Web on the graphics processor where there is one, else on the processor. */
async function openRuntime() {
  const builds = [["wasm", "ort.wasm.min.mjs", ["wasm"]]];
  const adapter = model.webgpu ? await navigator.gpu?.requestAdapter() : null;
  if (adapter && !adapter.info?.isFallbackAdapter) { // one that computes on the processor is slower than WebAssembly
    builds.unshift(["WebGPU", "ort.webgpu.min.mjs", ["webgpu", "wasm"]]);
  }
  let reason;
  for (const [name, file, executionProviders] of builds) {
    try {
      const ort = await import(`./runtime/${file}`);
      ort.env.wasm.wasmPaths = new URL("./runtime/", self.location.href).href;
      ort.env.logLevel = "error";
      const session = await ort.InferenceSession.create(model.file, { executionProviders });
      const infer = async (view) =>
        session.run({ image: new ort.Tensor("uint8", view, [1, model.size, model.size, 3]) });
      await infer(new Uint8Array(model.size * model.size * 3)); // the first pass prepares what the others use
      const threads = name === "wasm" && self.crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;
      return [infer, name === "wasm" ? `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}` : name];
    } catch (error) {
      reason = error;
    }
  }
  throw reason;
}

function pixelsOf(bitmap) {
  const shrink = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * shrink)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // transparent pixels lie on white, as in Python
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { data, width, height };
}

async function see(bitmap) {
  const start = performance.now();
  const image = pixelsOf(bitmap);
  bitmap.close();
  const { data, content } = look(image, model.view, model.size, model.padding);
  const looked = performance.now();
  const outputs = await run(data);
  const ran = performance.now();
  const { width, height } = image;
  const answers = read(outputs, model.heads, { content, size: model.size, width, height });
  const read_ = performance.now();
  return { width, height, answers, times: { view: looked - start, model: ran - looked, answers: read_ - ran } };
}

self.onmessage = async ({ data }) => {
  try {
    if (data.model) {
      model = data.model;
      let backend;
      [run, backend] = await openRuntime();
      self.postMessage({ ready: backend });
    } else self.postMessage({ id: data.id, result: await see(data.bitmap) });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
};
