// The last 60 seconds of one person: a lane for each expression, level with its probability bar, so that the place says
// which expression it was and the colour only says it again. Height within the lane is the probability.

export const EXPRESSIONS = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"];
const LANES = [...EXPRESSIONS, "uncertain"];
const UNCERTAIN = -1;
const NOBODY = -2;
const MARKS = 4; // thin lines at every 15 s

const laneOf = (label) => (label === UNCERTAIN ? LANES.length - 1 : label);

// As everywhere else on the page, what is undecided is hatched.
function hatching(context, colour, scale) {
  const size = Math.round(4 * scale);
  const tile = new OffscreenCanvas(size, size);
  const stroke = tile.getContext("2d");
  stroke.strokeStyle = colour;
  stroke.lineWidth = 1.5 * scale;
  stroke.beginPath();
  for (const shift of [-size, 0, size]) {
    stroke.moveTo(shift, size);
    stroke.lineTo(shift + size, 0);
  }
  stroke.stroke();
  return context.createPattern(tile, "repeat");
}

export function drawStrip(canvas, { labels, percent }) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (width === 0 || height === 0) return;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const style = getComputedStyle(canvas);
  const context = canvas.getContext("2d");
  const colours = LANES.map((lane) => style.getPropertyValue(`--x-${lane}`).trim());
  const fills = colours.map((colour, row) => (row === laneOf(UNCERTAIN) ? hatching(context, colour, scale) : colour));
  context.clearRect(0, 0, width, height);

  const lane = height / LANES.length;
  const pad = Math.max(1, Math.round(lane * 0.14));
  context.fillStyle = style.getPropertyValue("--rule").trim();
  for (let mark = 0; mark <= MARKS; mark += 1) {
    context.fillRect(Math.min(width - 1, Math.round((width * mark) / MARKS)), 0, 1, height);
  }
  for (let row = 0; row < LANES.length; row += 1) {
    context.fillRect(0, Math.round((row + 1) * lane) - 1, width, 1);
  }

  labels.forEach((label, column) => {
    if (label === NOBODY) return;
    const left = Math.round((column * width) / labels.length);
    const right = Math.round(((column + 1) * width) / labels.length);
    const row = laneOf(label);
    const tall = Math.max(2, Math.round((lane - 2 * pad) * (percent[column] / 100)));
    context.fillStyle = fills[row];
    context.fillRect(left, Math.round((row + 1) * lane) - pad - tall, Math.max(1, right - left), tall);
  });
}

// In words, for those who do not see it: "Last 60 seconds: happiness 55 %, neutral 30 %, not seen 15 %".
export function describeStrip({ labels }) {
  const counts = new Map();
  for (const label of labels) {
    const name = label === NOBODY ? "not seen" : LANES[laneOf(label)];
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const shares = [...counts].sort((a, b) => b[1] - a[1]);
  const words = shares.map(([name, number]) => `${name} ${Math.round((100 * number) / labels.length)} %`);
  return `Last 60 seconds: ${words.join(", ")}`;
}
