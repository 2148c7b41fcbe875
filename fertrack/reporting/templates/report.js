"use strict";
(() => {
  const { themes, figures, arrays } = JSON.parse(document.getElementById("report-data").textContent);
  for (const trace of Object.values(figures).flatMap((figure) => figure.data)) {
    for (const key in trace) if (trace[key]?.array !== undefined) trace[key] = arrays[trace[key].array];
  }
  const charts = [...document.querySelectorAll(".chart[data-figure]")];
  const timed = charts.filter((element) => "timeAxis" in element.dataset);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const hidden = new Set();
  const PRINT_PX = 660;
  // An explicit list of buttons: Plotly's own would include one that uploads the chart.
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    displayModeBar: touch.matches ? false : "hover",
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };
  let printing = false;

  const faded = (colour, opacity) => colour + Math.round(255 * opacity).toString(16).padStart(2, "0");

  const steps = (color, width, dash) => ({ line: { color, width, dash, shape: "hv" } });

  // Paint of the traces that stand for no expression, by kind.
  const PLAIN = {
    cut: (page) => ({ line: { color: page.muted, width: 1, dash: "dot" } }),
    marker: (page) => ({ line: { color: page.accent, width: 1.5 } }),
    "marker-band": (page) => ({ fillcolor: faded(page.accent, 0.14), line: { width: 0 } }),
    "marker-name": (page) => ({ textfont: { color: page.text, size: 11 } }),
    corrected: (page) => ({ marker: { color: page.text, line: { color: page.surface, width: 1 } } }),
    presence: (page) => ({ marker: { color: page.accent, line: { width: 0 } } }),
    gap: (page) => ({ marker: { color: faded(page.muted, 0.55), line: { width: 0 } } }),
    right: (page) => ({ marker: { color: faded(page.accent, 0.55), line: { color: page.accent, width: 1 } } }),
    said: (page) => ({ marker: { color: page.text, size: 9, symbol: "line-ew-open", line: { width: 2 } } }),
    diagonal: (page) => ({ line: { color: page.muted, width: 1.5, dash: "dot" } }),
    count: (page) => ({ marker: { color: faded(page.muted, 0.6), line: { width: 0 } } }),
    possible: (page) => steps(page.accent, 2, "solid"),
    rate: (page) => steps(page.muted, 1.5, "dot"),
    median: (page) => steps(page.accent, 2, "solid"),
    p95: (page) => steps(page.muted, 1.5, "dot"),
  };

  function paintTrace(trace, colours, page) {
    const { expression, kind } = trace.meta;
    if (kind in PLAIN) return { ...trace, ...PLAIN[kind](page) };
    const colour = colours[expression];
    const visible = !hidden.has(expression);
    if (kind === "line") {
      const width = expression === "neutral" ? 1.2 : 1.8;
      return { ...trace, line: { color: colour, width }, marker: { color: colour, size: 5 }, visible };
    }
    if (kind === "spread") return { ...trace, line: { width: 0 }, fillcolor: faded(colour, 0.22), visible };
    if (kind === "seen") {
      const pattern = { shape: "/", size: 5, solidity: 0.3, fgcolor: colour, bgcolor: "rgba(0,0,0,0)", fillmode: "replace" };
      return { ...trace, marker: { color: colour, line: { color: colour, width: 0.5 }, pattern } };
    }
    return { ...trace, marker: { color: colour, line: { width: 0 } } };
  }

  function draw(element) {
    const { data, layout } = figures[element.dataset.figure];
    const theme = themes[dark.matches && !printing ? "dark" : "light"];
    const colour = theme.page;
    const axis = { gridcolor: colour.rule, linecolor: colour.rule, ticks: "", tickfont: { color: colour.muted } };
    const rows = "rows" in element.dataset;
    const isTimed = timed.includes(element);
    const painted = {
      ...layout,
      width: printing ? (isTimed ? PRINT_PX : 0.7 * PRINT_PX) : undefined,
      height: printing && isTimed && !rows ? Math.min(230, layout.height) : layout.height,
      autosize: !printing,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour.text, family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: colour.surface, bordercolor: colour.rule, font: { color: colour.text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour.muted, activecolor: colour.accent },
      dragmode: touch.matches || !isTimed ? false : "zoom",
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      painted[name] = { ...layout[name], ...axis };
      if (layout[name].title) painted[name].title = { ...layout[name].title, font: { color: colour.muted, size: 12 } };
      if (name.startsWith("x") && layout[name].type === "date") {
        painted[name].nticks = element.clientWidth < 480 ? 5 : 12;
        if (zoom) painted[name].range = zoom.slice();
      }
    }
    return Plotly.react(element, data.map((trace) => paintTrace(trace, theme.expressions, colour)), painted, {
      ...CONFIG,
      displayModeBar: rows || !isTimed ? false : CONFIG.displayModeBar,
    });
  }

  // Zooming one chart zooms all: the point of a common time axis.
  let zoom = null;
  let following = false;
  async function follow(change) {
    if (following || printing) return;
    const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
    const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
    const reset = change["xaxis.autorange"] || change["xaxis.showspikes"] !== undefined;
    if (from === undefined && !reset) return;
    zoom = from === undefined ? null : [from, to];
    following = true;
    try {
      for (const element of timed) {
        const range = zoom ?? figures[element.dataset.figure].layout.xaxis.range;
        await Plotly.relayout(element, { "xaxis.range": range.slice() });
      }
    } finally {
      following = false;
    }
  }

  async function drawAll() {
    for (const element of charts) {
      await draw(element);
      await new Promise((resume) => setTimeout(resume));  // lets the page scroll while many charts are drawn
    }
  }

  for (const box of document.querySelectorAll("input[data-expression]")) {
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](box.dataset.expression);
      for (const element of timed) draw(element);
    });
    box.checked = true;
  }
  // Nobody can open a table on paper: where the appendix is printed, so are they all; else those that are open.
  const opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    const all = document.getElementById("print-all")?.checked ?? true;
    for (const each of all ? document.querySelectorAll("details:not([open])") : []) { each.open = true; opened.push(each); }
    for (const element of charts) draw(element);
  });
  addEventListener("afterprint", () => {
    printing = false;
    for (const each of opened.splice(0)) each.open = false;
    for (const element of charts) draw(element);
  });
  dark.addEventListener("change", drawAll);

  drawAll().then(() => {
    for (const element of timed) element.on("plotly_relayout", follow);
    document.documentElement.dataset.charts = "drawn";
    document.dispatchEvent(new Event("charts-drawn"));
  });
})();
