// Wires the page together: numbers come in as server-sent events, pictures are fetched, buttons post.
import { announce } from "./announce.js";
import { setUpControls, showRecording } from "./controls.js";
import { showNumbers } from "./figures.js";
import { sayGoodbye } from "./goodbye.js";
import { showPeople } from "./people.js";
import { watchPicture } from "./picture.js";

const SILENT_MS = 3000; // without numbers for longer than this, the program does not answer

const banner = document.getElementById("banner");
const picture = watchPicture();
setUpControls(picture);

let heard = performance.now();
let shown = "";
let over = ""; // what to say when what is shown is over

function showBanner(text, isBad, whenOver = "Connected.") {
  if (text === shown) return;
  shown = text;
  banner.textContent = text;
  banner.classList.toggle("bad", isBad);
  banner.hidden = text === "";
  announce(text || over);
  over = whenOver;
}

function connection({ state, attempt, message }) {
  const why = message ? `: ${message}` : "";
  if (state === "connecting") return `Connecting …${why}`;
  if (state === "reconnecting") return `Reconnecting …${attempt > 0 ? ` attempt ${attempt}` : ""}${why}`;
  if (state === "ended") return `The source has ended${why}. Saving …`;
  return "";
}

const events = new EventSource("/numbers");

events.addEventListener("numbers", (event) => {
  heard = performance.now();
  const numbers = JSON.parse(event.data);
  document.getElementById("source").textContent = numbers.source;
  const lost = connection(numbers.status);
  showBanner(lost || numbers.notice, false, lost ? "Connected." : "Results come often enough again.");
  showRecording(numbers.recording);
  showNumbers(numbers);
  showPeople(numbers.persons);
});

const listening = setInterval(() => {
  if (performance.now() - heard < SILENT_MS) return;
  showBanner("fertrack does not answer. If it was stopped, its terminal says what was saved.", true);
  picture.lost();
}, 500);

events.addEventListener("ended", (event) => {
  events.close();
  clearInterval(listening);
  picture.end();
  sayGoodbye(JSON.parse(event.data));
});
