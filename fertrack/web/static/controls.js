// The buttons: record, pause, stop.
import { announce } from "./announce.js";
import { ask } from "./ask.js";

const record = document.getElementById("record");
const pause = document.getElementById("pause");
const stop = document.getElementById("stop");
const sure = document.getElementById("sure");
const path = document.getElementById("recording");
const problem = document.getElementById("problem");

let recording = null;
const underway = new Map(); // what each button is doing, so that a second press does not ask for it twice

function settled(button) {
  underway.delete(button);
  button.removeAttribute("aria-busy");
}

async function attempt(button, action) {
  if (underway.has(button)) return;
  const mine = Symbol("attempt");
  underway.set(button, mine);
  button.setAttribute("aria-busy", "true");
  try {
    await action();
    problem.textContent = "";
  } catch (error) {
    problem.textContent = error.message;
  } finally {
    if (underway.get(button) === mine) settled(button);
  }
}

export function showRecording(now) {
  if (now === recording) return;
  announce(now ? `Recording to ${now}` : `Recording finished: ${recording}`);
  path.textContent = now ? `Recording to ${now}` : `Recorded: ${recording}`;
  recording = now;
  settled(record); // it has happened, whether or not the answer has come: from now on the button means something else
  record.classList.toggle("on", now !== null);
  record.querySelector(".sign").textContent = now ? "■" : "●";
  record.querySelector(".what").textContent = now ? "Stop recording" : "Start recording";
}

function typing(target) {
  return target.closest("input, textarea, select, dialog") !== null;
}

export function setUpControls(picture) {
  record.addEventListener("click", () =>
    attempt(record, () => ask(recording ? "/recording/stop" : "/recording/start")));

  pause.addEventListener("click", () => {
    const on = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(on));
    picture.pause(on);
  });

  stop.addEventListener("click", () => sure.showModal());
  sure.addEventListener("close", () => {
    if (sure.returnValue !== "stop") {
      const focused = document.activeElement;
      if (focused === document.body || sure.contains(focused)) stop.focus(); // opened by q: nothing had the focus before
      return;
    }
    const label = stop.textContent;
    stop.disabled = true;
    stop.textContent = "Stopping and saving …";
    announce(stop.textContent);
    attempt(stop, async () => {
      try {
        await ask("/stop");
      } catch (error) {
        stop.disabled = false;
        stop.textContent = label;
        throw error;
      }
    });
  });
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
    if (event.key !== "q" || !plain || stop.disabled || typing(event.target)) return;
    event.preventDefault();
    sure.returnValue = "";
    sure.showModal();
  });
}
