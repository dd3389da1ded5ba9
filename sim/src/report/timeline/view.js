// What part of the run is on the screen: the window in time, the rows, and the way between them and pixels.
const NAMES = 232, AXIS = 24, ROW = 20, ROW_WITH_BAR = 31, HEAD = 20;
const VIEW = { from: 0, to: 1, top: 0, width: 800, height: 500, rows: [], rowOf: new Int32Array(LANES.length), tall: 0, selected: -1, hover: -1, box: null };
/** Closest zoom: this much time, or this much of the axis where idle time is shortened, over the whole width. */
const CLOSEST = () => WANT.even ? 0.05 : 20;

/** Lays the rows out anew: called when lanes or groups changed. */
function lay() {
  const rows = [];
  let y = 0, group = -1, head = null;
  VIEW.rowOf.fill(-1);
  const open = WANT.chainLanes || WANT.busy || WANT.lanes || WANT.text;
  for (let l = 0; l < LANES.length; l++) {
    if (!SEEN.lane[l] || WANT.busy && !isBusy(l)) continue;
    const g = LANES[l].group, closed = !open && WANT.closed.has(g);
    if (g !== group) {
      group = g;
      head = { y, h: HEAD, group: g, closed, lanes: 0, place: rows.length };
      rows.push(head);
      y += HEAD;
    }
    head.lanes++;
    if (closed) {
      VIEW.rowOf[l] = head.place;
      continue;
    }
    const h = BARS[l + 1] > BARS[l] ? ROW_WITH_BAR : ROW;
    VIEW.rowOf[l] = rows.length;
    rows.push({ y, h, lane: l, group: g });
    y += h;
  }
  VIEW.rows = rows;
  VIEW.tall = y;
  scrollTo(VIEW.top);
}

const plotWidth = () => Math.max(50, VIEW.width - NAMES);
const xOf = place => NAMES + (place - VIEW.from) / (VIEW.to - VIEW.from) * plotWidth();
const placeAt = x => VIEW.from + (x - NAMES) / plotWidth() * (VIEW.to - VIEW.from);
/** The middle of a lane's line of events, or of its closed group; NaN if it is not shown. */
function yOf(lane) {
  const row = VIEW.rows[VIEW.rowOf[lane]];
  if (!row) return NaN;
  return AXIS + row.y - VIEW.top + (row.lane === undefined ? row.h / 2 : 10);
}

function scrollTo(top) {
  VIEW.top = Math.max(0, Math.min(top, VIEW.tall - (VIEW.height - AXIS) + 12));
}

/** Shows a part of the axis. */
function showPlaces(from, to) {
  const least = CLOSEST(), most = SCALE.end * 1.1;
  let size = Math.max(least, Math.min(to - from, most));
  const middle = (from + to) / 2;
  from = middle - size / 2;
  from = Math.max(-SCALE.end * 0.05, Math.min(from, SCALE.end * 1.05 - size));
  VIEW.from = from;
  VIEW.to = from + size;
}
/** Around a point: the selected event, if it is in the window, else the middle. */
function zoom(factor, x) {
  if (x === undefined) {
    x = VIEW.selected >= 0 ? xOf(SCALE.event[VIEW.selected]) : -1;
    if (x < NAMES || x > VIEW.width) x = NAMES + plotWidth() / 2;
  }
  const place = placeAt(x);
  showPlaces(place - (place - VIEW.from) * factor, place + (VIEW.to - place) * factor);
}
function moveBy(pixels) {
  const by = pixels / plotWidth() * (VIEW.to - VIEW.from);
  showPlaces(VIEW.from + by, VIEW.to + by);
}
function fitAll() {
  showPlaces(-SCALE.end * 0.01, SCALE.end * 1.01);
}
/** Shows the told part of the chain, and the time since when what it ends in was bad. */
function fitChain() {
  const told = CHAIN.events.slice(-CHAIN.most);
  if (!told.length) return fitAll();
  let from = SCALE.event[told[0]];
  const to = SCALE.event[told[told.length - 1]], finding = findingOf(CHAIN.end);
  if (finding && finding.since !== null) from = Math.min(from, placeOf(finding.since));
  const margin = Math.max((to - from) * 0.05, CLOSEST());
  showPlaces(from - margin, to + margin * 3.2);
}
/** Moves the window so that an event is within. */
function reveal(event) {
  const place = SCALE.event[event], size = VIEW.to - VIEW.from;
  if (place < VIEW.from + size * 0.03 || place > VIEW.to - size * 0.12) showPlaces(place - size * 0.6, place + size * 0.4);
  const row = VIEW.rows[VIEW.rowOf[EV.lane[event]]];
  if (!row) return;
  const room = VIEW.height - AXIS;
  if (row.y < VIEW.top + 10 || row.y + row.h > VIEW.top + room - 10) scrollTo(row.y - room / 2);
}
/** Changes what is visible and keeps the window in time. */
function refresh(keep = true) {
  const from = timeOf(VIEW.from), to = timeOf(VIEW.to);
  see();
  lay();
  if (keep) showPlaces(placeOf(from), placeOf(to));
}
/** Whether a lane has a visible event in the window. */
function isBusy(lane) {
  const [lo, hi] = inWindow(lane);
  return lo < hi;
}
/** Visible events of a lane that lie in the window, as places in SEEN.list. */
function inWindow(lane) {
  const lo = SEEN.start[lane], hi = SEEN.start[lane + 1];
  return [boundAt(VIEW.from, lo, hi), boundAt(VIEW.to, lo, hi)];
}
function boundAt(place, lo, hi, list = SEEN.list) {
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (SCALE.event[list[mid]] < place) lo = mid + 1; else hi = mid;
  }
  return lo;
}
/** The event nearest to a point, within reach. */
function eventAt(x, y) {
  const row = rowAt(y);
  if (!row || row.lane === undefined || x < NAMES) return -1;
  const place = placeAt(x), lo = SEEN.start[row.lane], hi = SEEN.start[row.lane + 1];
  let best = -1, near = 9;
  const n = boundAt(place, lo, hi);
  for (let k = Math.max(lo, n - 40); k < Math.min(hi, n + 40); k++) {
    const e = SEEN.list[k], away = Math.abs(xOf(SCALE.event[e]) - x) - (CHAIN.told.has(e) ? 2 : 0);
    if (away < near) { near = away; best = e; }
  }
  return best;
}
function rowAt(y) {
  const at = y - AXIS + VIEW.top;
  if (y < AXIS || at < 0) return null;
  let lo = 0, hi = VIEW.rows.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (VIEW.rows[mid].y + VIEW.rows[mid].h <= at) lo = mid + 1; else hi = mid;
  }
  return VIEW.rows[lo] || null;
}
