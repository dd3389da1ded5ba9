// The run as arrays, and what is visible of it. Knows nothing of pixels, colours or elements.
const RUN = JSON.parse(document.getElementById("run").textContent);
const STRINGS = RUN.strings, SORTS = RUN.sorts, LANES = RUN.lanes, GROUPS = RUN.groups;
const N = RUN.events.at.length;
const SORT = Object.fromEntries(SORTS.map((name, n) => [name, n]));

/** Columns of the events: ordinals from 0, -1 for none. */
const EV = (() => {
  const at = new Float64Array(N), cause = new Int32Array(N), to = new Int32Array(N), bad = new Uint8Array(N);
  let t = 0;
  for (let i = 0; i < N; i++) {
    at[i] = t += RUN.events.at[i];
    const back = RUN.events.cause[i];
    cause[i] = back ? i - back : -1;
    to[i] = RUN.events.to[i] - 1;
  }
  for (const id of RUN.events.bad) bad[id - 1] = 1;
  const { sort, lane, text, detail } = RUN.events;
  return { at, cause, to, bad, sort: Uint8Array.from(sort), lane: Int32Array.from(lane), text, detail };
})();

/** Columns of the calls, in the order in which they left; a time that never came is NaN. */
const CALLS = (() => {
  const c = RUN.calls, n = c.event.length;
  const left = Float64Array.from(c.left), arrived = new Float64Array(n), back = new Float64Array(n), last = new Float64Array(n);
  const ofEvent = new Int32Array(N).fill(-1);
  let latest = 0;
  for (let i = 0; i < n; i++) {
    arrived[i] = c.arrived[i] ? left[i] + c.arrived[i] - 1 : NaN;
    back[i] = c.back[i] ? left[i] + c.back[i] - 1 : NaN;
    const event = c.event[i] - 1;
    ofEvent[event] = i;
    latest = Math.max(latest, left[i], arrived[i] || 0, back[i] || 0, EV.at[event]);
    last[i] = latest;
  }
  return { n, left, arrived, back, last, event: c.event.map(e => e - 1), lane: c.lane, to: c.to.map(l => l - 1), lost: c.lost, ofEvent };
})();

/** What the reader wants to see. */
const WANT = { text: "", lanes: "", chainLanes: false, chainOnly: false, busy: false, even: true, sorts: new Set(SORTS.map((_, n) => n)), closed: new Set() };

/** The chain that is shown: its events from the oldest on, and which of them are told. */
const CHAIN = { events: [], told: new Set(), most: 25, end: -1 };

/** What follows from WANT: visible events, their lanes, the time scale. */
const SEEN = { event: new Uint8Array(N), lane: new Uint8Array(LANES.length), start: null, list: null, groups: null, count: 0 };

/** The first place in a sorted array whose value is not below `value`, from `lo` to `hi`. */
function lowerBound(array, value, lo = 0, hi = array.length) {
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (array[mid] < value) lo = mid + 1; else hi = mid;
  }
  return lo;
}

function chainTo(event) {
  const events = [], finding = findingOf(event), turn = finding ? turnOf(finding) : -1;
  if (turn >= 0) events.push(event);
  for (let e = turn >= 0 ? turn : event; e >= 0; e = EV.cause[e]) events.push(e);
  CHAIN.events = events.reverse();
  CHAIN.end = event;
  tellChain(25);
}

/** Where something that was bad for too long turned bad: what is noticed at a deadline was caused there. */
function turnOf(finding) {
  if (finding.since === null || !finding.to) return -1;
  const lane = finding.to - 1;
  // The time is told in milliseconds; what was bad then had become so with the last event of its lane, shortly before.
  for (let e = lowerBound(EV.at, finding.since + 1000) - 1; e >= 0 && EV.at[e] >= finding.since - 1e7; e--) {
    if (EV.lane[e] === lane || EV.to[e] === lane) return e;
  }
  return -1;
}

function tellChain(most) {
  CHAIN.most = most;
  CHAIN.told = new Set(CHAIN.events.slice(-most));
}

