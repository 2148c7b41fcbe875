// After the end: what was saved, where, and what to do with it.
import { announce } from "./announce.js";

const byId = (id) => document.getElementById(id);

function row(list, term, value) {
  const group = document.createElement("div");
  const name = document.createElement("dt");
  const what = document.createElement("dd");
  name.textContent = term;
  what.textContent = value;
  group.append(name, what);
  list.append(group);
}

function length(seconds) {
  const whole = Math.round(seconds ?? 0);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function headline({ error, finished }) {
  if (error) return "The session ended with an error";
  return finished ? "The session has ended" : "The session is being ended";
}

function explanation({ error, finished, run, recordings }) {
  if (error) return `${error}${finished && run !== null ? " What came before was saved." : ""}`;
  if (!finished) return "fertrack was stopped and is still saving. Its terminal says what was saved.";
  if (run === null && recordings.length === 0) return "Nothing was to be saved, and nothing was.";
  return "Everything was saved.";
}

function commands({ run = null, database }) {
  if (run === null) return [];
  const from = database && !database.includes("://") ? ` --db "${database}"` : "";
  return ["report", "timeline", "person list"].map((command) => `fertrack ${command} ${run}${from}`);
}

export function sayGoodbye(farewell) {
  const { run = null, database, recordings = [], notes = [], frames, dropped, duration_s: elapsed } = farewell;
  byId("goodbye-title").textContent = headline(farewell);
  byId("goodbye-why").textContent = explanation(farewell);
  const files = byId("goodbye-files");
  if (run !== null) row(files, "Run", `${run}${database ? ` in ${database}` : ""}`);
  for (const recording of recordings) row(files, "Recording", recording);
  if (farewell.finished) {
    row(files, "Length", length(elapsed));
    row(files, "Frames", `${frames} captured, ${dropped} of them not analysed to stay current`);
  }
  for (const note of notes) byId("goodbye-notes").append(Object.assign(document.createElement("li"), { textContent: note }));
  for (const command of commands(farewell)) {
    const line = document.createElement("li");
    line.append(Object.assign(document.createElement("code"), { textContent: command }));
    byId("goodbye-next").append(line);
  }

  byId("badge").textContent = "Expression estimation is off";
  document.title = `Ended – ${document.title}`;
  byId("sure").close();
  byId("session").hidden = true;
  byId("goodbye").hidden = false;
  byId("goodbye-title").focus();
  announce(`${byId("goodbye-title").textContent}. ${byId("goodbye-why").textContent}`);
}
