// The page's script: it keeps the page up to date, carries actions out in
// place, filters and sorts. Everything works without it, by reloading.
// What comes from gateways is only ever set as text.
"use strict";

const $ = id => document.getElementById(id);
const page = document.body.dataset.page;
const profile = document.body.dataset.profile || "";
let skew = Date.now() - Number(document.body.dataset.now);
const now = () => Date.now() - skew;

function make(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

// ---- words, as the server writes them

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (m < 1) return s + "s";
  if (h < 1) return m + "m";
  if (d < 1) return h + "h" + m % 60 + "m";
  return d >= 10 ? d + "d" : d + "d" + h % 24 + "h";
}

function size(n) {
  if (n <= 0) return "";
  if (n < 1e3) return n + " B";
  if (n < 1e6) return Math.floor(n / 1e3) + " kB";
  if (n < 1e7) return (n / 1e6).toFixed(1) + " MB";
  if (n < 1e9) return Math.floor(n / 1e6) + " MB";
  return (n / 1e9).toFixed(1) + " GB";
}

const ago = at => at ? span(now() - at) : "";
const until = at => at ? "in " + span(at - now()) : "";
const utc = at => at ? new Date(at).toISOString().slice(0, 19).replace("T", " ") + " UTC" : "";

// ---- theme

function theme() {
  const b = $("theme"), root = document.documentElement, all = ["system", "light", "dark"];
  const shown = () => root.dataset.theme || "system";
  const say = () => setText(b, "Theme: " + shown());
  b.hidden = false;
  say();
  b.addEventListener("click", () => {
    const next = all[(all.indexOf(shown()) + 1) % all.length];
    if (next === "system") delete root.dataset.theme; else root.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("theme"); else localStorage.setItem("theme", next);
    } catch { /* no storage: for this page only */ }
    say();
  });
}

// ---- actions

const keepResults = 5, forget = 30000;
const pending = new Set();

function report(li, r) {
  li.className = r.ok ? "ok" : "bad";
  Object.assign(li.dataset, { verb: r.verb, profile: r.profile, code: r.code || "" });
  li.replaceChildren(make("span", (r.ok ? "✓ " : "✗ ") + r.message));
  if (r.hint) li.append(" ", make("code", r.hint, "hint"));
  const close = make("button", "Dismiss");
  close.type = "button";
  close.addEventListener("click", () => li.remove());
  li.prepend(close);
  if (r.ok) setTimeout(() => li.remove(), forget);
}

async function act(form, button) {
  const url = button && button.hasAttribute("formaction") ? button.formAction : form.action;
  if (pending.has(url)) return;
  const path = new URL(url).pathname.split("/");
  const verb = path.length > 3 ? path[3] : "create";
  const name = path.length > 3 ? decodeURIComponent(path[2]) : form.elements.name.value.trim();
  pending.add(url);
  if (button) button.setAttribute("aria-disabled", "true");
  const li = make("li", verb + " " + name + " … ", "busy");
  const clock = make("span");
  clock.setAttribute("aria-hidden", "true");
  li.append(clock);
  const began = Date.now(), tick = setInterval(() => setText(clock, span(Date.now() - began)), 1000);
  $("results").prepend(li);
  while ($("results").children.length > keepResults) $("results").lastElementChild.remove();
  let r = { ok: false, verb, profile: name, message: "the dashboard does not answer: whether it could " + verb + " " + name + " is not known" };
  try {
    const answer = await fetch(url, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form)), redirect: "error" });
    const text = await answer.text();
    try {
      r = JSON.parse(text);
      if (!r.message) throw new Error();
    } catch {
      r = { ok: false, verb, profile: name, message: "the dashboard refused it with status " + answer.status + (answer.status === 401 ? ": sign in again by reloading the page" : "") };
    }
  } catch { /* said above */ }
  clearInterval(tick);
  pending.delete(url);
  if (button) button.removeAttribute("aria-disabled");
  if (r.location) { location.assign(r.location); return; }
  report(li, r);
  if (r.ok && form.dataset.verb) form.reset();
}

document.addEventListener("submit", e => {
  if (e.target.id !== "actions" && !e.target.dataset.verb && !e.target.closest("#rows")) return;
  e.preventDefault();
  act(e.target, e.submitter);
});

// ---- the head of every page