/** Events that follow directly from an event. */
let FOLLOWS = null;
function effects(event) {
  if (!FOLLOWS) {
    FOLLOWS = new Map();
    for (let i = 0; i < N; i++) {
      const cause = EV.cause[i];
      if (cause < 0) continue;
      const list = FOLLOWS.get(cause);
      if (list) list.push(i); else FOLLOWS.set(cause, [i]);
    }
  }
  return FOLLOWS.get(event) || [];
}

/** The violation that an event tells of. */
const findingOf = event => RUN.findings.find(f => f.event - 1 === event);

function shownLanes() {
  const shown = SEEN.lane, words = WANT.lanes.toLowerCase().split(/\s+/).filter(Boolean);
  shown.fill(WANT.chainLanes && CHAIN.events.length ? 0 : 1);
  if (WANT.chainLanes) {
    for (const e of CHAIN.told) {
      shown[EV.lane[e]] = 1;
      if (EV.to[e] >= 0) shown[EV.to[e]] = 1;
    }
    const finding = findingOf(CHAIN.end);
    if (finding && finding.to) shown[finding.to - 1] = 1;
    // A few lanes that always help: what the faults did meanwhile, and what the controllers and listeners did.
    const struck = new Set(RUN.bands.map(b => b.lane)), actors = new Set();
    LANES.forEach((lane, n) => { if (/^(Controllers|Listeners)/.test(GROUPS[lane.group].name)) actors.add(n); });
    for (const few of [struck, actors]) if (few.size <= 8) for (const lane of few) shown[lane] = 1;
  }
  if (words.length) {
    LANES.forEach((lane, n) => {
      const name = (lane.name + " " + lane.about + " " + GROUPS[lane.group].name).toLowerCase();
      if (!words.some(w => name.includes(w))) shown[n] = 0;
    });
  }
}

/** Works out anew what is visible: called when WANT or CHAIN changed. */
function see() {
  shownLanes();
  const words = WANT.text.toLowerCase().split(/\s+/).filter(Boolean);
  let hits = null;
  if (words.length) {
    hits = new Uint8Array(STRINGS.length);
    for (let s = 0; s < STRINGS.length; s++) {
      const text = STRINGS[s].toLowerCase();
      hits[s] = words.every(w => text.includes(w)) ? 1 : 0;
    }
  }
  const wanted = new Uint8Array(SORTS.length);
  for (const sort of WANT.sorts) wanted[sort] = 1;
  const names = words.length ? LANES.map(l => words.every(w => l.name.toLowerCase().includes(w))) : null;
  const { event, lane } = SEEN, counts = new Int32Array(LANES.length + 1);
  const groups = GROUPS.map(() => []);
  const chain = CHAIN.told;
  let count = 0;
  for (let i = 0; i < N; i++) {
    let yes = wanted[EV.sort[i]];
    if (WANT.chainOnly && CHAIN.events.length) yes = 0;
    if (yes && hits) yes = hits[EV.text[i]] || hits[EV.detail[i]] || names[EV.lane[i]] ? 1 : 0;
    event[i] = yes;
  }
  for (const e of chain) event[e] = 1;
  for (let i = 0; i < N; i++) {
    if (!event[i]) continue;
    const a = EV.lane[i], b = EV.to[i];
    const inA = lane[a], inB = b >= 0 && b !== a && lane[b];
    if (!inA && !inB) { event[i] = 0; continue; }
    if (inA) { counts[a + 1]++; groups[LANES[a].group].push(i); }
    if (inB) counts[b + 1]++;
    count++;
  }
  for (let l = 0; l < LANES.length; l++) counts[l + 1] += counts[l];
  const list = new Int32Array(counts[LANES.length]), next = counts.slice();
  for (let i = 0; i < N; i++) {
    if (!event[i]) continue;
    const a = EV.lane[i], b = EV.to[i];
    if (lane[a]) list[next[a]++] = i;
    if (b >= 0 && b !== a && lane[b]) list[next[b]++] = i;
  }
  // Lanes without anything that was looked for are out of the way.
  if (hits) for (let l = 0; l < LANES.length; l++) if (counts[l] === counts[l + 1]) lane[l] = 0;
  Object.assign(SEEN, { start: counts, list, groups, count });
  measure();
}

