// Three small comforts; every page works without them.
"use strict";

// 1. A choice takes effect at once; the button beside it is for browsers without scripts.
for (const form of document.querySelectorAll("[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
}
for (const button of document.querySelectorAll("[data-only-without-script]")) button.hidden = true;

// 2. A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
// Back again from the next page: the form may be sent anew.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-once]")) delete form.dataset.sent;
});

// 3. A run's progress is fetched every second, and only what changed is exchanged.
const live = document.getElementById("live");
const EVERY_MS = 1000;

function exchange(fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const shown = live.querySelector(`[data-part="${part.dataset.part}"]`);
    if (shown && shown.innerHTML !== part.innerHTML) {
      const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 8;
      const focused = shown.contains(document.activeElement) && document.activeElement.getAttribute("href");
      shown.innerHTML = part.innerHTML;
      if (focused) shown.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
      if (atEnd) shown.scrollTop = shown.scrollHeight;
    }
  }
}

async function look() {
  const lost = live.querySelector("[data-lost]");
  try {
    const answer = await fetch(live.dataset.live, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    lost.hidden = true;
    // The whole page has more to show of a run that has ended: its figures, its predictions, other buttons.
    if (fresh.querySelector("[data-now]").dataset.over === "yes") return location.reload();
    exchange(fresh);
  } catch {
    lost.hidden = false;
  }
  setTimeout(look, EVERY_MS);
}

if (live && live.dataset.over === "no") setTimeout(look, EVERY_MS);
