// Runs what the page of export=web runs, for test_web.py: jobs as JSON on standard input, results on standard output.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const page = pathToFileURL(`${process.argv[2]}/`);
const { look } = await import(new URL("view.js", page));
const { read } = await import(new URL("predictions.js", page));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const text = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");

const DO = {
  look: ({ data, width, height, way, size, padding }) => {
    const seen = look({ data: bytes(data), width, height }, way, size, padding);
    return { data: text(seen.data), content: seen.content };
  },
  read: ({ outputs, heads, frame }) => {
    const tensors = Object.entries(outputs).map(([name, { data, dims, type }]) => {
      const { buffer } = bytes(data).slice();
      return [name, { dims, data: type === "uint8" ? new Uint8Array(buffer) : new Float32Array(buffer) }];
    });
    const found = read(Object.fromEntries(tensors), heads, frame);
    for (const answer of Object.values(found)) if (answer.mask) answer.mask = text(answer.mask);
    return found;
  },
};
const jobs = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(jobs.map((job) => DO[job.do](job))));
