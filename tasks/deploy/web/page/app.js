// The page: sources of images, the loop over frames, and what is shown.

import { draw, summary, tell } from "./draw.js";

const element = (id) => document.getElementById(id);
const [canvas, video, stage, least] = [element("canvas"), element("video"), document.querySelector(".stage"), element("least")];
const KEPT_TIMES = 15;
const CONTROLLED_WITHIN = 4000; // milliseconds

let model;
let worker;
let stream = null;
let facing = "environment";
let last = null;
let times = [];
const waiting = new Map();
let count = 0;

function say(text, bad = false) {
  element("status").textContent = text;
  element("status").classList.toggle("bad", bad);
}

/** What gives the answers, in a thread of its own; resolves to what it runs on. */
function employ() {
  worker = new Worker(model.worker, { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.ready) return resolve(data.ready);
      if (data.id === undefined) return reject(new Error(data.error));
      const { resolve: give, reject: fail } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) fail(new Error(data.error));
      else give(data.result);
    };
    worker.onerror = (event) => reject(new Error(event.message || "this browser cannot run module workers"));
    worker.postMessage({ model });
  });
}

function see(bitmap, file) {
  return new Promise((resolve, reject) => {
    waiting.set(++count, { resolve, reject });
    worker.postMessage({ id: count, bitmap, file }, [bitmap]);
  });
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function show() {
  if (!last) return;
  const score = Number(least.value);
  element("shown").textContent = score.toFixed(2);
  draw(canvas, last.image, last.result, model, score);
  tell(element("answers"), last.result.answers, model, score);
  canvas.ariaLabel = summary(last.result.answers, model, score);
  element("hint").hidden = true;
}

function showTimes(result, whole) {
  times.push([result.times.model, whole]);
  times = times.slice(-KEPT_TIMES);
  const [alone, frame] = [0, 1].map((column) => median(times.map((row) => row[column])));
  element("latency").textContent = `${alone.toFixed(1)} ms`;
  element("frame").textContent = `${frame.toFixed(1)} ms`;
  element("fps").textContent = stream ? (1000 / frame).toFixed(1) : "–";
  element("times").hidden = false;
}

/**
 * One image through the model and onto the page, where it is kept to be drawn again when the slider moves.
 * @param file that the image was read from, if it was.
 */
async function answer(image, source, file) {
  const start = performance.now();
  const result = await see(await createImageBitmap(image), file);
  if (source !== stream) return image.close(); // another image was asked for in the meantime
  last?.image.close();
  last = { image, result };
  show();
  showTimes(result, performance.now() - start);
  // For consoles and for the test that compares this page with Python.
  globalThis.trident = last;
}

async function openFile(file) {
  if (!file) return;
  stop();
  times = [];
  try {
    await answer(await createImageBitmap(file, { colorSpaceConversion: "none" }), null, file);
    say(file.name);
  } catch (error) {
    const unread = error.name === "InvalidStateError" || error.name === "EncodingError";
    say(unread ? `${file.name}: is no image that this browser reads` : `${file.name}: ${error.message}`, true);
  }
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
  element("camera").textContent = "Start camera";
  element("turn").hidden = true;
}

async function start() {
  stop();
  times = [];
  if (!navigator.mediaDevices) return say("The camera needs https or localhost; images can be opened all the same.", true);
  try {
    const wanted = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } };
    const opened = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    stream = opened;
    video.srcObject = opened;
    await video.play();
    element("camera").textContent = "Stop camera";
    const devices = await navigator.mediaDevices.enumerateDevices();
    element("turn").hidden = devices.filter(({ kind }) => kind === "videoinput").length < 2;
    say("Camera");
    while (stream === opened) {
      await answer(await createImageBitmap(video), opened);
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    stop();
    const reasons = { NotAllowedError: "was not allowed", NotFoundError: "was not found", NotReadableError: "is in use" };
    const reason = reasons[error.name];
    say(reason ? `Camera ${reason}; images can be opened all the same.` : error.message, true);
  }
}

function describe() {
  const about = {
    File: model.file,
    Precision: model.precision,
    Input: `${model.size} × ${model.size} pixels`,
    Heads: Object.keys(model.heads).join(", "),
    Licence: model.licence,
  };
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined) continue;
    const [term, text] = ["dt", "dd"].map((tag) => document.createElement(tag));
    [term.textContent, text.textContent] = [name, value];
    element("about").append(term, text);
  }
  document.title = model.title;
  element("title").textContent = model.title;
  element("where").textContent = model.where;
  if (model.score !== undefined) least.value = model.score;
  element("shown").textContent = Number(least.value).toFixed(2);
  element("threshold").hidden = !Object.values(model.heads).some(({ kind }) => kind === "detection");
}

/** Everything is fetched through the service worker, so that it is there without a network next time. */
async function keepOffline() {
  if (!model.offline || !("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(`sw.js?v=${model.version}`);
    if (navigator.serviceWorker.controller) return;
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, CONTROLLED_WITHIN);
    });
  } catch {
    // The page works as well; it is loaded again next time.
  }
}

async function open() {
  try {
    model = await (await fetch("model.json")).json();
    describe();
    await keepOffline();
    const backend = await employ();
    element("about").append(...["dt", "dd"].map((tag, i) => Object.assign(document.createElement(tag), { textContent: ["Runs on", backend][i] })));
    for (const id of ["camera", "photo", "file"]) element(id).disabled = false;
    say(`Ready (${backend}).`);
  } catch (error) {
    say(`The model cannot be run here: ${error.message}`, true);
  }
}

element("camera").addEventListener("click", () => (stream ? (stop(), say("Camera stopped.")) : start()));
element("turn").addEventListener("click", () => {
  facing = facing === "environment" ? "user" : "environment";
  start();
});
for (const id of ["photo", "file"]) {
  element(id).addEventListener("change", ({ target }) => {
    openFile(target.files[0]);
    target.value = "";
  });
}
least.addEventListener("input", show);
stage.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
stage.addEventListener("dragleave", () => stage.classList.remove("over"));
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  if (!element("file").disabled) openFile(event.dataTransfer.files[0]);
});
open();