function showHead(h) {
  setText($("manager"), h.manager);
  document.body.classList.toggle("stale", h.away !== 0);
  $("away").hidden = !h.away;
  if (h.away) {
    setText($("away-since"), utc(h.away));
    setText($("away-state"), h.known ? ": this is the last known state" : "");
    setText($("away-why"), h.why);
    setText($("away-hint"), h.hint);
    $("away-hint").hidden = !h.hint;
  }
  $("renewed").hidden = !h.new_engine;
  setText($("renewed-pid"), String(h.engine_pid));
  setText($("renewed-at"), utc(h.new_engine));
  const notices = h.notices || [];
  $("notices").hidden = notices.length === 0;
  $("notices").replaceChildren(...notices.map(n => {
    const li = make("li");
    li.dataset.code = n.code;
    li.append(make("span", n.message));
    if (n.hint) li.append(" ", make("code", n.hint, "hint"));
    return li;
  }));
  if (page === "fleet") showCounts(h.counts);
}

// ---- the stream

let seq = Number(document.body.dataset.seq), stream = null, again = 0;

function link(state, text) {
  $("link").dataset.link = state;
  setText($("link"), text);
}

function listen() {
  clearTimeout(again);
  if (stream) stream.close();
  stream = new EventSource("/events?since=" + seq + (profile ? "&profile=" + encodeURIComponent(profile) : ""));
  stream.addEventListener("open", () => link("live", "live"));
  stream.addEventListener("error", () => {
    link("lost", "dashboard away, state as of " + utc(now()).slice(11, 19) + ": trying again");
    if (stream.readyState === EventSource.CLOSED) again = setTimeout(listen, 3000);
  });
  stream.addEventListener("fleet", e => {
    const u = JSON.parse(e.data);
    seq = u.seq;
    skew = Date.now() - u.now;
    if (u.head) showHead(u.head);
    if (page === "fleet") fleet.apply(u); else if (page === "profile") panel.apply(u);
  });
}

// A hidden page listens to nothing: browsers allow six connections to a host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(again);
    if (stream) stream.close();
    link("paused", "paused while hidden");
  } else {
    listen();
  }
});
addEventListener("pageshow", e => { if (e.persisted) listen(); });

// ---- the fleet

function showCounts(c) {
  for (const [name, n] of Object.entries(c)) if ($("count-" + name)) setText($("count-" + name), String(n));
  document.querySelector('#counts [data-state="amiss"]').classList.toggle("bad", c.amiss > 0);
}

const rank = { bad: 0, warn: 1, busy: 2, ok: 3, off: 4 };
const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;
const compare = {
  profile: () => 0,
  state: (a, b) => order(a.state, b.state),
  intent: (a, b) => order(a.intent, b.intent),
  since: (a, b) => b.since - a.since,
  restarts: (a, b) => a.restarts - b.restarts,
  retry: (a, b) => (a.retry || Infinity) - (b.retry || Infinity) || 0,
  port: (a, b) => a.port - b.port,
  memory: (a, b) => a.memory - b.memory,
  "": (a, b) => rank[a.level] - rank[b.level],
};

