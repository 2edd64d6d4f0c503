// A media job's progress as it happens, and times of a transcript that lead to their place in the recording.
"use strict";
(() => {
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const language = document.documentElement.lang;
  const card = document.querySelector("[data-job]");
  const OVER = ["succeeded", "partially_succeeded", "failed", "cancelled"];

  if (card) {
    const [bar, counts, state] = [card.querySelector("[data-bar]"), card.querySelector("[data-counts-shown]"), document.querySelector("[data-state]")];
    const states = [...document.getElementById("states").content.children];
    const said = document.getElementById("said");
    let source = null;

    const show = (job) => {
      const { items_succeeded: done, items_failed: failed, items_total: total } = job.progress;
      const shown = Object.fromEntries(Object.entries({ done, failed, total }).map(([name, value]) => [name, value.toLocaleString(language)]));
      bar.max = total || 1;
      bar.value = done + failed;
      counts.textContent = fill(card.dataset.counts, shown);
      document.querySelector("[data-cost]").textContent = [job.cost.currency, job.cost.amount].filter(Boolean).join(" ");
      const badge = states.find((one) => one.dataset.of === job.status);
      if (badge && state.firstElementChild?.dataset.of !== job.status) {
        state.replaceChildren(badge.cloneNode(true));
        if (said) said.textContent = badge.textContent;
      }
      if (OVER.includes(job.status)) {
        source.close();
        counts.append(` ${card.dataset.over}`);
        // The page of a job that is over has its results, and does not ask any more.
        location.replace(location.pathname);
      }
    };

    // Nobody is told what nobody sees.
    const listen = () => {
      if (document.hidden) {
        source?.close();
        source = null;
      } else if (!source) {
        source = new EventSource(card.dataset.events);
        source.addEventListener("progress", (event) => show(JSON.parse(event.data)));
      }
    };
    document.addEventListener("visibilitychange", listen);
    window.addEventListener("pagehide", () => source?.close());
    listen();
  }

  const heard = document.getElementById("heard");
  if (heard) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.("[data-seek]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      heard.currentTime = Number(link.dataset.seek);
      heard.play().catch(() => {});
    });
  }
})();
