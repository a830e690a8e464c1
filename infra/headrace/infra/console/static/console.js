// Live pages: what changed is fetched again and put in place, but never under the reader's hands.
// Also the keys j, k, / and the pad's Cancel. Pages work without it.
"use strict";

const main = document.getElementById("main");
const banner = document.getElementById("away");
let busy = false;
let again = false;

function rowsOf(page) {
  return [...page.querySelectorAll("[data-list] tbody a")].map((link) => link.getAttribute("href"));
}

function isHeld(section) {
  const chosen = document.getSelection();
  return section.contains(document.activeElement)
    || (chosen && !chosen.isCollapsed && section.contains(chosen.anchorNode));
}

function keepOpen(from, to) {
  const before = [...from.querySelectorAll("details")];
  to.querySelectorAll("details").forEach((one, place) => {
    if (before[place]) one.open = before[place].open;
  });
}

function put(page) {
  const fresh = page.querySelectorAll("[data-live]");
  const shown = document.querySelectorAll("[data-live]");
  if (fresh.length !== shown.length) {  // a section appeared or went: the page is made anew
    if (isHeld(main)) again = true; else location.reload();
    return;
  }
  shown.forEach((section, place) => {
    if (isHeld(section)) { again = true; return; }
    keepOpen(section, fresh[place]);
    if (section.innerHTML !== fresh[place].innerHTML) section.replaceWith(fresh[place]);
  });
}

function announce(page) {
  const news = document.getElementById("news");
  if (!news) return;
  const known = new Set(rowsOf(document));
  const count = new Set(rowsOf(page).filter((href) => !known.has(href))).size;
  if (!count) return;
  news.hidden = false;
  news.querySelector("span").textContent = count;
}

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  again = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      put(page);
      announce(page);
      banner.hidden = true;
    }
  } catch {
    // The stream is opened again by the browser, and then looks anew.
  } finally {
    busy = false;
    if (again) setTimeout(refresh, 1000);
  }
}

function away(said) {
  if (!banner.hidden) return;
  banner.hidden = false;
  const at = new Date().toISOString().slice(11, 19);
  banner.textContent = `No answer since ${at}: ${said}. What is shown is from before.`;
}

let stream = null;
function look() {
  if (document.hidden) {
    if (stream) stream.close();
    stream = null;
  } else if (!stream) {
    stream = new EventSource("/events");
    stream.onopen = refresh;
    stream.onerror = () => away("the console cannot be reached");
    stream.addEventListener("changed", refresh);
    stream.addEventListener("away", (event) => away(JSON.parse(event.data)));
  }
}
if (document.querySelector("[data-live], [data-list]")) {
  document.addEventListener("visibilitychange", look);
  look();
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
  const rows = [...main.querySelectorAll("tbody tr a:first-of-type")];
  const place = rows.findIndex((link) => link.closest("tr").contains(document.activeElement));
  if (event.key === "j") rows[Math.min(place + 1, rows.length - 1)]?.focus();
  else if (event.key === "k") rows[Math.max(place - 1, 0)]?.focus();
  else if (event.key === "/") { main.querySelector("input")?.focus(); event.preventDefault(); }
});

const ask = document.getElementById("ask");
if (ask) {
  const stop = ask.querySelector(".cancel");
  ask.addEventListener("submit", () => { stop.hidden = false; });
  stop.addEventListener("click", () => {
    fetch(ask.dataset.cancel, { method: "POST", body: new URLSearchParams({ id: ask.elements.id.value }) });
  });
  ask.elements.q.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit();
  });
}
