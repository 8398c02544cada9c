// The dashboard beside its charts: live updates that can be paused and disturb nobody, and finding a model in a long list.
(() => {
  "use strict";

  const KEY = "dashboard:paused";
  let paused = false;
  let opened = [];

  try {
    paused = sessionStorage.getItem(KEY) === "yes";
  } catch {
    // A browser that keeps nothing is live again on the next page.
  }

  const board = () => document.getElementById("board");

  function labelLive() {
    const button = board()?.querySelector("[data-live]");
    if (button) button.setAttribute("aria-pressed", String(!paused));
  }

  function switchLive() {
    paused = !paused;
    try {
      sessionStorage.setItem(KEY, paused ? "yes" : "no");
    } catch {
      // as above
    }
    labelLive();
    document.getElementById("live").textContent = paused ? "Live updates paused" : "Live updates on";
  }

  // Somebody who chooses, reads a tooltip or a table must not have it replaced under the hand.
  const busy = () =>
    board()?.querySelector("details.menu[open], details.twin[open], [data-chart]:is(:hover, :focus)") !== null || board().contains(document.activeElement?.closest("input, select"));

  function narrow(input) {
    const wanted = input.value.trim().toLowerCase();
    for (const label of document.getElementById(input.dataset.narrow).children) {
      label.hidden = !label.textContent.toLowerCase().includes(wanted) && !label.querySelector("input").checked;
    }
  }

  document.addEventListener("click", (event) => event.target.closest?.("[data-live]") && switchLive());
  document.addEventListener("input", (event) => event.target.matches("[data-narrow]") && narrow(event.target));
  document.addEventListener("htmx:before:request", (event) => {
    if (event.target.id === "poll" && (paused || busy())) event.preventDefault();
    else if (event.target.id !== "poll") board()?.classList.add("board-loading");
  });
  document.addEventListener("htmx:finally:request", () => board()?.classList.remove("board-loading"));
  document.addEventListener("htmx:before:swap", (event) => {
    if (event.detail.ctx?.sourceElement?.id === "poll" && busy()) event.preventDefault();
    opened = [...document.querySelectorAll("#board details.twin[open]")].map((details) => details.id);
  });
  document.addEventListener("htmx:after:swap", () => {
    labelLive();
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  });
  labelLive();
})();
