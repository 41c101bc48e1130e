// Live updates and times that stay true. Every page works without this.
"use strict";

(() => {
  const PAUSED = "renderhook-paused";

  // The server's clock minus ours, in milliseconds.
  let clockDifference = 0;

  // The same words as in html/time.rs.
  function rough(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) {
      const hours = Math.floor(seconds / 3600);
      const minutes = Math.floor((seconds % 3600) / 60);
      return hours < 10 && minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
    }
    return `${Math.floor(seconds / 86400)} d`;
  }

  function relative(at) {
    const seconds = Math.trunc((at - Date.now() - clockDifference) / 1000);
    if (seconds === 0) return "now";
    return seconds < 0 ? `${rough(-seconds)} ago` : `in ${rough(seconds)}`;
  }

  function refreshTimes() {
    for (const element of document.querySelectorAll("time")) {
      const text = relative(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }

  // Two versions of a part that differ only in how long ago something was are the same.
  function withoutTimes(element) {
    const copy = element.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = "";
    for (const details of copy.querySelectorAll("details")) details.removeAttribute("open");
    for (const field of copy.querySelectorAll("input[name=form_token]")) field.remove();
    return copy;
  }

  function isSame(before, after) {
    if (before.dataset.version !== undefined && after.dataset.version !== undefined) {
      return before.dataset.version === after.dataset.version;
    }
    return withoutTimes(before).isEqualNode(withoutTimes(after));
  }

  function replace(before, after) {
    const open = [...before.querySelectorAll("details")].map((details) => details.open);
    [...after.querySelectorAll("details")].forEach((details, at) => { details.open = open[at] ?? details.open; });
    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    before.replaceWith(after);
    if (!focused) return;
    const alike = [...after.querySelectorAll(focused.tagName)].find((other) =>
      other.textContent === focused.textContent && other.getAttribute("href") === focused.getAttribute("href"));
    alike?.focus({ preventScroll: true });
  }

  const part = (root, name) => root.querySelector(`[data-live-part="${CSS.escape(name)}"]`);

  // Shows what has changed in a newer version of this page.
  function show(page) {
    for (const before of document.querySelectorAll("[data-live-part]")) {
      const after = part(page, before.dataset.livePart);
      if (!after) before.remove();
      else if (!isSame(before, after)) {
        if (before.dataset.livePart === "title") announce(after.textContent);
        replace(before, document.importNode(after, true));
      }
    }
    for (const list of document.querySelectorAll("[data-live-list]")) {
      const newer = page.querySelector(`[data-live-list="${CSS.escape(list.dataset.liveList)}"]`);
      for (const after of newer?.querySelectorAll(":scope > [data-live-part]") ?? []) {
        if (!part(list, after.dataset.livePart)) list.append(document.importNode(after, true));
      }
    }
    document.title = page.title;
    refreshTimes();
  }

  function announce(text) {
    const region = document.getElementById("announcement");
    if (region) region.textContent = text;
  }

  let isLoading = false;
  let isStale = false;

  // Asks for this page again. While an answer is on its way, or nobody looks, it is only remembered.
  async function update() {
    isStale = true;
    if (isLoading || document.hidden || isPaused()) return;
    isLoading = true;
    while (isStale) {
      isStale = false;
      try {
        const answer = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" } });
        if (answer.redirected) return location.reload();
        const sent = Date.parse(answer.headers.get("date"));
        if (Math.abs(sent - Date.now()) > 2000) clockDifference = sent - Date.now();
        if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        // Without a connection, the stream breaks off as well, and begins again later.
      }
    }
    isLoading = false;
  }

  const button = document.getElementById("live");
  const path = document.body.dataset.live;
  let source = null;

  function setState(state, label, action) {
    button.dataset.state = state;
    button.textContent = label;
    button.title = action;
    button.setAttribute("aria-label", `${label}: ${action}`);
  }

  function start() {
    source = new EventSource(path);
    setState("waiting", "Live", "Pause live updates");
    source.addEventListener("open", () => {
      setState("live", "Live", "Pause live updates");
      update();
    });
    source.addEventListener("changed", update);
    source.addEventListener("logged-out", () => location.reload());
    source.addEventListener("error", () => {
      setState("waiting", "Waiting", "Pause live updates");
      // After an answer that is no stream, the browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(start, 5000);
    });
  }

  let retry = 0;

  function close() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function stop() {
    close();
    setState("paused", "Paused", "Resume live updates");
  }

  const isPaused = () => button.dataset.state === "paused";

  // A browser has six connections to one address, so a page that nobody looks at must not hold one.
  function followVisibility() {
    if (document.hidden) close();
    else if (!isPaused() && !source) start();
  }

  function toggle() {
    if (!isPaused()) {
      sessionStorage.setItem(PAUSED, "yes");
      stop();
    } else {
      sessionStorage.removeItem(PAUSED);
      start();
    }
  }

  // What was just done is said once, and not again when the page is loaded again.
  const address = new URL(location.href);
  for (const name of ["retried", "sent"]) address.searchParams.delete(name);
  if (address.href !== location.href) history.replaceState(null, "", address);

  setInterval(refreshTimes, 5000);
  if (button && path) {
    button.hidden = false;
    button.addEventListener("click", toggle);
    document.addEventListener("visibilitychange", followVisibility);
    if (sessionStorage.getItem(PAUSED)) stop();
    else start();
    // What is on its way changes without an event.
    setInterval(() => { if (document.querySelector("[data-in-progress]")) update(); }, 5000);
  }
})();