/** The time scale: places of times on an axis. With idle time shortened a gap counts by its logarithm. */
const SCALE = { times: [0, 1], places: [0, 1], end: 1, event: new Float64Array(N), left: null, arrived: null, back: null, barFrom: null, barTo: null };

function measure() {
  const end = Math.max(RUN.end, N ? EV.at[N - 1] : 0, 1);
  if (!WANT.even) {
    SCALE.times = [0, end];
    SCALE.places = [0, end];
  } else {
    const times = [0], places = [0];
    let last = 0, place = 0;
    const add = t => {
      if (t <= last) return;
      place += 0.6 + Math.log2(1 + (t - last) / 1000);
      times.push(t);
      places.push(place);
      last = t;
    };
    for (let i = 0; i < N; i++) if (SEEN.event[i]) add(EV.at[i]);
    add(end);
    SCALE.times = Float64Array.from(times);
    SCALE.places = Float64Array.from(places);
  }
  SCALE.end = SCALE.places[SCALE.places.length - 1];
  for (let i = 0; i < N; i++) SCALE.event[i] = placeOf(EV.at[i]);
  const all = times => Float64Array.from(times, placeOf);
  SCALE.left = all(CALLS.left);
  SCALE.arrived = all(CALLS.arrived);
  SCALE.back = all(CALLS.back);
  SCALE.barFrom = Float64Array.from(RUN.bars, b => placeOf(b[1]));
  SCALE.barTo = Float64Array.from(RUN.bars, b => placeOf(b[1] + b[2]));
}

function placeOf(t) {
  if (!(t === t)) return NaN;
  const { times, places } = SCALE;
  let n = lowerBound(times, t);
  if (n <= 0) n = 1;
  if (n >= times.length) n = times.length - 1;
  const share = (t - times[n - 1]) / (times[n] - times[n - 1]);
  return places[n - 1] + share * (places[n] - places[n - 1]);
}

function timeOf(place) {
  const { times, places } = SCALE;
  let n = lowerBound(places, place);
  if (n <= 0) n = 1;
  if (n >= places.length) n = places.length - 1;
  return times[n - 1] + (place - places[n - 1]) / (places[n] - places[n - 1]) * (times[n] - times[n - 1]);
}

/** Bars of a lane: from and to in RUN.bars, which is in the order of lanes. */
const BARS = (() => {
  const start = new Int32Array(LANES.length + 1);
  for (const bar of RUN.bars) start[bar[0] + 1]++;
  for (let l = 0; l < LANES.length; l++) start[l + 1] += start[l];
  return start;
})();

const two = n => String(n).padStart(2, "0");
/** `t+MM:SS.mmm`, as everywhere else. */
function clock(us, digits = 3) {
  const s = Math.floor(us / 1e6), h = Math.floor(s / 3600);
  const part = digits ? "." + String(Math.floor(us % 1e6)).padStart(6, "0").slice(0, digits) : "";
  return "t+" + (h ? h + ":" : "") + two(Math.floor(s / 60) % 60) + ":" + two(s % 60) + part;
}
/** A span in a unit that fits. */
function span(us) {
  if (us < 1000) return us + " µs";
  if (us < 1e6) return +(us / 1000).toPrecision(3) + " ms";
  if (us < 6e7) return +(us / 1e6).toPrecision(3) + " s";
  const m = Math.floor(us / 6e7);
  return m < 60 ? m + " m " + Math.round(us % 6e7 / 1e6) + " s" : Math.floor(m / 60) + " h " + m % 60 + " m";
}
const textOf = e => STRINGS[EV.text[e]];
const laneName = l => LANES[l].name;
