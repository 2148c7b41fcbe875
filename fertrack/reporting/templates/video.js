// The video beside the charts: a click on a time axis seeks, and a cursor on every time axis follows the video.
(() => {
  const film = document.getElementById("film");
  const note = document.getElementById("film-note");
  const startsMs = Number(film.dataset.startsMs);
  const MIDNIGHT_MS = 946684800000;
  const charts = [...document.querySelectorAll(".chart[data-time-axis]")];

  const inside = document.getElementById("film-data");
  if (inside) {
    const text = atob(inside.textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    inside.remove();
    film.src = URL.createObjectURL(new Blob([bytes], { type: film.dataset.mime }));
  }
  function complain() {
    note.textContent = inside
      ? "This browser cannot play the video that is in this report; the charts work without it."
      : `The video ${film.dataset.name} is not where this report expects it, or this browser cannot play it; the charts work without it.`;
    note.classList.add("serious");
  }
  film.addEventListener("error", complain);
  if (film.error) complain();  // it may have failed before this script ran

  function seek(runMs) {
    film.currentTime = Math.max(0, (runMs - startsMs) / 1000);
    follow();
  }

  function follow() {
    const runMs = film.currentTime * 1000 + startsMs;
    for (const chart of charts) {
      const axis = chart._fullLayout?.xaxis;
      if (!axis) continue;
      let cursor = chart.querySelector(".cursor");
      if (!cursor) {
        cursor = document.createElement("div");
        cursor.className = "cursor";
        chart.append(cursor);
      }
      const x = axis.l2p(runMs + MIDNIGHT_MS);
      cursor.hidden = !(x >= 0 && x <= axis._length);
      cursor.style.transform = `translateX(${axis._offset + x}px)`;
      cursor.style.top = `${chart._fullLayout.margin.t}px`;
      cursor.style.bottom = `${chart._fullLayout.margin.b}px`;
    }
  }

  let frame = 0;
  function run() {
    follow();
    frame = film.paused || film.ended ? 0 : requestAnimationFrame(run);
  }
  film.addEventListener("play", () => { if (!frame) frame = requestAnimationFrame(run); });
  for (const name of ["seeked", "timeupdate", "loadedmetadata", "pause"]) film.addEventListener(name, follow);
  addEventListener("resize", () => setTimeout(follow, 300));

  for (const chart of charts) {
    let pressed = null;
    chart.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; }, true);
    chart.addEventListener("click", (event) => {
      const axis = chart._fullLayout?.xaxis;
      if (!axis || event.target.closest(".modebar")) return;
      if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 5) return; // that was a zoom
      const x = event.clientX - chart.getBoundingClientRect().left - axis._offset;
      if (x >= 0 && x <= axis._length) seek(axis.p2l(x) - MIDNIGHT_MS);
    }, true);
    chart.on?.("plotly_relayout", follow);
  }
  document.addEventListener("charts-drawn", () => {
    for (const chart of charts) chart.on("plotly_afterplot", follow);
    follow();
  });
  for (const button of document.querySelectorAll("button[data-seek-ms]")) {
    button.addEventListener("click", () => seek(Number(button.dataset.seekMs)));
  }
  const keep = document.getElementById("keep-in-view");
  const panel = document.getElementById("video");
  keep.addEventListener("change", () => panel.classList.toggle("sticky", keep.checked));
})();
