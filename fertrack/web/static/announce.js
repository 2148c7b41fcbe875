// Says what happened to people who listen to the page, when they have a moment. Estimates are not announced: they change
// several times a second, and are there to be read on every card.

const said = document.getElementById("said");

export function announce(text) {
  said.textContent = text;
}
