// Asks the server of mode=demo about images, away from the page's thread. It takes worker.js's place, message by message.

import { counted } from "./predictions.js";

const QUALITY = 0.92;

/** What is sent of an image: its file as it is, which Python decodes; a camera's frame as a JPEG. */
async function bodyOf({ file, bitmap }) {
  if (file) return file;
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}

async function see(job) {
  const body = await bodyOf(job);
  job.bitmap.close();
  let response;
  try {
    response = await fetch("predict", { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
  } catch {
    throw new Error("the program that serves this page does not answer");
  }
  if (!response.ok) throw new Error((await response.text()).trim());
  const { predictions: answers, ...result } = await response.json();
  for (const answer of Object.values(answers)) {
    if (answer.kind !== "segmentation") continue;
    answer.mask = Uint8Array.from(atob(answer.mask), (letter) => letter.charCodeAt(0));
    answer.counts = counted(answer.mask);
  }
  return { ...result, answers };
}

self.onmessage = async ({ data }) => {
  if (data.model) return self.postMessage({ ready: data.model.backend });
  try {
    self.postMessage({ id: data.id, result: await see(data) });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
};
