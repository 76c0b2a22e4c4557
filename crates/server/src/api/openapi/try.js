// Sends calls from the page. In development it knows the key, and copied lines have it too.
"use strict";

const key = document.getElementById("key");
const info = document.body.dataset.info;

for (const line of document.querySelectorAll("pre.curl")) {
  line.textContent = line.textContent.replace(/https?:\/\/[^/\s]+/, location.origin);
}

if (info) {
  fetch(info, { cache: "no-store" })
    .then((answer) => answer.json())
    .then(({ api_key }) => {
      if (typeof api_key !== "string") return;
      key.value = api_key;
      // Inside double quotes a shell reads these.
      const quoted = api_key.replace(/["\\$`]/g, "\\$&");
      for (const line of document.querySelectorAll("pre.curl")) {
        line.textContent = line.textContent.replace("$KEY", () => quoted);
      }
    })
    .catch(() => {});
}

for (const form of document.querySelectorAll("form")) {
  const [text, button] = [form.querySelector("textarea"), form.querySelector("button")];
  const output = form.querySelector("output");
  let waiting = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (waiting) return;
    waiting = true;
    button.setAttribute("aria-disabled", "true");
    const began = performance.now();
    try {
      const answer = await fetch(form.dataset.url, {
        method: "POST",
        headers: { "content-type": "application/json", "x-api-key": key.value },
        body: text.value,
        cache: "no-store",
      });
      const body = await answer.text();
      const hint = answer.status === 401 ? " (the key is missing or wrong: http_api.key)" : "";
      output.textContent = `${answer.status}${hint}, ${Math.round(performance.now() - began)} ms\n${indented(body)}`;
    } catch (error) {
      output.textContent = `No answer: ${error.message}`;
    }
    button.removeAttribute("aria-disabled");
    waiting = false;
  });
}

function indented(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
