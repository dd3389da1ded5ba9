// Hands, keys and the first view. Everything that changes the picture goes through here.
const tip = byId("tip");
let waiting = false;
function paint() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    if (WANT.busy) lay();
    const dropped = draw();
    if (dropped) byId("status").textContent = dropped.toLocaleString("en") + " calls in this window: zoom in to see their arrows";
    canvas.setAttribute("aria-label", "Timeline from " + clock(Math.max(0, timeOf(VIEW.from))) + " to " + clock(timeOf(VIEW.to)) + ", " + SEEN.count + " events shown. Keys: question mark.");
  });
}
function size() {
  VIEW.width = canvas.clientWidth;
  VIEW.height = canvas.clientHeight;
  for (const [c, h] of [[canvas, VIEW.height], [overview, 44]]) {
    c.width = Math.round(VIEW.width * devicePixelRatio);
    c.height = Math.round(h * devicePixelRatio);
  }
  scrollTo(VIEW.top);
  paint();
}
/** Filters have changed. */
function changed() {
  refresh();
  paint();
}
function select(event, move) {
  VIEW.selected = event;
  if (event >= 0 && !SEEN.event[event]) {
    // What was asked for is shown, whatever the filters say.
    WANT.sorts.add(EV.sort[event]);
    Object.assign(WANT, { chainLanes: false, chainOnly: false, busy: false, text: "", lanes: "" });
    WANT.closed.delete(LANES[EV.lane[event]].group);
    syncTools();
    refresh();
  }
  if (event >= 0 && move) reveal(event);
  tellAll();
  paint();
}
function showChain(event) {
  chainTo(event);
  refresh();
  fitChain();
  scrollTo(0);
  VIEW.selected = event;
  tellAll();
  byId("panel").scrollTop = 0;
  paint();
}
function showFinding(n) {
  showChain(RUN.findings[n].event - 1);
}
function syncTools() {
  byId("find").value = WANT.text;
  byId("find-lanes").value = WANT.lanes;
  byId("chain-lanes").checked = WANT.chainLanes;
  byId("chain-only").checked = WANT.chainOnly;
  byId("busy").checked = WANT.busy;
  byId("sort-list").querySelectorAll("input").forEach((box, n) => { box.checked = WANT.sorts.has(n); });
}
/** The neighbour of the selected event: in the chain, or among what is visible of its lane. */
function step(by, among) {
  const list = among === "chain" ? CHAIN.events : SEEN.list.subarray(SEEN.start[EV.lane[VIEW.selected]] || 0, SEEN.start[(EV.lane[VIEW.selected] ?? -1) + 1] || 0);
  if (!list.length) return;
  const at = list.indexOf(VIEW.selected), next = at < 0 ? list[list.length - 1] : list[Math.max(0, Math.min(list.length - 1, at + by))];
  if (among === "chain" && !CHAIN.told.has(next)) { tellChain(CHAIN.events.length); refresh(); }
  select(next, true);
}

function tools() {
  const bind = (id, name, key = "value") => byId(id).addEventListener(key === "value" ? "input" : "change", () => { WANT[name] = byId(id)[key]; changed(); });
  bind("find", "text");
  bind("find-lanes", "lanes");
  bind("chain-lanes", "chainLanes", "checked");
  bind("chain-only", "chainOnly", "checked");
  bind("busy", "busy", "checked");
  bind("even", "even", "checked");
  const press = (id, act) => { byId(id).onclick = () => { act(); paint(); }; };
  press("zoom-in", () => zoom(0.6));
  press("zoom-out", () => zoom(1 / 0.6));
  press("fit-chain", fitChain);
  press("fit-all", fitAll);
  press("help", () => byId("keys").showModal());
  addEventListener("click", event => { if (!byId("sorts").contains(event.target)) byId("sorts").open = false; });
}

