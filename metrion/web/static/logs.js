// The log's side panel: a row opens it, Esc closes it and takes the address back, arrows move on to the next row. And the news of
// what came since, which can be paused.
(() => {
  "use strict";

  const panel = document.getElementById("panel");
  if (!panel) return;
  const links = () => [...document.querySelectorAll("#log .row-link")];
  let current = null; // the address of the row that is open
  let back = null; // the log's own address

  const select = (link) => {
    document.querySelectorAll("#log tr[aria-selected]").forEach((row) => row.removeAttribute("aria-selected"));
    link?.closest("tr").setAttribute("aria-selected", "true");
  };

  document.addEventListener("click", (event) => {
    const row = event.target.closest("#log tr[data-row]");
    if (!row || event.target.closest("a, button") || getSelection().type === "Range") return;
    row.querySelector(".row-link").click();
  });

  document.addEventListener("htmx:before:request", (event) => {
    const link = event.target.closest?.(".row-link");
    if (!link) return;
    back = back || location.pathname + location.search;
    current = link.getAttribute("href");
    select(link);
  });

  document.addEventListener("htmx:after:swap", () => {
    if (current && panel.childElementCount && !panel.open) panel.showModal();
    const csv = document.querySelector("[data-csv]");
    csv?.setAttribute("href", `/logs.csv${document.getElementById("log").dataset.query}`);
  });

  panel.addEventListener("close", () => {
    const link = links().find((one) => one.getAttribute("href") === current);
    if (back) history.pushState(null, "", back);
    current = back = null;
    panel.replaceChildren();
    select(null);
    link?.focus();
  });

  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close(); // beside it
  });

  // Whoever leaves the search has had its lines already: they must not be replaced under the click that leaves it.
  document.getElementById("q").addEventListener("change", (event) => event.stopPropagation());

  // ── Keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

  document.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea, pre, details.menu[open]")) return;
    const all = links();
    const at = panel.open
      ? all.findIndex((one) => one.getAttribute("href") === current)
      : all.indexOf(document.activeElement);
    if (panel.open ? at < 0 : /Left|Right/.test(event.key)) return;
    const next = all[at < 0 ? (step > 0 ? 0 : -1) : at + step];
    if (!next) return;
    event.preventDefault();
    if (panel.open) next.click();
    else next.focus();
  });

  addEventListener("popstate", () => location.reload());

  // ── News ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const KEY = "logs:paused";
  const button = document.querySelector("[data-live]");
  let paused = false;

  function pause(now) {
    paused = now;
    button.setAttribute("aria-pressed", String(!paused));
  }

  try {
    pause(sessionStorage.getItem(KEY) === "yes");
  } catch {
    // A browser that keeps nothing is live again on the next page.
  }

  button.addEventListener("click", () => {
    pause(!paused);
    document.getElementById("live").textContent = paused ? "News of requests paused" : "News of requests on";
    try {
      sessionStorage.setItem(KEY, paused ? "yes" : "no");
    } catch {
      // as above
    }
  });

  document.addEventListener("htmx:before:request", (event) => {
    if (event.target.id === "newer" && (paused || document.hidden)) event.preventDefault();
  });
})();
