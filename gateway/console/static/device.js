// The device page: proves this browser's key, sets up the worker that does so from now on, and goes on.
"use strict";

const area = document.getElementById("device");
const show = (state) => {
  for (const part of area.querySelectorAll("[data-state]")) part.hidden = part.dataset.state !== state;
};
const AGAIN_MS = 5000, WORKER_MS = 5000;
const limited = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, WORKER_MS))]);

async function work(until) {
  const { worker } = area.dataset;
  if (!worker || !navigator.serviceWorker) return;
  try {
    await limited((async () => {
      await navigator.serviceWorker.register(worker, { scope: "/", updateViaCache: "none" });
      const ready = await navigator.serviceWorker.ready;
      await new Promise((done) => {
        const line = new MessageChannel();
        line.port1.onmessage = done;
        ready.active.postMessage({ until }, [line.port2]);
      });
    })());
  } catch {
    // Without it every renewal is a short stop on this page.
  }
}

const REFUSED = { "devices-full": "full", "device-revoked": "revoked" };

async function run() {
  const act = area.dataset.act !== "";
  let told;
  try {
    told = await crmgateDevice.prove(act);
  } catch {
    return show("failed");
  }
  if (told.status === 401) return location.replace(`/.crmgate/sign-in?next=${encodeURIComponent(area.dataset.next)}`);
  if (told.status !== 200) return show(REFUSED[told.reason] || "failed");
  if (told.state === "waiting") {
    show("waiting");
    return setTimeout(run, AGAIN_MS);
  }
  await work(told.until);
  if (area.dataset.lost) return show("lost");
  const form = area.querySelector("[data-again-form]");
  // A field may be called "submit".
  if (form) return HTMLFormElement.prototype.submit.call(form);
  return location.replace(area.dataset.next + location.hash);
}

show("working");
for (const again of area.querySelectorAll("[data-again]")) {
  again.addEventListener("click", () => { show("working"); run(); });
}
run();