// All rows are in memory, those in sight and a few more are drawn: a browser
// takes half a second to draw a thousand.
const fleet = {
  all: new Map(),    // what is known, by profile
  drawn: new Map(),  // table rows, by profile
  list: [],          // what matches, in order
  step: 100,
  limit: 100,

  start() {
    this.body = $("rows");
    this.table = $("fleet");
    this.q = $("q");
    this.state = $("state");
    for (const r of JSON.parse($("data").textContent) || []) this.all.set(r.profile, r);
    for (const tr of this.body.rows) {
      this.drawn.set(tr.dataset.p, tr);
      tr.row = this.all.get(tr.dataset.p);
    }
    $("apply").hidden = true;
    this.limit = Math.max(this.step, this.body.rows.length);
    this.list = this.wanted();
    this.mark();
    this.q.addEventListener("input", () => this.filter());
    this.state.addEventListener("change", () => this.filter());
    $("filter").addEventListener("submit", e => { e.preventDefault(); this.body.querySelector("a")?.focus(); });
    $("counts").addEventListener("click", e => this.link(e, a => {
      this.state.value = a.dataset.state;
      this.filter();
    }));
    this.table.tHead.addEventListener("click", e => this.link(e, a => this.sortBy(a)));
    $("more-do").addEventListener("click", () => this.more());
    new IntersectionObserver(seen => { if (seen.some(s => s.isIntersecting)) this.more(); }, { rootMargin: "600px" }).observe($("more"));
    // The order stands still under a pointer or the focus, and is made good after.
    for (const end of ["mouseleave", "focusout"]) this.body.addEventListener(end, () => setTimeout(() => this.settle(), 0));
    document.addEventListener("keydown", e => this.key(e));
    setInterval(() => this.tick(), 1000);
  },

  // A link that is followed in place, unless it is to be opened elsewhere.
  link(e, then) {
    const a = e.target.closest("a");
    if (!a || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    then(a);
  },

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const typing = e.target.closest("input, select, textarea");
    if (e.key === "/" && !typing) {
      e.preventDefault();
      this.q.focus();
      this.q.select();
    } else if (e.key === "Escape" && e.target === this.q) {
      this.q.value = "";
      this.filter();
    } else if ((e.key === "ArrowDown" || e.key === "ArrowUp") && e.target.tagName !== "SELECT") {
      const tr = e.target.closest("#rows tr"), down = e.key === "ArrowDown";
      if (!tr && e.target !== this.q) return;
      e.preventDefault();
      const next = !tr ? down && this.body.firstElementChild : down ? tr.nextElementSibling : tr.previousElementSibling;
      if (next) next.querySelector("a").focus(); else if (!down) this.q.focus();
    }
  },

  view() {
    return { text: this.q.value.trim().toLowerCase(), state: this.state.value };
  },

  // The rows that match, in order: the server decides the same way.
  wanted() {
    const { text, state } = this.view();
    const by = compare[$("sort").value] || compare[""], sign = $("dir").value === "desc" ? -1 : 1;
    const list = [];
    for (const r of this.all.values()) {
      if (state === "amiss" ? r.level === "ok" || r.level === "off" : state === "busy" ? r.level !== "busy" : state && r.state !== state) continue;
      if (text && !(r.profile + "\n" + r.state + "\n" + r.health + "\n" + r.reason).toLowerCase().includes(text)) continue;
      list.push(r);
    }
    return list.sort((a, b) => sign * (by(a, b) || order(a.profile, b.profile)));
  },

  draw() {
    this.dirty = false;
    this.list = this.wanted();
    const first = this.list.slice(0, this.limit), stay = new Set(first.map(r => r.profile));
    for (const [name, tr] of this.drawn) if (!stay.has(name)) { tr.remove(); this.drawn.delete(name); }
    let at = this.body.firstElementChild;
    for (const r of first) {
      const tr = this.drawn.get(r.profile) || this.make(r);
      this.fill(tr, r);
      if (tr === at) at = at.nextElementSibling; else this.body.insertBefore(tr, at);
    }
    this.tell();
  },

  more() {
    if (this.list.length <= this.limit) return;
    const from = this.limit;
    this.limit += this.step;
    if (this.dirty) { this.draw(); return; }
    for (const r of this.list.slice(from, this.limit)) {
      const tr = this.make(r);
      this.fill(tr, r);
      this.body.append(tr);
    }
    this.tell();
  },

  tell() {
    const n = this.list.length, left = n - this.limit;
    setText($("shown"), n + " of " + this.all.size + " match");
    this.table.setAttribute("aria-rowcount", n);
    $("none").hidden = n > 0;
    if (!n) setText($("none"), this.all.size ? "No gateway matches the filter." : "There is no profile yet: create one above.");
    $("more").hidden = left <= 0;
    setText($("more-count"), String(left));
  },

  filter() {
    this.limit = this.step;
    this.draw();
    this.mark();
    this.remember();
  },

  mark() {
    const { state } = this.view();
    for (const a of $("counts").children) {
      if (a.dataset.state === state) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current");
    }
  },

  remember() {
    const q = new URLSearchParams(), { text, state } = this.view();
    for (const [name, value] of Object.entries({ q: text, state, sort: $("sort").value, dir: $("dir").value })) if (value) q.set(name, value);
    history.replaceState(null, "", q.size ? "/?" + q : "/");
  },

  sortBy(a) {
    const th = a.parentElement, down = th.getAttribute("aria-sort") === "ascending";
    for (const other of this.table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    $("sort").value = a.dataset.sort;
    $("dir").value = down && a.dataset.sort ? "desc" : "";
    if (a.dataset.sort) th.setAttribute("aria-sort", down ? "descending" : "ascending");
    this.limit = this.step;
    this.draw();
    this.remember();
  },

  still() { return this.body.matches(":hover") || this.body.contains(document.activeElement); },
  settle() { if (this.dirty && !this.still()) this.draw(); },

  apply(u) {
    if (u.full) this.all.clear();
    for (const name of u.gone || []) this.all.delete(name);
    for (const r of u.set || []) this.all.set(r.profile, r);
    if (!u.full && !u.gone && !u.set) return;
    this.dirty = true;
    if (!this.still()) { this.draw(); return; }
    for (const [name, tr] of this.drawn) {
      const r = this.all.get(name);
      if (r) this.fill(tr, r); else { tr.remove(); this.drawn.delete(name); }
    }
  },

  make(r) {
    const tr = $("row").content.firstElementChild.cloneNode(true), a = tr.cells[0].firstElementChild;
    tr.id = "gw-" + r.profile;
    tr.dataset.p = r.profile;
    a.textContent = r.profile;
    a.href = "/profile/" + encodeURIComponent(r.profile);
    for (const b of tr.cells[9].firstElementChild.children) this.dress(b, a);
    this.drawn.set(r.profile, tr);
    return tr;
  },

  dress(button, a) {
    button.setAttribute("formaction", a.getAttribute("href") + "/" + button.dataset.do);
    button.setAttribute("aria-label", button.textContent + " " + a.textContent);
  },

  // The server made the buttons that fit the state of then.
  complete(tr) {
    const form = tr.cells[9].firstElementChild, all = $("row").content.querySelectorAll("button");
    if (form.childElementCount === all.length) return;
    let next = null;
    for (const b of [...all].reverse()) {
      let own = form.querySelector('[data-do="' + b.dataset.do + '"]');
      if (!own) {
        own = b.cloneNode(true);
        this.dress(own, tr.cells[0].firstElementChild);
        form.insertBefore(own, next);
      }
      next = own;
    }
  },

  fill(tr, r) {
    if (tr.row === r) return;
    const c = tr.cells, moved = tr.row && (tr.row.state !== r.state || tr.row.since !== r.since);
    if (tr.dataset.s !== r.state) this.complete(tr);
    tr.row = r;
    tr.className = r.level;
    Object.assign(tr.dataset, { s: r.state, w: r.intent, h: r.health });
    setText(c[1].children[0], r.state);
    setText(c[1].children[1], r.health);
    setText(c[2], r.intent);
    c[3].dataset.v = r.since;
    setText(c[3], ago(r.since));
    setText(c[4], String(r.restarts));
    c[5].dataset.v = r.retry;
    setText(c[5], until(r.retry));
    setText(c[6], r.port ? String(r.port) : "");
    c[7].dataset.v = r.memory;
    setText(c[7], size(r.memory));
    setText(c[8], r.reason);
    if (moved) tr.classList.add("changed");
  },

  ticks: 0,
  tick() {
    const all = ++this.ticks % 5 === 0;
    for (const tr of this.body.rows) {
      if (!tr.row) continue;
      if (tr.row.retry) setText(tr.cells[5], until(tr.row.retry));
      if (all) setText(tr.cells[3], ago(tr.row.since));
    }
  },
};

// ---- one profile

const panel = {
  start() {
    setInterval(() => { if (!document.hidden) this.refresh(); }, 10000);
    setInterval(() => {
      for (const dd of document.querySelectorAll("#facts [data-at]")) {
        const at = Number(dd.dataset.at);
        setText(dd, utc(at) + " (" + (at > now() ? until(at) : ago(at) + " ago") + ")");
      }
    }, 1000);
    log.start();
  },

  apply(u) {
    const row = (u.set || []).find(r => r.profile === profile);
    const gone = (u.gone || []).includes(profile) || u.full && !row;
    if (gone) $("gone").hidden = false;
    if (!row) return;
    $("gone").hidden = true;
    Object.assign($("actions").dataset, { s: row.state, w: row.intent });
    this.refresh();
  },

  // The server makes the panel; here its sections take the place of those that
  // changed. What is open stays open.
  async refresh() {
    if (this.asking) { this.later = true; return; }
    this.asking = true;
    try {
      const answer = await fetch("/profile/" + encodeURIComponent(profile) + "/panel");
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("panel");
        if (fresh) this.show(fresh);
      }
    } catch { /* the dashboard is away, which the stream tells */ }
    this.asking = false;
    if (this.later) { this.later = false; this.refresh(); }
  },

  show(fresh) {
    for (const d of document.querySelectorAll("#panel details[open]")) fresh.querySelector("#" + d.id)?.setAttribute("open", "");
    const now = $("panel"), ids = [...fresh.children].map(s => s.id);
    for (const old of [...now.children]) if (!ids.includes(old.id)) old.remove();
    for (const section of [...fresh.children]) {
      const old = $(section.id);
      if (!old) now.append(document.adoptNode(section));
      else if (!old.isEqualNode(section) && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(section));
    }
  },
};

