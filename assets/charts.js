// Draws the charts of analytics from the tables beside them: the same numbers, and nothing but them. Without this script
// the tables stand.
"use strict";
(() => {
  const Chart = window.Chart;
  if (!Chart) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const language = document.documentElement.lang;
  const charts = [];
  const FILLS = 8;
  const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3], [10, 2]];
  const POINTS = ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot", "dash"];

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (place) => style(`--plot-${(place % FILLS) + 1}`);

  // Series differ by pattern as well as by colour.
  const pattern = (place) => {
    const size = 8;
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    pen.fillStyle = colour(place);
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = pen.fillStyle = style("--surface");
    pen.lineWidth = 1.5;
    const line = (...points) => { pen.beginPath(); pen.moveTo(points[0], points[1]); pen.lineTo(points[2], points[3]); pen.stroke(); };
    switch (place % FILLS) {
      case 0: break;
      case 1: line(0, size, size, 0); line(-1, 1, 1, -1); line(size - 1, size + 1, size + 1, size - 1); break;
      case 2: pen.fillRect(2, 2, 2, 2); pen.fillRect(6, 6, 2, 2); break;
      case 3: line(0, 4, size, 4); break;
      case 4: line(0, 0, size, size); line(-1, size - 1, 1, size + 1); line(size - 1, -1, size + 1, 1); break;
      case 5: line(4, 0, 4, size); break;
      case 6: line(0, 4, size, 4); line(4, 0, 4, size); break;
      default: pen.fillRect(1, 1, 3, 3);
    }
    return pen.createPattern(tile, "repeat");
  };

  const UNITS = { percent: " %", seconds: " s" };
  const written = (value, format) => {
    const digits = format === "money" ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumFractionDigits: 2 };
    return new Intl.NumberFormat(language, digits).format(value) + (UNITS[format] ?? "");
  };

  const read = (figure) => {
    const heads = [...figure.querySelectorAll("thead th")].slice(1);
    const lines = [...figure.querySelectorAll("tbody tr")];
    const labels = lines.map((line) => line.querySelector("th").textContent.trim());
    const series = heads.map((head, place) => ({
      name: head.textContent.trim(), format: head.dataset.format, charted: "charted" in head.dataset,
      values: lines.map((line) => { const value = line.querySelectorAll("td")[place].dataset.value; return value ? Number(value) : null; }),
    }));
    return { labels, series: series.filter((one) => one.charted) };
  };

  const options = (kind, series, named) => {
    const [text, grid] = [style("--text"), style("--line-soft")];
    const across = kind === "across";
    const format = series[0].format;
    const ticks = { color: text, font: { family: style("--font"), size: 12 } };
    const values = {
      stacked: kind === "stacked", beginAtZero: true, grid: { color: grid }, border: { display: false },
      ticks: { ...ticks, callback: (value) => new Intl.NumberFormat(language, format === "seconds" ? {} : { notation: "compact" }).format(value) + (UNITS[format] ?? ""), ...(format === "number" && { precision: 0 }) },
    };
    if (format === "percent") values.suggestedMax = 100;
    const names = { stacked: kind === "stacked", grid: { display: false }, border: { color: style("--edge") }, ticks: { ...ticks, autoSkip: !across, maxRotation: across ? 0 : 50 } };
    if (across) {
      names.ticks.callback = function (value) { const label = String(this.getLabelForValue(value)); return label.length > 28 ? `${label.slice(0, 27)}…` : label; };
    }
    return {
      animation: calm.matches ? false : { duration: 250 }, responsive: true, maintainAspectRatio: false,
      indexAxis: across ? "y" : "x", interaction: { mode: "index", axis: across ? "y" : "x", intersect: false },
      scales: across ? { x: values, y: names } : { x: names, y: values },
      plugins: {
        legend: { display: series.length > 1 || kind === "stacked", position: "bottom", align: "start", labels: { color: text, font: { family: style("--font"), size: 13 }, usePointStyle: kind === "lines", boxWidth: 18, boxHeight: 12 } },
        title: { display: named, text: series[0].name, align: "start", color: text, font: { family: style("--font"), size: 14, weight: 600 } },
        tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${item.raw === null ? "–" : written(item.raw, item.dataset.format)}` } },
      },
    };
  };

  const draw = (area, title, kind, labels, series, first, named) => {
    const frame = document.createElement("div");
    frame.className = "plot-frame";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}. ${series.map((one) => one.name).join(", ")}. ${labels[0]} – ${labels.at(-1)}.`);
    frame.append(canvas);
    area.append(frame);
    if (kind === "across") frame.style.height = `${Math.max(8, labels.length * 1.6 + 4)}rem`;
    const lines = kind === "lines";
    const dressed = () => series.map((one, place) => {
      const at = first + place;
      return {
        label: one.name, data: one.values, format: one.format, borderColor: colour(at), borderWidth: lines ? 2 : 1,
        backgroundColor: lines ? colour(at) : pattern(at), maxBarThickness: 48,
        ...(lines && { borderDash: DASHES[at % FILLS], pointStyle: POINTS[at % FILLS], pointRadius: labels.length > 40 ? 0 : 4, spanGaps: false }),
      };
    });
    const chart = new Chart(canvas, { type: lines ? "line" : "bar", data: { labels, datasets: dressed() }, options: options(kind, series, named) });
    charts.push(() => { chart.data.datasets = dressed(); chart.options = options(kind, series, named); chart.update("none"); });
  };

  for (const figure of document.querySelectorAll("[data-plot]")) {
    const area = figure.querySelector(".plot-area");
    if (!area) continue;
    const { labels, series } = read(figure);
    if (labels.length === 0 || series.length === 0) continue;
    const title = figure.querySelector("h2").textContent.trim();
    const kind = figure.dataset.plot;
    area.hidden = false;
    if (kind === "apart") {
      area.classList.add("plot-apart");
      series.forEach((one, place) => draw(area, title, "bars", labels, [one], place, true));
    } else {
      draw(area, title, kind, labels, series, 0, false);
    }
    // The table stays for whoever wants the numbers, and for print.
    const fold = figure.querySelector(".plot-fold");
    const button = fold.querySelector("button");
    fold.hidden = false;
    figure.classList.add("folded");
    button.addEventListener("click", () => {
      const folded = figure.classList.toggle("folded");
      button.setAttribute("aria-expanded", String(!folded));
      button.firstChild.data = folded ? button.dataset.show : button.dataset.hide;
    });
  }
  dark.addEventListener("change", () => charts.forEach((again) => again()));
})();
