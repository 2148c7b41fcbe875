// A card per person, kept and changed in place so that keyboard focus and typing are never lost.
import { announce } from "./announce.js";
import { ask } from "./ask.js";
import { describeStrip, drawStrip, EXPRESSIONS } from "./strip.js";

const list = document.getElementById("cards");
const problem = document.getElementById("problem");
const nobody = document.getElementById("nobody");
const cardTemplate = document.getElementById("card");
const barTemplate = document.getElementById("bar");

const AWAY_S = 2; // a face that is lost for a moment does not change places

const cards = new Map();
const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)} %`);
const colour = (label) => `var(--x-${label})`;

function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function paint(swatch, label) {
  swatch.style.setProperty("--c", colour(label));
  swatch.classList.toggle("hatched", label === "uncertain");
}

function setUpNaming(root, card) {
  const button = root.querySelector(".rename");
  const form = root.querySelector(".naming");
  const name = root.querySelector(".name");
  const input = form.querySelector("input");

  function show(naming) {
    form.hidden = !naming;
    button.hidden = naming;
    name.hidden = naming;
    input.setCustomValidity("");
    if (naming) {
      input.value = card.name;
      input.focus();
      input.select();
    } else {
      button.focus();
    }
  }

  button.addEventListener("click", () => show(true));
  form.querySelector(".cancel").addEventListener("click", () => show(false));
  input.addEventListener("input", () => input.setCustomValidity(""));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(false);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    try {
      await ask("/rename", { person: card.person, name: wanted });
    } catch (error) {
      problem.textContent = error.message; // where every refusal is said; the bubble goes away by itself
      input.setCustomValidity(error.message);
      input.reportValidity();
      return;
    }
    problem.textContent = "";
    card.name = wanted;
    put(name, wanted);
    announce(`${card.title} is now called ${wanted}`);
    show(false);
  });
}

function newCard(person) {
  const root = cardTemplate.content.firstElementChild.cloneNode(true);
  const bars = root.querySelector(".bars");
  const rows = [...EXPRESSIONS, "uncertain"].map((label) => {
    const row = barTemplate.content.firstElementChild.cloneNode(true);
    row.querySelector(".word").textContent = label;
    paint(row.querySelector(".swatch"), label);
    row.querySelector(".fill").style.setProperty("--c", colour(label));
    row.classList.toggle("undecided", label === "uncertain");
    bars.append(row);
    return { row, fill: row.querySelector(".fill"), percent: row.querySelector(".percent") };
  });
  const card = { root, rows, person: person.person, name: "", title: "" };
  setUpNaming(root, card);
  list.append(root);
  return card;
}

function estimate(person) {
  if (!person.visible) return ["not in the frame", `last seen ${Math.round(person.unseen_s)} s ago`];
  if (person.certain) return [person.label, percent(person.probability)];
  const [likeliest, share] = Object.entries(person.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  return ["uncertain", `nearest: ${likeliest} ${percent(share)}`];
}

function fillCard(card, person) {
  const { root } = card;
  card.person = person.person;
  card.name = person.name;
  card.title = person.name;
  root.style.setProperty("--who", person.colour); // that of the box in the picture
  put(root.querySelector(".name"), card.title);
  root.querySelector(".rename").setAttribute("aria-label", `Rename ${card.title}`);
  root.classList.toggle("away", !person.visible);

  const [label, detail] = estimate(person);
  put(root.querySelector(".label"), label);
  put(root.querySelector(".detail"), detail);
  const swatch = root.querySelector(".estimate .swatch");
  swatch.hidden = !person.visible;
  paint(swatch, person.certain ? person.label : "uncertain");

  EXPRESSIONS.forEach((expression, index) => {
    const { row, fill, percent: place } = card.rows[index];
    const share = person.probabilities[expression];
    fill.style.width = `${100 * (share ?? 0)}%`;
    put(place, percent(share));
    row.classList.toggle("current", person.visible && person.certain && person.label === expression);
  });
  const undecided = card.rows[EXPRESSIONS.length];
  undecided.row.classList.toggle("current", person.visible && !person.certain);
  put(undecided.percent, "");

  const canvas = root.querySelector(".strip");
  drawStrip(canvas, person.strip);
  const described = describeStrip(person.strip);
  if (canvas.getAttribute("aria-label") !== described) canvas.setAttribute("aria-label", described);
}

// Those who are there first, each group in the order given. The card with the focus stays where it is in the document,
// as it would lose it: the others are put around it.
function arrange(persons) {
  const away = (person) => !person.visible && person.unseen_s > AWAY_S;
  const wanted = [...persons].sort((a, b) => away(a) - away(b)).map((person) => cards.get(person.person).root);
  if (wanted.every((root, index) => list.children[index] === root)) return;
  const fixed = wanted.findIndex((root) => root.contains(document.activeElement));
  wanted.forEach((root, index) => {
    if (index !== fixed) list.insertBefore(root, index < fixed ? wanted[fixed] : null);
  });
}

export function showPeople(persons) {
  const there = new Set(persons.map((person) => person.person));
  for (const [key, card] of cards) {
    if (there.has(key)) continue;
    card.root.remove();
    cards.delete(key);
  }
  for (const person of persons) {
    if (!cards.has(person.person)) cards.set(person.person, newCard(person));
    fillCard(cards.get(person.person), person);
  }
  arrange(persons);
  nobody.hidden = persons.length > 0;
}
