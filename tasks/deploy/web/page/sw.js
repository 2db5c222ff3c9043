// Keeps what was loaded, so that the page works offline. The name of the cache is the export's checksum, `?v=`: a new
// export replaces the old one. Answers carry the two headers that let WebAssembly use several threads.

const PREFIX = `trident ${self.registration.scope} `;
const CACHE = PREFIX + new URL(self.location.href).searchParams.get("v");
const SHELL = ["./", "style.css", "app.js", "draw.js", "worker.js", "view.js", "predictions.js", "model.json", "icon.svg", "manifest.webmanifest"];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL.map((path) => new Request(path, { cache: "reload" })))));
});

self.addEventListener("activate", (event) => {
  const clear = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
    }
    await self.clients.claim();
  };
  event.waitUntil(clear());
});

function isolated(response) {
  if (!response.ok) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, headers });
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const key = request.mode === "navigate" ? new URL("./", self.registration.scope).href : request;
  const known = await cache.match(key);
  if (known) return isolated(known);
  const response = await fetch(request);
  if (response.status === 200) await cache.put(request, response.clone());
  return isolated(response);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(self.registration.scope)) event.respondWith(answer(request));
});
