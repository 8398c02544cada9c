// What pages do in the browser beside links, forms and htmx. Everything is found by data attributes, so that it also works
// in what htmx brings later. macros.html writes these attributes and tells what they mean.
(() => {
  "use strict";

  const REVEALED_MS = 30_000;
  const COPIED_MS = 2_000;
  const SEQUENCE_MS = 1_200;
  const SENT_MS = 10_000;
  const PLACES = { d: "/dashboard", l: "/logs", a: "/alerts", i: "/integrate", s: "/settings" };

  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

  function say(text) {
    const region = byId("live");
    if (!region) return;
    region.textContent = "";
    setTimeout(() => (region.textContent = text), 50); // the same words again are only read after a change
  }

  function stored(key, value) {
    try {
      if (value === undefined) return localStorage.getItem(key);
      if (value === null) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      // A browser that keeps nothing starts anew on the next page.
    }
    return null;
  }

  // ── Theme: system, light, dark ──────────────────────────────────────────────────────────────────────────────────────

  const THEMES = ["system", "light", "dark"];
  const theme = () => root.dataset.theme ?? "system";
  const nextTheme = () => THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];

  function labelThemeSwitches() {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.setAttribute("aria-label", `Theme: ${theme()}. Change to ${nextTheme()}`);
      button.title = `Theme: ${theme()}`;
    }
  }

  function switchTheme() {
    const chosen = nextTheme();
    if (chosen === "system") delete root.dataset.theme;
    else root.dataset.theme = chosen;
    stored("theme", chosen === "system" ? null : chosen);
    labelThemeSwitches();
    say(`Theme: ${chosen}`);
    document.dispatchEvent(new CustomEvent("metrion:theme"));
  }

  // ── Copy, show ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async function fetchText(url) {
    const answer = await fetch(url, { method: "POST", headers: { "x-csrf-token": csrf() }, cache: "no-store" });
    const type = answer.headers.get("content-type") ?? "";
    if (!answer.ok || answer.redirected || !type.startsWith("text/plain")) throw new Error(`no text: ${answer.status}`);
    return answer.text();
  }

  function copyWithoutClipboard(text) { // plain http beyond loopback has no navigator.clipboard
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("not copied");
  }

  async function copyText(promised) {
    if (!navigator.clipboard) return copyWithoutClipboard(await promised);
    // Given at once and filled later: Safari allows writing only within the click.
    const blob = promised.then((text) => new Blob([text], { type: "text/plain" }));
    return navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
  }

  async function copy(button) {
    const { copy: text, copyFrom: url, copyOf: id } = button.dataset;
    const label = button.querySelector("[data-label]");
    const before = button.dataset.labelBefore ?? label.textContent;
    button.dataset.labelBefore = before;
    let result = "Copied";
    try {
      await copyText(url ? fetchText(url) : Promise.resolve(text ?? byId(id).textContent));
      button.dataset.copyState = "done";
    } catch {
      result = "Not copied";
    }
    label.textContent = result;
    say(result === "Copied" ? "Copied" : "It could not be copied. Reload the page and try again.");
    clearTimeout(button.copyTimer);
    button.copyTimer = setTimeout(() => {
      label.textContent = before;
      delete button.dataset.copyState;
    }, COPIED_MS);
  }

  function hide(button) {
    const place = byId(button.dataset.revealIn);
    clearTimeout(button.revealTimer);
    if (place) place.textContent = place.dataset.masked;
    button.querySelector("[data-label]").textContent = "Show";
    button.setAttribute("aria-pressed", "false");
  }

  async function reveal(button) {
    if (button.getAttribute("aria-pressed") === "true") return hide(button);
    try {
      byId(button.dataset.revealIn).textContent = await fetchText(button.dataset.reveal);
    } catch {
      return say("It could not be shown. Reload the page and try again.");
    }
    button.querySelector("[data-label]").textContent = "Hide";
    button.setAttribute("aria-pressed", "true");
    say("Shown for 30 seconds");
    button.revealTimer = setTimeout(() => hide(button), REVEALED_MS);
  }

  function showPassword(button) {
    const input = byId(button.dataset.showPassword);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.querySelector("[data-label]").textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-pressed", String(shown));
  }

  // ── Tabs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const tabsOf = (list) => [...list.querySelectorAll('[role="tab"]')];

  function selectTab(tab) {
    const list = tab.closest('[role="tablist"]');
    for (const other of tabsOf(list)) {
      const selected = other === tab;
      other.setAttribute("aria-selected", String(selected));
      other.tabIndex = selected ? 0 : -1;
      const panel = byId(other.getAttribute("aria-controls"));
      if (panel) panel.hidden = !selected;
    }
    if (list.dataset.remember) stored(`tab:${list.dataset.remember}`, tab.dataset.tab);
  }

  function restoreTabs(within) {
    for (const list of within.querySelectorAll('[role="tablist"][data-remember]')) {
      const kept = stored(`tab:${list.dataset.remember}`);
      const tab = tabsOf(list).find((candidate) => candidate.dataset.tab === kept);
      if (tab) selectTab(tab);
    }
  }

  function moveInTabs(event, tab) {
    const all = tabsOf(tab.closest('[role="tablist"]'));
    const here = all.indexOf(tab);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    selectTab(next);
    next.focus();
  }

  // ── Dialogs, menus, forms ───────────────────────────────────────────────────────────────────────────────────────────

  function openDialog(id) {
    const dialog = byId(id);
    if (dialog && !dialog.open) dialog.showModal();
  }

  function checkTyped(input) {
    const button = input.form.querySelector('[type="submit"]');
    button.disabled = input.value.trim() !== input.dataset.mustBe;
  }

  function onClick(event) {
    const target = event.target.closest?.("button, [data-open], dialog");
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    if (!target) return;
    if (target.matches("[commandfor]")) event.preventDefault(); // what it commands is done here, in older browsers too
    if (target.matches("[data-theme-switch]")) switchTheme();
    else if (target.matches("[data-copy], [data-copy-from], [data-copy-of]")) copy(target);
    else if (target.matches("[data-reveal]")) reveal(target);
    else if (target.matches("[data-show-password]")) showPassword(target);
    else if (target.matches('[role="tab"]')) selectTab(target);
    else if (target.matches("[data-open]")) openDialog(target.dataset.open);
    else if (target.matches("[data-close]")) target.closest("dialog").close();
    else if (target.matches("[data-reload]")) location.reload();
    else if (target === event.target && target.matches("dialog")) target.close(); // the backdrop
  }

  function onSubmit(event) { // a second click must not send a form twice
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return; // htmx queues by itself
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
    setTimeout(() => sendable(form), SENT_MS); // an answer that is a file leaves the page as it is
  }

  function sendable(form) {
    delete form.dataset.sent;
    form.querySelector('[aria-busy="true"]')?.removeAttribute("aria-busy");
  }

  function onPageShow() { // also back from the browser's cache of pages
    document.querySelectorAll("form[data-sent]").forEach(sendable);
  }

  // ── Keyboard ────────────────────────────────────────────────────────────────────────────────────────────────────────

  let leaderAt = -Infinity;

  function onKey(event) {
    const tab = event.target.closest?.('[role="tab"]');
    if (tab) moveInTabs(event, tab);
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      const menu = document.querySelector("details.menu[open]");
      if (menu) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    shortcut(event);
  }

  function shortcut(event) {
    const signedIn = document.body.classList.contains("frame");
    const afterLeader = event.timeStamp - leaderAt < SEQUENCE_MS;
    leaderAt = -Infinity;
    if (event.key === "g") leaderAt = event.timeStamp;
    else if (afterLeader && signedIn && PLACES[event.key]) location.assign(PLACES[event.key]);
    else if (event.key === "?") openDialog("help");
    else if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
    }
  }

  // ── The server out of reach, and times that pass ────────────────────────────────────────────────────────────────────

  function showBar(text, retry) {
    const bar = byId("bar");
    if (!bar) return;
    bar.hidden = !text;
    bar.querySelector("[data-text]").textContent = text;
    bar.querySelector("[data-reload]").hidden = !retry;
  }

  const offline = () => showBar("You are offline. What you see may be old.", false);

  function words(seconds) { // as figures.ago in Python
    if (seconds < 10) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3600)} h ago`;
  }

  function refreshTimes() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (seconds >= 0 && seconds < 86_400) time.textContent = words(seconds);
    }
  }

  // ── All of it together ──────────────────────────────────────────────────────────────────────────────────────────────

  document.addEventListener("click", onClick);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey);
  document.addEventListener("input", (event) => event.target.matches("[data-must-be]") && checkTyped(event.target));
  document.addEventListener("htmx:config:request", (event) => (event.detail.ctx.request.headers["x-csrf-token"] = csrf()));
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.matches('[hx-trigger^="every"]')) event.preventDefault(); // nobody looks
  });
  document.addEventListener("htmx:after:request", () => navigator.onLine && showBar("", false));
  document.addEventListener("htmx:after:swap", () => restoreTabs(document)); // the event comes from what asked, not from what came
  document.addEventListener("htmx:error", () => (navigator.onLine ? showBar("Metrion could not be reached. Nothing recorded is lost.", true) : offline()));
  addEventListener("offline", offline);
  addEventListener("online", () => showBar("", false));
  addEventListener("pageshow", onPageShow);
  setInterval(refreshTimes, 10_000);
  labelThemeSwitches();
  restoreTabs(document);
  document.querySelector(".side-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone they scroll
  for (const dialog of document.querySelectorAll("dialog[data-open-now]")) dialog.showModal();
  if (!navigator.onLine) offline();
})();
