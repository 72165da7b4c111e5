// The little that pages cannot do without a script: copying a link, and showing the error summary first.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    document.getElementById("copied").textContent = button.dataset.done;
    button.textContent = button.dataset.done;
  });
}

const problem = document.getElementById("problem");
if (problem) problem.focus();
