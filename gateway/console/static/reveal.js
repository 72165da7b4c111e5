// The little the frame does by itself: the time of a value runs out, copying, and what needs attention gets the focus.
"use strict";

const time = document.getElementById("time");
if (time) {
  const end = Date.now() + Number(time.dataset.seconds) * 1000;
  const back = () => {
    document.getElementById("value").textContent = "••••••";
    document.getElementById("back").submit();
  };
  const tick = setInterval(() => {
    const left = (end - Date.now()) / 1000;
    time.value = Math.max(0, left);
    if (left <= 0) {
      clearInterval(tick);
      back();
    }
  }, 250);
  // A page that comes back from the browser's memory would show the value again.
  addEventListener("pagehide", () => document.getElementById("value").replaceChildren());
}

const copy = document.getElementById("copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("value").textContent);
    copy.textContent = copy.dataset.done;
  });
}

const first = document.getElementById("problem") || document.getElementById("shown");
if (first) first.focus();
