// The key of this browser at this host, and the proof it gives. Used by the device page and by the worker.
"use strict";

const crmgateDevice = (() => {
  const HOME = "/.crmgate/device";
  const NAME = "crmgate-device", STORE = "kept";
  const TRIES = 3, PAUSE_MS = 400;
  const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
  const pause = () => new Promise((done) => setTimeout(done, PAUSE_MS));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const opened = () => new Promise((done, failed) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => done(asked.result);
    asked.onerror = asked.onblocked = () => failed(asked.error || new Error("no database"));
  });

  // One transaction; `work` gets the store and hands its result to `give`.
  async function within(mode, work) {
    const base = await opened();
    try {
      return await new Promise((done, failed) => {
        const all = base.transaction(STORE, mode);
        let result;
        all.oncomplete = () => done(result);
        all.onabort = all.onerror = () => failed(all.error);
        work(all.objectStore(STORE), (given) => { result = given; });
      });
    } finally {
      base.close();
    }
  }

  const read = (name) => within("readonly", (store, give) => {
    const asked = store.get(name);
    asked.onsuccess = () => give(asked.result);
  });
  const write = (name, value) => within("readwrite", (store) => { store.put(value, name); });

  // Two tabs may make one at the same time: the first that is kept counts.
  async function pair() {
    const kept = await read("pair");
    if (kept) return kept;
    const made = await crypto.subtle.generateKey(ALGORITHM, false, ["sign"]);
    return within("readwrite", (store, give) => {
      const asked = store.get("pair");
      asked.onsuccess = () => {
        if (!asked.result) store.put(made, "pair");
        give(asked.result || made);
      };
    });
  }

  const send = (path, body) => fetch(HOME + path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });

  async function once(act) {
    const keys = await pair();
    const asked = await send("/ask", {});
    if (!asked.ok) return { status: asked.status };
    const { challenge } = await asked.json();
    const signed = new TextEncoder().encode(`crmgate device 1\n${location.origin}\n${challenge}`);
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, keys.privateKey, signed);
    const key = await crypto.subtle.exportKey("raw", keys.publicKey);
    const answer = await send("/prove", { challenge, key: text(key), signature: text(signature), act: act ? "1" : "" });
    return { ...await answer.json(), status: answer.status };
  }

  // Another tab may have renewed the cookie in the middle of this: then it is tried anew with the new one.
  async function prove(act) {
    let told = { status: 0 };
    for (let left = TRIES; left > 0; left -= 1) {
      told = await once(act);
      if (told.status !== 401 || told.reason === "session-locked") break;
      await pause();
    }
    const until = told.status === 200 && told.state === "open" ? Date.now() + told.renew_s * 1000 : 0;
    await write("until", until);
    return { ...told, until };
  }

  return { prove, read, HOME };
})();
