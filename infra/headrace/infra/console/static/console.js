// Live pages: what changed is fetched again and put in place, but never under the reader's hands.
// Also the keys j, k, /, arrows among tokens, and the pad's Cancel. Pages work without it.
"use strict";

const main = document.getElementById("main");
const banner = document.getElementById("away");
const PAUSE_MS = 400;      // the page is not fetched more often,
const SHARE = 4;           // nor for more than a quarter of the time: a slow page asks less
const RETRY_MS = 10000;    // nor, where that failed and nothing changes, after less than this

/** The first link of each row of a table: what the row is about. */
function linksOf(tables) {
  return [...tables].flatMap((table) => [...table.querySelectorAll("tbody tr")])
    .map((row) => row.querySelector("a")).filter(Boolean);
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

/** Whether all of it was put in place; what is held stays as it is. */
function put(page) {
  const fresh = page.querySelectorAll("[data-live]");
  const shown = document.querySelectorAll("[data-live]");
  if (fresh.length !== shown.length) {  // a section appeared or went: the page is made anew
    if (isHeld(main)) return false;
    location.reload();
    return true;
  }
  let whole = true;
  shown.forEach((section, place) => {
    if (section.innerHTML === fresh[place].innerHTML) return;
    if (isHeld(section)) { whole = false; return; }
    keepOpen(section, fresh[place]);
    section.replaceWith(fresh[place]);
  });
  return whole;
}

function announce(page) {
  const news = document.getElementById("news");
  if (!news) return;
  const listed = (from) => linksOf(from.querySelectorAll("[data-list]")).map((link) => link.getAttribute("href"));
  const known = new Set(listed(document));
  const count = listed(page).filter((href) => !known.has(href)).length;
  if (!count) return;
  news.hidden = false;
  news.querySelector("span").textContent = count;
}

let due = 0;         // when the page may be fetched next
let timer = null;
let busy = false;
let again = false;   // something changed while it was fetched
let owed = false;    // something is not in place because it was held

function refresh() {
  if (busy) { again = true; return; }
  if (timer === null) timer = setTimeout(fetchPage, Math.max(0, due - performance.now()));
}

async function fetchPage() {
  timer = null;
  busy = true;
  again = false;
  const began = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }  // to the login
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok) {
      owed = !put(page);
      announce(page);
      banner.hidden = true;
    } else {
      away(page.querySelector("h1")?.textContent || `the console answers ${answer.status}`);
      setTimeout(refresh, RETRY_MS);
    }
  } catch {
    away("the console cannot be reached");  // the browser opens the stream again, which looks anew
  } finally {
    due = began + Math.max(PAUSE_MS, SHARE * (performance.now() - began));
    busy = false;
    if (again) refresh();
  }
}

for (const left of ["focusout", "selectionchange"]) {
  document.addEventListener(left, () => { if (owed) refresh(); });
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
    stream.onerror = () => {
      away("the console cannot be reached");
      // The browser goes on by itself where the network failed, but not behind an answer.
      if (stream?.readyState === EventSource.CLOSED) {
        stream = null;
        refresh();  // which finds out that a login is wanted, if one is
        setTimeout(look, RETRY_MS);
      }
    };
    stream.addEventListener("changed", refresh);
    stream.addEventListener("away", (event) => away(JSON.parse(event.data)));
  }
}
if (document.querySelector("[data-live], [data-list]")) {
  document.addEventListener("visibilitychange", look);
  look();
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = linksOf([main]);
  const place = rows.findIndex((link) => link.closest("tr").contains(document.activeElement));
  if (event.key === "j") rows[Math.min(place + 1, rows.length - 1)]?.focus();
  else if (event.key === "k") rows[Math.max(place - 1, 0)]?.focus();
  else if (event.key === "/") { main.querySelector("input")?.focus(); event.preventDefault(); }
});

/** Points at a token of a call; what is known of it stands below them. */
function point(tokens, place) {
  const token = tokens.children[Math.max(0, Math.min(place, tokens.children.length - 1))];
  tokens.querySelector(".at")?.classList.remove("at");
  token.classList.add("at");
  token.scrollIntoView({ block: "nearest" });
  tokens.nextElementSibling.textContent = token.title;
}

main.addEventListener("keydown", (event) => {
  if (!event.target.matches(".tokens") || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...event.target.children];
  const place = all.findIndex((token) => token.matches(".at"));
  const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: all.length }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  point(event.target, to);
});
main.addEventListener("click", (event) => {
  const token = event.target.closest(".tokens > span");
  if (token) point(token.parentElement, [...token.parentElement.children].indexOf(token));
});

const ask = document.getElementById("ask");
if (ask) {
  const stop = ask.querySelector(".cancel");
  ask.addEventListener("submit", () => { stop.hidden = false; });
  stop.addEventListener("click", () => {
    fetch(ask.dataset.cancel, { method: "POST", body: new URLSearchParams({ id: ask.elements.id.value }) });
  });
  ask.elements.q.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit(ask.elements.run);
  });
}