const log = {
  most: 2000, held: [], skipped: 0,

  start() {
    this.box = $("log");
    this.q = $("log-q");
    $("log-tools").hidden = false;
    this.q.addEventListener("input", () => this.search());
    $("log-pause").addEventListener("click", () => this.pause());
    $("log-clear").addEventListener("click", () => { this.box.replaceChildren(); this.note(); });
    document.addEventListener("keydown", e => {
      if (e.key === "/" && !e.target.closest("input, select, textarea") && !e.ctrlKey && !e.metaKey && !e.altKey) {
        e.preventDefault();
        this.q.focus();
      }
    });
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.stream.close(); else this.open(); });
    this.box.scrollTop = this.box.scrollHeight;
    this.open();
  },

  open() {
    this.stream = new EventSource("/profile/" + encodeURIComponent(profile) + "/log");
    const mine = this.stream;
    mine.addEventListener("log", e => this.take(JSON.parse(e.data)));
    mine.addEventListener("error", () => {
      if (mine.readyState === EventSource.CLOSED && mine === this.stream && !document.hidden) setTimeout(() => { if (mine === this.stream) this.open(); }, 5000);
    });
  },

  paused() { return $("log-pause").getAttribute("aria-pressed") === "true"; },

  pause() {
    const paused = !this.paused();
    $("log-pause").setAttribute("aria-pressed", String(paused));
    setText($("log-pause"), paused ? "Go on" : "Pause");
    if (!paused) {
      const held = { lines: this.held, skipped: this.skipped, reset: this.reset };
      this.held = [];
      this.skipped = 0;
      this.reset = false;
      this.append(held);
    }
    this.note();
  },

  take(batch) {
    $("log-error").hidden = !batch.error;
    setText($("log-error"), batch.error || "");
    if (!this.paused()) { this.append(batch); return; }
    if (batch.reset) { this.held = []; this.skipped = 0; this.reset = true; }
    this.held.push(...batch.lines || []);
    const more = this.held.length - this.most;
    if (more > 0) this.held.splice(0, more);
    this.skipped += (batch.skipped || 0) + Math.max(more, 0);
    this.note();
  },

  append(batch) {
    const box = this.box, follow = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    if (batch.reset) box.replaceChildren();
    const text = this.q.value.toLowerCase(), more = document.createDocumentFragment();
    if (batch.skipped) more.append(make("div", "… " + batch.skipped + " lines are not shown here: hermes gateway logs " + profile, "skipped"));
    for (const line of batch.lines || []) {
      const div = make("div", line);
      div.hidden = text !== "" && !line.toLowerCase().includes(text);
      more.append(div);
    }
    box.append(more);
    while (box.childElementCount > this.most) box.firstElementChild.remove();
    if (follow) box.scrollTop = box.scrollHeight;
    if (text) this.note();
  },

  search() {
    const text = this.q.value.toLowerCase();
    for (const div of this.box.children) div.hidden = text !== "" && !div.textContent.toLowerCase().includes(text);
    this.note();
    this.box.scrollTop = this.box.scrollHeight;
  },

  note() {
    const words = [];
    if (this.q.value) words.push(this.box.querySelectorAll("div:not([hidden])").length + " of " + this.box.childElementCount + " lines match");
    if (this.paused()) words.push("paused, " + this.held.length + " new lines" + (this.skipped ? ", " + this.skipped + " more skipped" : ""));
    setText($("log-note"), words.join("; "));
  },
};

theme();
if (page === "fleet") fleet.start();
if (page === "profile") panel.start();
listen();
