// The log's side panel: a row opens it, Esc closes it and takes the address back, arrows move on to the next row.
(() => {
  const panel = document.getElementById("panel");
  if (!panel) return;
  const links = () => [...document.querySelectorAll("#log .row-link")];
  let current = null; // the address of the row that is open
  let back = null; // the log's own address

  const select = (link) => {
    document.querySelectorAll("#log tr[aria-selected]").forEach((row) => row.removeAttribute("aria-selected"));
    const row = link && link.closest("tr");
    if (row) row.setAttribute("aria-selected", "true");
  };

  document.addEventListener("click", (event) => {
    const row = event.target.closest("#log tr[data-row]");
    if (!row || event.target.closest("a, button")) return;
    row.querySelector(".row-link").click();
  });

  document.addEventListener("htmx:before:request", (event) => {
    const link = event.target.closest && event.target.closest(".row-link");
    if (!link) return;
    back = back || location.pathname + location.search;
    current = link.getAttribute("href");
    select(link);
  });

  document.addEventListener("htmx:after:swap", () => {
    if (current && panel.childElementCount && !panel.open) panel.showModal();
  });

  panel.addEventListener("close", () => {
    const link = links().find((one) => one.getAttribute("href") === current);
    if (back) history.pushState(null, "", back);
    current = back = null;
    panel.replaceChildren();
    select(null);
    if (link) link.focus();
  });

  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close(); // beside it
  });

  document.addEventListener("keydown", (event) => {
    if (!panel.open || !["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const all = links();
    const next = all[all.findIndex((one) => one.getAttribute("href") === current) + (/Down|Right/.test(event.key) ? 1 : -1)];
    if (!next) return;
    event.preventDefault();
    next.click();
  });

  addEventListener("popstate", () => location.reload());
})();
