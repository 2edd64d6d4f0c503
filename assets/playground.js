// The playground: sends a form's call to the product, shows the answer as it comes, then what it used and costs.
// All texts come from the page.
"use strict";
(() => {
  const root = document.getElementById("playground");
  const texts = root.dataset;
  const language = document.documentElement.lang;
  const said = document.getElementById("said");
  const say = (text) => { if (said) { said.textContent = ""; setTimeout(() => { said.textContent = text; }, 50); } };
  const make = (name, content, attributes = {}) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (content !== undefined) element.append(...[content].flat());
    return element;
  };
  const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const number = (value, digits = 0) => Number(value).toLocaleString(language, { maximumFractionDigits: digits });
  const seconds = (ms) => (ms / 1000).toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const copyable = (button, text) => { button.dataset.copy = text; button.hidden = !navigator.clipboard; };

  // ---- Calls --------------------------------------------------------------------------------------------------------

  /** A call that did not come to its end as it should. */
  class Failure extends Error {
    constructor(title, more = {}) { super(title); Object.assign(this, more); }
  }

  const titleOf = (code) => [...document.getElementById("problems").content.children].find((one) => one.dataset.of === code)?.textContent;

  /** Problem documents of ours, and errors in OpenAI's shape. */
  function failure(body, status) {
    if (status === 401) return new Failure(texts.signedOut, { again: true });
    const error = body?.error ?? body ?? {};
    const detail = [error.message ?? error.title, error.detail].filter(Boolean).join(" ");
    const code = error.code ?? (status ? String(status) : "");
    return new Failure(titleOf(code) ?? texts.refused, { code, detail });
  }

  /** One call: what the answer is, and when what arrived. */
  async function send(path, init, call) {
    call.began = performance.now();
    let answer;
    try {
      answer = await fetch(`${texts.address}/${path}`, {
        method: "POST", ...init, signal: call.abort.signal, headers: { "x-csrf-token": texts.csrf, ...init.headers },
      });
    } catch (error) {
      throw error.name === "AbortError" ? error : new Failure(texts.unreachable, { detail: error.message });
    }
    call.id = answer.headers.get("x-request-id");
    if (!answer.ok) throw failure(await answer.json().catch(() => null), answer.status);
    return answer;
  }

  /** The rest of an answer, whose connection may break. */
  async function rest(read) {
    try {
      return await read();
    } catch (error) {
      throw error.name === "AbortError" || error instanceof Failure ? error : new Failure(texts.broken, { detail: error.message });
    }
  }

  /** The data of a stream of events, one after the other. */
  async function* events(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const parts = held.split(/\r?\n\r?\n/);
      held = parts.pop();
      for (const part of parts) {
        const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length > 0) yield data.join("\n");
      }
    }
  }

  // ---- What is shown below a result ---------------------------------------------------------------------------------

  function receipt(call) {
    const element = clone("receipt");
    const [used, price, took] = ["used", "price", "took"].map((name) => element.querySelector(`[data-${name}]`));
    const total = performance.now() - call.began;
    took.textContent = call.first === undefined
      ? fill(texts.time, { s: seconds(total) })
      : fill(texts.timeFirst, { s: seconds(total), first: seconds(call.first - call.began) });
    if (call.id) {
      element.querySelector("[data-id]").textContent = call.id;
      copyable(element.querySelector("[data-copy]"), call.id);
    } else {
      element.querySelector("[data-id-row]").remove();
    }
    used.textContent = price.textContent = texts.looking;
    bill(call, used, price);
    return element;
  }

  /** What a call used and costs. A stopped one is brought to its end by the product, which takes a while. */
  async function bill(call, used, price) {
    const parts = call.stopped ? [1, 2, 4, 8, 15, 30] : [0, 0.5, 2];
    let known = null;
    for (const wait of call.id ? parts : []) {
      await pause(wait * 1000);
      known = await fetch(`${texts.address}/price?request=${encodeURIComponent(call.id)}`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
      if (known?.recorded) break;
    }
    if (!known?.recorded) {
      used.textContent = price.textContent = known && !call.stopped ? texts.nothing : texts.unknown;
      return;
    }
    used.replaceChildren(make("ul", known.used.map(({ part, amount }) => {
      const shown = part === "audio_ms" ? number(amount / 1000, 3) : number(amount);
      return make("li", fill(root.getAttribute(`data-part-${part}`) ?? "{n}", { n: shown }));
    }), { class: "plain" }));
    price.replaceChildren(make("strong", fill(texts.listed, { price: known.price })));
  }

  function complaint(error, call) {
    const element = clone("failure");
    element.querySelector("[data-title]").textContent = error.message;
    const detail = element.querySelector("[data-detail]");
    error.detail ? detail.textContent = error.detail : detail.remove();
    if (error.again) {
      const again = element.querySelector("[data-again]");
      again.hidden = false;
      again.firstElementChild.href = texts.signIn;
    }
    element.querySelector("[data-code]").textContent = [error.code, call.id].filter(Boolean).join(" · ");
    return element;
  }

  // ---- Code samples ---------------------------------------------------------------------------------------------------

  const literal = (value) => JSON.stringify(value);
  const inShell = (text) => text.replaceAll("'", "'\\''");
  const STYLES = {
    json: (fields) => fields.map(([name, value]) => `"${name}": ${literal(value)}`).join(", "),
    form: (fields) => fields.map(([name, value]) => ` \\\n  -F '${name}=${inShell(String(value))}'`).join(""),
    python: (fields) => fields.map(([name, value]) => `\n    ${name}=${literal(value)},`).join(""),
    node: (fields) => fields.map(([name, value]) => `\n  ${name}: ${literal(value)},`).join(""),
  };

  /** Puts a call into the samples of its tool. */
  function sample(section, fields, { file = "", query = "", format = "", other = false } = {}) {
    for (const block of section.querySelectorAll("pre[data-form]")) {
      const [form, style] = other ? [block.dataset.otherForm, block.dataset.otherStyle] : [block.dataset.form, block.dataset.style];
      const shell = form.startsWith("curl");
      const written = STYLES[style](Object.entries(fields));
      const values = {
        "«fields»": shell && style === "json" ? inShell(written) : written,
        "«query»": query, "«file»": literal(file), "«file!»": shell ? inShell(file) : file, "«format!»": format,
      };
      const text = form.replace(/«[\w!]+»/g, (mark) => values[mark] ?? mark);
      block.textContent = text;
      copyable(block.parentElement.querySelector("[data-copy]"), text);
    }
  }

  // ---- The tools ------------------------------------------------------------------------------------------------------

  const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  let conversation = [];

  async function chat({ form, result, section, call }) {
    const [text, system, most] = [form.elements.text.value.trim(), form.elements.system.value.trim(), form.elements.most.value];
    if (!text) throw new Failure(texts.write, { field: form.elements.text });
    const messages = [...conversation, { role: "user", content: text }];
    const fields = { model: form.elements.model.value, messages: system ? [{ role: "system", content: system }, ...messages] : messages };
    if (most) fields.max_completion_tokens = Number(most);
    sample(section, fields);
    const mine = make("div", [make("h3", texts.you), make("p", text, { class: "turn-text" })], { class: "turn turn-you" });
    const body = make("p", "", { class: "turn-text" });
    const turn = make("div", [make("h3", fields.model), body], { class: "turn" });
    result.append(mine, turn);
    form.elements.text.value = "";
    let ended = false;
    let reason = null;
    try {
      const answer = await send("chat", json({ ...fields, stream: true }), call);
      await rest(async () => {
        for await (const data of events(answer)) {
          if (data === "[DONE]") { ended = true; continue; }
          const piece = JSON.parse(data);
          if (piece.error) throw failure(piece);
          const choice = piece.choices?.[0];
          reason = choice?.finish_reason ?? reason;
          if (!choice?.delta?.content) continue;
          call.first ??= performance.now();
          body.append(choice.delta.content);
        }
        if (!ended) throw new Failure(texts.broken);
      });
    } catch (error) {
      call.stopped = error.name === "AbortError";
      if (call.stopped && body.textContent) {
        conversation = [...messages, { role: "assistant", content: body.textContent }];
      } else {
        // As if it had not been said: it can be sent again.
        if (!form.elements.text.value) form.elements.text.value = text;
        mine.classList.add("turn-lost");
      }
      if (!body.textContent) body.remove();
      turn.append(...(call.stopped ? [make("p", `${texts.stopped} ${texts.stoppedLater}`, { class: "hint" })] : [complaint(error, call)]));
      if (call.stopped && call.id) turn.append(receipt(call));
      return call.stopped;
    }
    conversation = [...messages, { role: "assistant", content: body.textContent }];
    if (!body.textContent) body.textContent = texts.nothingSaid;
    const cut = { length: texts.length, content_filter: texts.filtered }[reason];
    if (cut) turn.append(make("p", cut, { class: "hint" }));
    turn.append(receipt(call));
    form.querySelector("[data-anew]").hidden = false;
    return true;
  }

  async function transcribe({ form, section, call }) {
    const file = form.elements.file.files[0];
    if (!file) throw new Failure(texts.chooseFile, { field: form.elements.file });
    const fields = { model: form.elements.model.value, response_format: form.elements.response_format.value };
    if (form.elements.language.value.trim()) fields.language = form.elements.language.value.trim();
    sample(section, fields, { file: file.name });
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    body.append("file", file);
    const answer = await send("transcribe", { body }, call);
    if (!fields.response_format.endsWith("json")) return [make("pre", await rest(() => answer.text()), { tabindex: "0" })];
    const heard = await rest(() => answer.json());
    const at = (s) => new Date(Math.round((s ?? 0) * 1000)).toISOString().slice(11, 21);
    const lines = heard.segments?.map((one) => make("li", [make("span", `${at(one.start)} – ${at(one.end)}`, { class: "hint" }), one.text]));
    return [lines?.length ? make("ol", lines, { class: "spoken" }) : make("p", heard.text || texts.nothingSaid, { class: "turn-text" })];
  }

  async function speak({ form, section, call }) {
    const fields = Object.fromEntries(["model", "voice", "response_format", "input"].map((name) => [name, form.elements[name].value.trim()]));
    sample(section, fields, { format: fields.response_format });
    const answer = await send("speak", json(fields), call);
    const address = keep(section, await rest(() => answer.blob()));
    const audio = make("audio", undefined, { controls: "", src: address });
    // Browsers may want another click first.
    audio.play().catch(() => {});
    return [audio, make("p", make("a", texts.download, { href: address, download: `speech.${fields.response_format}` }))];
  }

  async function analyze({ form, section, call }) {
    const [file, url, model] = [form.elements.file.files[0], form.elements.url.value.trim(), form.elements.model.value];
    if (Boolean(file) === Boolean(url)) throw new Failure(texts.chooseOne, { field: form.elements.file });
    const features = [...form.querySelectorAll("[name=features]:checked")].map((one) => one.value);
    if (features.length === 0) throw new Failure(texts.chooseFeature, { field: form.querySelector("[name=features]") });
    const fields = { model, features, image: { url } };
    const query = `${new URLSearchParams({ model })}&features=${features.join(",")}`;
    sample(section, fields, { file: file?.name, query, other: !file });
    const answer = file
      ? await send(`analyze?${query}`, { body: file, headers: { "content-type": file.type && !file.type.includes("json") ? file.type : "application/octet-stream" } }, call)
      : await send("analyze", json(fields), call);
    return seen(await rest(() => answer.json()), features, file ? keep(section, file) : null);
  }

  // ---- What was seen in an image ---------------------------------------------------------------------------------------

  const sure = (confidence) => (typeof confidence === "number" ? ` ${number(confidence * 100)} %` : "");

  function seen(found, features, address) {
    const places = [];
    const place = (kind, label, points) => { if (points.length > 1) places.push({ kind, label, points }); };
    const corners = ({ x, y, w, h } = {}) => (w && h ? [[x, y], [x + w, y], [x + w, y + h], [x, y + h]] : []);
    const lists = {
      caption: () => (found.captionResult?.text ? [[found.captionResult.text, found.captionResult.confidence]] : []),
      tags: () => (found.tagsResult?.values ?? []).map((one) => [one.name, one.confidence]),
      objects: () => (found.objectsResult?.values ?? []).map((one) => {
        const tag = one.tags?.[0] ?? {};
        place("object", tag.name ?? "", corners(one.boundingBox));
        return [tag.name ?? "", tag.confidence];
      }),
      people: () => (found.peopleResult?.values ?? []).map((one, at) => {
        const name = `${texts.person} ${at + 1}`;
        place("person", name, corners(one.boundingBox));
        return [name, one.confidence];
      }),
      read: () => (found.readResult?.blocks ?? []).flatMap((block) => block.lines ?? []).map((line) => {
        place("line", "", (line.boundingPolygon ?? []).map(({ x, y }) => [x, y]));
        return [line.text];
      }),
    };
    const facts = make("dl", features.map((feature) => {
      const items = lists[feature]().map(([text, confidence]) => make("li", [text, make("span", sure(confidence), { class: "muted" })]));
      const name = texts[`found${feature[0].toUpperCase()}${feature.slice(1)}`];
      return make("div", [make("dt", name), make("dd", items.length ? make("ul", items, { class: "plain" }) : texts.none)]);
    }), { class: "facts" });
    const { width, height } = found.metadata ?? {};
    const drawn = width && height && places.length > 0;
    if (!address && !drawn) return [facts];
    const figure = make("figure", [], { class: address ? "look" : "look look-empty" });
    if (address) figure.append(make("img", undefined, { src: address, alt: texts.picture }));
    if (drawn) figure.append(drawing(width, height, places, address !== null));
    return address ? [figure, facts] : [make("p", texts.elsewhere, { class: "hint" }), figure, facts];
  }

  function drawing(width, height, places, over) {
    const shape = (name, attributes, text) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text) element.textContent = text;
      return element;
    };
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, ...(over ? { "aria-hidden": "true" } : { role: "img", "aria-label": texts.picture }) });
    const size = Math.max(width, height) / 32;
    for (const { kind, label, points } of places) {
      svg.append(shape("polygon", { class: `place place-${kind}`, points: points.map((point) => point.join(",")).join(" ") }));
      // Objects are named at the top and people at the bottom: they are often the same place.
      const [x, top, bottom] = [points[0][0] + size / 4, Math.min(...points.map(([, y]) => y)), Math.max(...points.map(([, y]) => y))];
      const y = kind === "person" ? bottom - size / 3 : Math.max(top + size * 1.1, size);
      if (label) svg.append(shape("text", { class: "place-name", x, y, "font-size": size }, label));
    }
    return svg;
  }

  /** An address within this browser, until the tool's next result. */
  const kept = new Map();
  function keep(section, blob) {
    if (kept.has(section)) URL.revokeObjectURL(kept.get(section));
    kept.set(section, URL.createObjectURL(blob));
    return kept.get(section);
  }

  // ---- The forms -------------------------------------------------------------------------------------------------------

  const TOOLS = { chat, transcribe, speak, analyze };

  async function run(form, section, result) {
    const [button, stop, wrong] = [form.querySelector("[type=submit]"), form.querySelector("[data-stop]"), form.querySelector("[data-wrong]")];
    const call = { abort: new AbortController() };
    const halt = () => call.abort.abort();
    button.disabled = true;
    stop.hidden = false;
    stop.addEventListener("click", halt);
    wrong.hidden = true;
    result.setAttribute("aria-busy", "true");
    say(texts.sending);
    const tool = form.dataset.tool;
    const work = { form, section, result, call };
    try {
      if (tool === "chat") {
        if (await chat(work)) say(call.stopped ? texts.stopped : texts.done);
        return;
      }
      result.replaceChildren(make("p", texts.sending, { class: "muted" }));
      const shown = await TOOLS[tool](work);
      result.replaceChildren(...shown, receipt(call));
      say(texts.done);
    } catch (error) {
      if (error.name === "AbortError") {
        call.stopped = true;
        result.replaceChildren(make("p", `${texts.stopped} ${texts.stoppedLater}`), ...(call.id ? [receipt(call)] : []));
      } else if (error.field) {
        if (tool !== "chat") result.replaceChildren();
        wrong.querySelector("span").textContent = error.message;
        wrong.hidden = false;
        error.field.focus();
      } else {
        result.replaceChildren(complaint(error, call));
      }
    } finally {
      result.removeAttribute("aria-busy");
      stop.removeEventListener("click", halt);
      const stopping = document.activeElement === stop;
      stop.hidden = true;
      button.disabled = false;
      // The focus must not fall to the page's beginning with the button that had it.
      if (stopping) button.focus();
      else if (tool === "chat") form.elements.text.focus();
    }
  }

  for (const form of root.querySelectorAll("form[data-tool]")) {
    const section = form.closest("section");
    const result = section.querySelector("[data-result]");
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!form.querySelector("[type=submit]").disabled) run(form, section, result);
    });
    form.elements.text?.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
    });
    form.querySelector("[data-anew]")?.addEventListener("click", (event) => {
      conversation = [];
      result.replaceChildren();
      event.target.hidden = true;
      form.elements.text.focus();
    });
  }

  // One tool at a time.
  const tabs = [...document.querySelectorAll("[data-tab]")];
  if (tabs.length > 0) {
    const choose = () => {
      const wanted = location.hash.slice(1);
      const at = tabs.some((tab) => tab.dataset.tab === wanted) ? wanted : tabs[0].dataset.tab;
      for (const tab of tabs) {
        tab.dataset.tab === at ? tab.setAttribute("aria-current", "true") : tab.removeAttribute("aria-current");
        document.getElementById(tab.dataset.tab).hidden = tab.dataset.tab !== at;
      }
    };
    window.addEventListener("hashchange", choose);
    choose();
  }
})();
