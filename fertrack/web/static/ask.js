// Posts to the program. Gives its answer, or throws an Error with a sentence.

export async function ask(address, what = {}) {
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(what),
    });
  } catch {
    throw new Error("fertrack does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `fertrack refused (${response.status}).`);
  return answer;
}
