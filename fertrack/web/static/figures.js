// The numbers under the picture.

const known = (value) => value !== null && value !== undefined;
const rounded = (value, digits = 0) => (known(value) ? value.toFixed(digits) : "–");
const count = (value) => (known(value) ? value.toLocaleString("en").replaceAll(",", "\u202f") : "–");

function put(id, text) {
  const place = document.getElementById(id);
  if (place.textContent !== text) place.textContent = text;
}

function budgetText({ detect_every: every, long_side: side, classify_hz: hz, fixed }) {
  const nth = every === 1 ? "every frame" : `1 frame in ${every}`;
  const size = side > 0 ? ` at ${side} px` : "";
  const rate = hz > 0 ? `new estimates ${rounded(hz, hz < 10 ? 1 : 0)} times a second` : "new estimates with each search";
  return `faces searched in ${nth}${size}, ${rate}${fixed ? "; fixed" : ""}`;
}

export function showNumbers(numbers) {
  const { p50, p95, p99 } = numbers.latency_ms;
  put("display_fps", `${rounded(numbers.display_fps, 1)} fps`);
  put("results_hz", `${rounded(numbers.results_hz, 1)} per s`);
  put("age_ms", `${rounded(numbers.age_ms.p50)} ms`);
  put("dropped", `${count(numbers.dropped)} of ${count(numbers.frames)}`);
  put("latency_ms", `${rounded(p50)} · ${rounded(p95)} · ${rounded(p99)} ms`);
  put("reconnects", numbers.reconnects === 1 ? "once" : `${numbers.reconnects} times`);
  put("budget", budgetText(numbers.budget));
}
