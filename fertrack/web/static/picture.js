// The live picture: the next one is asked for when the last one is drawn, so pictures never queue up. Nothing is asked
// for while the picture is paused or the page is not on screen; the program then encodes none.

const canvas = document.getElementById("picture");
const placeholder = document.getElementById("no-picture");

export function watchPicture() {
  const context = canvas.getContext("2d", { alpha: false });
  let number = -1;
  let paused = false;
  let over = false;
  const asking = new AbortController();
  let wake = () => {};

  const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const idle = () => paused || document.hidden;
  document.addEventListener("visibilitychange", () => wake());

  async function next() {
    const response = await fetch(`/picture?after=${number}`, { signal: asking.signal });
    if (response.status === 204) {
      await rest(200); // while the end is being saved, the answer comes at once
      return;
    }
    if (!response.ok) throw new Error(String(response.status));
    const bitmap = await createImageBitmap(await response.blob());
    number = Number(response.headers.get("X-Picture"));
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    canvas.dataset.number = String(number);
    placeholder.hidden = true;
    canvas.classList.remove("old");
  }

  async function loop() {
    while (!over) {
      if (idle()) {
        await new Promise((resolve) => { wake = resolve; });
        continue;
      }
      try {
        await next();
      } catch {
        await rest(500);
      }
    }
  }
  loop();

  return {
    pause(on) {
      paused = on;
      canvas.classList.toggle("old", on);
      wake();
    },
    lost() { canvas.classList.add("old"); },
    end() {
      over = true;
      asking.abort(); // nobody may be there to answer
      wake();
    },
  };
}
