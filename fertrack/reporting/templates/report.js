"use strict";
(() => {
  const { themes, figures } = JSON.parse(document.getElementById("report-data").textContent);
  const charts = [...document.querySelectorAll(".chart[data-figure]")];
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

  function paintTrace(trace, colours, page) {
    const { expression, kind } = trace.meta;
    if (kind === "cut") return { ...trace, line: { color: page.muted, width: 1, dash: "dot" } };
    const colour = colours[expression];
    if (kind === "line") {
      const width = expression === "neutral" ? 1.2 : 1.8;
      return { ...trace, line: { color: colour, width }, marker: { color: colour, size: 5 }, visible: !hidden.has(expression) };
    }
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
    const painted = {
      ...layout,
      width: printing ? PRINT_PX : undefined,
      height: printing && element.dataset.figure !== "overview" ? 230 : layout.height,
      autosize: !printing,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour.text, family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: colour.surface, bordercolor: colour.rule, font: { color: colour.text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour.muted, activecolor: colour.accent },
      dragmode: touch.matches ? false : "zoom",
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      painted[name] = { ...layout[name], ...axis };
      if (name.startsWith("x")) {
        painted[name].title = { ...layout[name].title, font: { color: colour.muted, size: 12 } };
        painted[name].nticks = element.clientWidth < 480 ? 5 : 12;
        if (zoom) painted[name].range = zoom.slice();
      }
    }
    return Plotly.react(element, data.map((trace) => paintTrace(trace, theme.expressions, colour)), painted, {
      ...CONFIG,
      displayModeBar: element.dataset.figure === "overview" ? false : CONFIG.displayModeBar,
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
      for (const element of charts) {
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
      for (const element of charts) draw(element);
    });
    box.checked = true;
  }
  addEventListener("beforeprint", () => { printing = true; for (const element of charts) draw(element); });
  addEventListener("afterprint", () => { printing = false; for (const element of charts) draw(element); });
  dark.addEventListener("change", drawAll);

  drawAll().then(() => {
    for (const element of charts) element.on("plotly_relayout", follow);
    document.documentElement.dataset.charts = "drawn";
  });
})();
