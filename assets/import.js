// Reads a chosen file into the text field beside it. Without this script the text is pasted.
"use strict";
(() => {
  const file = document.getElementById("file");
  const said = document.getElementById("file-said");
  const text = file && document.getElementById(file.dataset.into);
  if (!file || !said || !text) return;
  // As a form sends it; the server takes 1 MiB.
  const most = 1_000_000;
  document.getElementById("file-field").hidden = false;
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (!chosen) return;
    try {
      const content = chosen.size <= most ? new TextDecoder("utf-8", { fatal: true }).decode(await chosen.arrayBuffer()) : "";
      if (!content && chosen.size > 0 || new URLSearchParams({ csv: content }).toString().length > most) {
        said.textContent = file.dataset.large;
        return;
      }
      text.value = content;
      said.textContent = `${file.dataset.read} ${chosen.name}`;
    } catch {
      said.textContent = file.dataset.unreadable;
    }
  });
})();
