// Small comforts. Every page works without them.
"use strict";
(() => {
  const texts = document.body.dataset;
  const said = document.getElementById("said");
  const say = (text) => { if (said) { said.textContent = ""; setTimeout(() => { said.textContent = text; }, 50); } };

  // A form that was refused: the reason is read first.
  document.querySelector("[data-focus]")?.focus();

  // Copy buttons, also those that come later.
  if (navigator.clipboard) {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
    document.addEventListener("click", async (event) => {
      const button = event.target.closest?.("[data-copy]");
      if (!button) return;
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        const label = button.dataset.label ??= button.textContent;
        button.textContent = texts.copied;
        say(texts.copied);
        setTimeout(() => { button.textContent = label; }, 2000);
      } catch {
        say(texts.copyFailed);
      }
    });
  }

  // Times are written in UTC; hovering tells the local one.
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = `${texts.local} ${at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" })}`;
    }
  }

  // A form is sent once. Disabled after the browser has collected the values, so that the button's own value goes along.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    const buttons = event.target.querySelectorAll("button[type=submit]");
    setTimeout(() => { for (const button of buttons) button.disabled = true; }, 0);
  });
  // Back from the browser's cache: usable again.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) for (const button of document.querySelectorAll("button[type=submit]")) button.disabled = false;
  });

  // Pages on which something is under way renew themselves, ever slower, and not while nobody looks.
  const waiting = document.querySelector("[data-refresh]");
  const key = "refreshed " + location.pathname;
  const store = (value) => { try { value === null ? sessionStorage.removeItem(key) : sessionStorage.setItem(key, value); } catch { /* private mode */ } };
  if (waiting) {
    let count = 0;
    try { count = Number(sessionStorage.getItem(key)) || 0; } catch { /* private mode */ }
    store(String(count + 1));
    const again = () => { document.hidden ? document.addEventListener("visibilitychange", again, { once: true }) : location.reload(); };
    setTimeout(again, Math.min(30, Number(waiting.dataset.refresh) * (1 + Math.floor(count / 10))) * 1000);
  } else {
    store(null);
  }
})();