function hands() {
  const spot = event => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : 1, [x] = spot(event);
    if (event.deltaX) moveBy(event.deltaX * unit);
    if (event.shiftKey || x < NAMES) scrollTo(VIEW.top + (event.deltaY || 0) * unit);
    else if (event.deltaY) zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * unit)) * 0.003), x);
    paint();
  }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", event => {
    const [x, y] = spot(event);
    held = { x, y, box: event.shiftKey && x > NAMES, moved: false, from: x };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    const [x, y] = spot(event);
    if (!held) return point(x, y);
    if (Math.abs(x - held.from) + Math.abs(y - held.y) > 3) held.moved = true;
    if (held.box) VIEW.box = [held.from, x];
    else if (held.moved) {
      moveBy(held.x - x);
      scrollTo(VIEW.top + held.y - y);
      [held.x, held.y] = [x, y];
      held.from = -99;
    }
    paint();
  });
  canvas.addEventListener("pointerup", event => {
    const [x, y] = spot(event), was = held;
    held = null;
    if (was && was.box && Math.abs(x - was.from) > 6) showPlaces(placeAt(Math.min(x, was.from)), placeAt(Math.max(x, was.from)));
    else if (was && !was.moved) click(x, y);
    VIEW.box = null;
    paint();
  });
  canvas.addEventListener("pointerleave", () => { VIEW.hover = -1; tip.hidden = true; paint(); });
  canvas.addEventListener("dblclick", event => { zoom(0.35, spot(event)[0]); paint(); });
  const jump = event => {
    if (!event.buttons) return;
    const place = (event.offsetX / VIEW.width * 1.02 - 0.01) * SCALE.end, half = (VIEW.to - VIEW.from) / 2;
    showPlaces(place - half, place + half);
    paint();
  };
  overview.addEventListener("pointerdown", event => { overview.setPointerCapture(event.pointerId); jump(event); });
  overview.addEventListener("pointermove", jump);
}
function click(x, y) {
  const row = rowAt(y);
  if (row && row.lane === undefined) {
    WANT.closed.has(row.group) ? WANT.closed.delete(row.group) : WANT.closed.add(row.group);
    return lay();
  }
  select(eventAt(x, y), false);
}
function point(x, y) {
  const event = eventAt(x, y), row = rowAt(y);
  const named = event < 0 && row && row.lane !== undefined && x < NAMES;
  if (event !== VIEW.hover) { VIEW.hover = event; paint(); }
  tip.hidden = event < 0 && !named;
  if (tip.hidden) return;
  tip.textContent = named ? LANES[row.lane].name + " — " + LANES[row.lane].about : clock(EV.at[event], 6) + "  " + laneName(EV.lane[event]) + ": " + textOf(event);
  tip.style.left = Math.min(x + 14, VIEW.width - tip.offsetWidth - 6) + "px";
  tip.style.top = 44 + (y + 18 + tip.offsetHeight > VIEW.height ? y - tip.offsetHeight - 8 : y + 18) + "px";
}

function keys() {
  addEventListener("keydown", event => {
    if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox") { if (event.key === "Escape") event.target.blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    const inPanel = byId("panel").contains(event.target), wide = plotWidth();
    const acts = {
      "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), "a": fitAll, "c": fitChain,
      "[": () => step(-1, "chain"), "]": () => step(1, "chain"), "p": () => step(-1), "n": () => step(1),
      "v": () => { const at = RUN.findings.findIndex(f => f.event - 1 === CHAIN.end); if (RUN.findings.length) showFinding((at + 1) % RUN.findings.length); },
      "/": () => byId("find").focus(), "?": () => byId("keys").showModal(), "Escape": () => select(-1),
    };
    const moves = {
      "ArrowLeft": () => moveBy(-wide * 0.12), "ArrowRight": () => moveBy(wide * 0.12), "ArrowUp": () => scrollTo(VIEW.top - 40), "ArrowDown": () => scrollTo(VIEW.top + 40),
      "PageUp": () => scrollTo(VIEW.top - VIEW.height * 0.8), "PageDown": () => scrollTo(VIEW.top + VIEW.height * 0.8), "Home": () => scrollTo(0), "End": () => scrollTo(VIEW.tall),
    };
    const act = acts[event.key] || (!inPanel && moves[event.key]);
    if (!act) return;
    event.preventDefault();
    act();
    paint();
  });
}

function open() {
  readInk();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readInk(); paint(); });
  // Crowds are closed until somebody wants to see them.
  const crowd = new Array(GROUPS.length).fill(0);
  for (const lane of LANES) crowd[lane.group]++;
  GROUPS.forEach((group, n) => { if (group.closed || crowd[n] > 60) WANT.closed.add(n); });
  for (const quiet of ["read", "no-op write"]) WANT.sorts.delete(SORT[quiet]);
  tellStory();
  tellSorts();
  const first = RUN.findings.find(f => f.invariant === RUN.story.first) || RUN.findings[0];
  if (first && first.event) {
    WANT.chainLanes = true;
    chainTo(first.event - 1);
  }
  see();
  lay();
  size();
  fitChain();
  syncTools();
  tools();
  hands();
  keys();
  tellAll();
  if (!N) byId("status").textContent = "This run kept no events: there is nothing to show.";
  new ResizeObserver(size).observe(byId("stage"));
  paint();
}
open();
