// Uploads with a bar that tells how far they are. Without this script the form is sent as any other.
"use strict";
(() => {
  const form = document.querySelector("form[data-upload]");
  const texts = form.dataset;
  const [button, stop, complaint, progress] = ["[type=submit]", "[data-stop]", "[data-wrong]", "[data-progress]"].map((it) => form.querySelector(it));
  const [bar, told] = [progress.querySelector("progress"), progress.querySelector("[data-said]")];
  const said = document.getElementById("said");
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const known = (code) => [...document.getElementById("problems").content.children].find((one) => one.dataset.of === code)?.textContent;

  function over(text) {
    progress.hidden = stop.hidden = true;
    button.disabled = false;
    complaint.hidden = !text;
    complaint.querySelector("span").textContent = text;
  }

  /** What a refused upload says. */
  function reason(request) {
    if (request.status === 401) return texts.signedOut;
    let problem = {};
    try { problem = JSON.parse(request.responseText); } catch { /* not from us */ }
    const text = [problem.title, problem.detail].filter(Boolean).join(" ");
    return known(problem.code) ?? `${texts.refused} ${text || request.status}`;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.disabled) return;
    const large = [...form.elements.files.files].find((file) => file.size > Number(texts.largest));
    if (large) { over(fill(texts.tooLarge, { name: large.name })); return; }
    const request = new XMLHttpRequest();
    let last = -1;
    request.open("POST", form.action);
    request.setRequestHeader("accept", "application/json");
    request.upload.addEventListener("progress", ({ loaded, total, lengthComputable }) => {
      if (!lengthComputable) return;
      const percent = Math.floor(loaded * 100 / total);
      bar.value = percent;
      told.textContent = percent < 100 ? fill(texts.sending, { percent }) : texts.storing;
      // Not every step is worth to be read out.
      if (said && Math.floor(percent / 25) !== Math.floor(last / 25)) said.textContent = told.textContent;
      last = percent;
    });
    // What comes after the redirect is the list, with what was uploaded.
    request.addEventListener("load", () => (request.status === 200 ? location.assign(request.responseURL) : over(reason(request))));
    request.addEventListener("error", () => over(texts.unreachable));
    request.addEventListener("abort", () => over(texts.stopped));
    stop.onclick = () => request.abort();
    complaint.hidden = true;
    button.disabled = true;
    bar.value = 0;
    told.textContent = fill(texts.sending, { percent: 0 });
    progress.hidden = stop.hidden = false;
    request.send(new FormData(form));
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) over(""); });
})();
