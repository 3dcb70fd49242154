"use strict";
// Live: whenever an event says that something changed, fetch the page's inner part from the server and replace what differs.
(() => {
  const main = document.querySelector("main"), live = document.querySelector(".live");
  let asked = false, again = false;
  const show = (on, text) => { live.className = "live " + (on ? "on" : "off"); live.textContent = text; };
  async function refresh() {
    if (asked) { again = true; return; }
    asked = true;
    try {
      const answer = await fetch("/status.html", { cache: "no-store" });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the event source says that the server is away */ }
    setTimeout(() => { asked = false; if (again) { again = false; refresh(); } }, 1000);
  }
  function replace(found) {
    const blocks = [...found.querySelectorAll("[data-block]")];
    const old = new Map([...main.querySelectorAll("[data-block]")].map(block => [block.dataset.block, block]));
    if (blocks.length !== old.size || blocks.some(block => !old.has(block.dataset.block))) {
      main.replaceChildren(...found.body.childNodes);
      return;
    }
    for (const block of blocks) {
      const before = old.get(block.dataset.block), opened = before.querySelector("details[open]") !== null;
      block.querySelectorAll("details").forEach(details => { details.open = opened; });
      if (!before.isEqualNode(block)) before.replaceWith(block);
    }
  }
  const source = new EventSource("/v1/events");
  source.onopen = () => { show(true, "live"); refresh(); };
  source.onerror = () => show(false, "the server does not answer; trying again");
  for (const name of ["status", "audit", "learned", "refused", "opened_threshold", "closed_threshold", "promise_broken", "lost"])
    source.addEventListener(name, refresh);
  addEventListener("pagehide", () => source.close());
})();
