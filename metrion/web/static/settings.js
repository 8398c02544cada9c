// Takes the browser's time zone over into the form.
(() => {
  "use strict";
  for (const button of document.querySelectorAll("[data-use-zone]")) {
    const select = document.getElementById(button.dataset.useZone);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const known = [...select.options].some((option) => option.value === zone);
    button.disabled = !known || select.value === zone;
    button.title = known ? zone : "";
    button.addEventListener("click", () => {
      select.value = zone;
      button.disabled = true;
    });
    select.addEventListener("change", () => (button.disabled = !known || select.value === zone));
  }
})();
