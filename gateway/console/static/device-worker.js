// Looks after all pages of this host: when the last proof of the device is old, it makes the next one before a request
// leaves. A request is never changed: pages and forms are sent once more by the browser itself (307 to the very same
// address, so the body, where it comes from and what it is for stay what they were), calls of scripts are passed on.

const EARLIER_MS = 60000;  // what changes something is not left to the last moment
const AGAIN_MS = 15000;    // after a failure the server's own answer counts; it is not asked at every request
const MARK_MS = 10000;
const OWN = "/.crmgate/";
const AT_CONSOLE = new URL(location.href).searchParams.get("at") === "console";
const SAFE = new Set(["GET", "HEAD"]);
const marks = new Set();
let until = -1;  // not known: this worker has just been started
let last = Promise.resolve();

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", (event) => {
  if (typeof event.data.until === "number") until = event.data.until;
  if (event.ports[0]) event.ports[0].postMessage("heard");
});

// What uses up a proof of its own.
function isAct(request, path) {
  if (path.startsWith(`${OWN}account`)) return true;
  if (AT_CONSOLE) return !path.startsWith(OWN) && (request.mode === "navigate" || !SAFE.has(request.method));
  return path === `${OWN}reveal/open`;
}

function isExempt(request, path) {
  if (AT_CONSOLE && path.startsWith("/reveal/")) return true;  // frames of the CRM's pages: not this session's
  if (!path.startsWith(OWN)) return false;
  return !path.startsWith(`${OWN}account`) && path !== `${OWN}reveal/open` && !path.startsWith(`${OWN}oidc`)
    && path !== `${OWN}lock` && path !== `${OWN}step-up`;
}

const due = (request) => Date.now() >= until - (SAFE.has(request.method) ? 0 : EARLIER_MS);

// One after the other, so that no two of them use the same cookie.
function renew(request, act) {
  last = last.then(async () => {
    if (!act && !due(request)) return;
    try {
      const told = await crmgateDevice.prove(act);
      until = told.status === 200 && told.until ? told.until : Date.now() + AGAIN_MS + EARLIER_MS;
      if (told.status === 404) await self.registration.unregister();
    } catch {
      until = Date.now() + AGAIN_MS + EARLIER_MS;
    }
  });
  return last;
}

async function renewed(request, act, mark) {
  if (until < 0) until = await crmgateDevice.read("until").catch(() => 0) || 0;
  await renew(request, act);
  if (request.mode !== "navigate" && (request.destination === "" || request.redirect !== "follow")) {
    return fetch(request);
  }
  marks.add(mark);
  setTimeout(() => marks.delete(mark), MARK_MS);
  return new Response(null, { status: 307, headers: { location: request.url } });
}

self.addEventListener("fetch", (event) => {
  const { request } = event, address = new URL(request.url), path = address.pathname;
  if (address.origin !== location.origin || isExempt(request, path)) return;
  const mark = `${request.method} ${request.url}`;
  if (marks.delete(mark)) return;
  const act = isAct(request, path);
  if (!act && until >= 0 && !due(request)) return;
  event.respondWith(renewed(request, act, mark));
});
