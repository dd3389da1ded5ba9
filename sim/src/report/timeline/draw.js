// Draws the window on the canvas and the whole run in the overview. Reads the view, never changes it.
const canvas = document.getElementById("time"), overview = document.getElementById("overview");
const pen = canvas.getContext("2d"), wide = overview.getContext("2d");
let INK = {};
/** Most calls that are drawn as arrows at a time. */
const ARROWS = 500;
const FONT = '11px system-ui, "DejaVu Sans", sans-serif';
const INKS = ["bad", "fault", "operator", "process", "write", "read", "read", "commit", "service", "service", "bad", "log"];

function readInk() {
  const style = getComputedStyle(document.documentElement), ink = {};
  for (const name of ["ground", "raised", "line", "text", "faint", "stripe", "accent", "bad", "fault", "operator", "process", "write", "read", "commit", "service", "log", "select"])
    ink[name] = style.getPropertyValue("--" + name).trim();
  ink.tones = [0, 1, 2, 3, 4, 5, 6].map(n => style.getPropertyValue("--tone-" + n).trim());
  INK = ink;
  HATCH.clear();
}

const HATCH = new Map();
/** Stripes: what is bad or going away is seen without colour. */
function hatch(context, colour) {
  if (!HATCH.has(colour)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const t = tile.getContext("2d");
    t.strokeStyle = colour;
    t.lineWidth = 1.4;
    t.beginPath();
    for (const d of [-6, 0, 6]) { t.moveTo(d - 1, 7); t.lineTo(d + 7, -1); }
    t.stroke();
    HATCH.set(colour, context.createPattern(tile, "repeat"));
  }
  return HATCH.get(colour);
}

/** A mark: each sort has its own shape. */
function mark(p, sort, x, y, size, bad) {
  p.beginPath();
  const s = size;
  switch (sort) {
    case SORT.violation: case SORT.lost:
      p.moveTo(x - s, y - s); p.lineTo(x + s, y + s); p.moveTo(x + s, y - s); p.lineTo(x - s, y + s); break;
    case SORT.fault: p.moveTo(x, y - s); p.lineTo(x + s, y + s); p.lineTo(x - s, y + s); p.closePath(); break;
    case SORT.operator: p.moveTo(x - s, y - s); p.lineTo(x + s, y); p.lineTo(x - s, y + s); p.closePath(); break;
    case SORT.process: p.rect(x - s * 0.8, y - s * 0.8, s * 1.6, s * 1.6); break;
    case SORT["object change"]: p.moveTo(x, y - s); p.lineTo(x + s, y); p.lineTo(x, y + s); p.lineTo(x - s, y); p.closePath(); break;
    case SORT["GitHub call"]: p.arc(x, y, s * 0.85, 0, 7); break;
    case SORT["GitHub event"]: p.moveTo(x - s, y - s * 0.8); p.lineTo(x + s, y - s * 0.8); p.lineTo(x, y + s); p.closePath(); break;
    case SORT.log: p.moveTo(x - s, y); p.lineTo(x + s, y); break;
    default: p.arc(x, y, sort === SORT.read ? s * 0.55 : s * 0.85, 0, 7);
  }
  const ink = INK[INKS[sort]], open = sort === SORT["no-op write"] || sort === SORT["GitHub event"] || sort === SORT["object change"];
  const lines = sort === SORT.violation || sort === SORT.lost || sort === SORT.log;
  p.lineWidth = lines ? (sort === SORT.violation ? 3 : 2) : 1.5;
  if (lines || open) {
    if (open) { p.fillStyle = INK.ground; p.fill(); }
    p.strokeStyle = bad && sort === SORT.log ? INK.bad : ink;
    p.stroke();
  } else {
    p.fillStyle = ink;
    p.fill();
  }
  // What went wrong has a ring around it.
  if (bad && !lines) {
    p.beginPath();
    p.arc(x, y, s + 2.5, 0, 7);
    p.lineWidth = 1.5;
    p.strokeStyle = INK.bad;
    p.stroke();
  }
}

function fit(p, text, room) {
  if (room < 14) return "";
  if (p.measureText(text).width <= room) return text;
  let lo = 0, hi = Math.min(text.length, Math.ceil(room / 3));
  while (lo < hi) {
    const mid = (lo + hi + 1) >>> 1;
    if (p.measureText(text.slice(0, mid) + "…").width <= room) lo = mid; else hi = mid - 1;
  }
  return lo < 3 ? "" : text.slice(0, lo) + "…";
}
/** A name whose end tells more than its middle. */
function fitName(p, text, room) {
  if (p.measureText(text).width <= room) return text;
  for (let tail = 12; tail >= 5; tail--) {
    for (let head = text.length - tail - 1; head > 2; head--) {
      const short = text.slice(0, head) + "…" + text.slice(-tail);
      if (p.measureText(short).width <= room) return short;
    }
  }
  return fit(p, text, room);
}

function draw() {
  const p = pen, { width, height } = VIEW;
  p.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  p.fillStyle = INK.ground;
  p.fillRect(0, 0, width, height);
  p.font = FONT;
  p.textBaseline = "middle";
  const rows = visibleRows();
  p.save();
  p.beginPath();
  p.rect(0, AXIS, width, height - AXIS);
  p.clip();
  for (const row of rows) drawGround(p, row);
  p.save();
  p.beginPath();
  p.rect(NAMES, AXIS, width - NAMES, height - AXIS);
  p.clip();
  drawBands(p);
  for (const row of rows) if (row.lane !== undefined) drawBars(p, row);
  drawFindings(p);
  const dropped = drawCalls(p);
  drawChain(p);
  for (const row of rows) drawEvents(p, row);
  p.restore();
  for (const row of rows) drawName(p, row);
  p.restore();
  drawAxis(p);
  drawScroll(p);
  if (VIEW.box) {
    p.fillStyle = INK.select + "33";
    p.fillRect(Math.min(...VIEW.box), AXIS, Math.abs(VIEW.box[1] - VIEW.box[0]), height - AXIS);
  }
  drawOverview();
  return dropped;
}

function visibleRows() {
  const out = [];
  for (const row of VIEW.rows) {
    const y = AXIS + row.y - VIEW.top;
    if (y > VIEW.height) break;
    if (y + row.h > AXIS) out.push(row);
  }
  return out;
}

function drawGround(p, row) {
  const y = AXIS + row.y - VIEW.top;
  if (row.lane === undefined) {
    p.fillStyle = INK.raised;
    p.fillRect(0, y, VIEW.width, row.h);
  } else {
    p.fillStyle = INK.line;
    p.fillRect(0, y + row.h - 1, VIEW.width, 1);
  }
}

function drawName(p, row) {
  const y = AXIS + row.y - VIEW.top;
  p.fillStyle = row.lane === undefined ? INK.raised : INK.ground;
  p.fillRect(0, y, NAMES - 1, row.h - (row.lane === undefined ? 0 : 1));
  p.fillStyle = INK.line;
  p.fillRect(NAMES - 1, y, 1, row.h);
  if (row.lane === undefined) {
    p.font = "600 " + FONT;
    p.fillStyle = INK.text;
    p.fillText(fit(p, (row.closed ? "▸ " : "▾ ") + GROUPS[row.group].name + "  (" + row.lanes + ")", NAMES - 14), 6, y + row.h / 2);
    p.font = FONT;
    return;
  }
  const active = VIEW.selected >= 0 && (EV.lane[VIEW.selected] === row.lane || EV.to[VIEW.selected] === row.lane);
  p.fillStyle = active ? INK.select : INK.text;
  p.fillText(fitName(p, laneName(row.lane), NAMES - 26), 16, y + row.h / 2);
}

function drawBands(p) {
  for (const band of RUN.bands) {
    const a = Math.max(NAMES, xOf(placeOf(band.from))), b = xOf(placeOf(band.to));
    if (b < NAMES || a > VIEW.width) continue;
    p.globalAlpha = 0.05;
    p.fillStyle = INK.fault;
    p.fillRect(a, AXIS, Math.max(1, b - a), VIEW.height);
    p.globalAlpha = 0.06;
    p.fillStyle = hatch(p, INK.fault);
    p.fillRect(a, AXIS, Math.max(1, b - a), VIEW.height);
    p.globalAlpha = 0.55;
    p.fillStyle = INK.fault;
    p.fillRect(a, AXIS, 1, VIEW.height);
    p.fillRect(b, AXIS, 1, VIEW.height);
    p.globalAlpha = 1;
  }
}

function drawBars(p, row) {
  const from = BARS[row.lane], to = BARS[row.lane + 1];
  if (from === to) return;
  const y = AXIS + row.y - VIEW.top + 18, h = 11;
  let n = lowerBound(SCALE.barFrom, VIEW.from, from, to);
  n = Math.max(from, n - 8);
  let painted = -1;
  p.font = '9.5px system-ui, "DejaVu Sans", sans-serif';
  for (; n < to && SCALE.barFrom[n] < VIEW.to; n++) {
    const a = Math.max(NAMES - 2, xOf(SCALE.barFrom[n])), b = Math.min(VIEW.width + 2, xOf(SCALE.barTo[n]));
    if (b < NAMES || b - a < 0.5 && Math.floor(a) === painted) continue;
    painted = Math.floor(a);
    const tone = RUN.bars[n][4], w = Math.max(1, b - a);
    p.fillStyle = INK.tones[tone];
    p.fillRect(a, y, w, h);
    if (tone === 5 || tone === 6) {
      p.globalAlpha = 0.35;
      p.fillStyle = hatch(p, tone === 5 ? INK.bad : INK.accent);
      p.fillRect(a, y, w, h);
      p.globalAlpha = 1;
    }
    if (w > 4) {
      p.fillStyle = INK.faint;
      p.fillRect(a, y, 1, h);
    }
    const text = fit(p, STRINGS[RUN.bars[n][3]], w - 8);
    if (text) {
      p.fillStyle = INK.text;
      p.fillText(text, a + 4, y + h / 2 + 0.5);
    }
  }
  p.font = FONT;
}

function drawFindings(p) {
  for (const finding of RUN.findings) {
    const place = placeOf(finding.at), x = xOf(place), lane = finding.to - 1;
    if (finding.since !== null && lane >= 0 && yOf(lane) > 0) {
      const a = Math.max(NAMES, xOf(placeOf(finding.since)));
      p.fillStyle = INK.bad;
      p.globalAlpha = 0.75;
      p.fillRect(a, yOf(lane) + 6, Math.max(0, x - a), 1.5);
      p.globalAlpha = 1;
    }
    if (x < NAMES - 2 || x > VIEW.width + 2) continue;
    p.strokeStyle = INK.bad;
    const chosen = finding.event - 1 === CHAIN.end;
    p.lineWidth = chosen ? 2 : 1;
    p.globalAlpha = chosen ? 1 : 0.45;
    p.setLineDash([5, 3]);
    p.beginPath();
    p.moveTo(x, AXIS);
    p.lineTo(x, VIEW.height);
    p.stroke();
    p.setLineDash([]);
    p.globalAlpha = 1;
  }
}

function arrow(p, x1, y1, x2, y2, head) {
  p.beginPath();
  p.moveTo(x1, y1);
  p.lineTo(x2, y2);
  p.stroke();
  const long = Math.hypot(x2 - x1, y2 - y1);
  if (long < 10 || !head) return;
  const ux = (x2 - x1) / long, uy = (y2 - y1) / long;
  p.beginPath();
  p.moveTo(x2, y2);
  p.lineTo(x2 - ux * head - uy * head * 0.45, y2 - uy * head + ux * head * 0.45);
  p.lineTo(x2 - ux * head + uy * head * 0.45, y2 - uy * head - ux * head * 0.45);
  p.closePath();
  p.fillStyle = p.strokeStyle;
  p.fill();
}

/** Requests (full lines) and replies (dashed) between lanes; the number of calls that were too many to draw. */
function drawCalls(p) {
  const t0 = timeOf(VIEW.from), t1 = timeOf(VIEW.to);
  const lo = lowerBound(CALLS.last, t0), hi = lowerBound(CALLS.left, t1);
  let n = 0;
  for (let c = lo; c < hi; c++) if (SEEN.event[CALLS.event[c]]) n++;
  const all = n <= ARROWS;
  for (let c = lo; c < hi; c++) {
    const e = CALLS.event[c];
    if (!SEEN.event[e] || !all && e !== VIEW.selected && !CHAIN.told.has(e)) continue;
    drawCall(p, c, e, n > 120 ? 0.22 : 0.5);
  }
  return all ? 0 : n;
}

function drawCall(p, c, e, faint) {
  const told = CHAIN.told.has(e), picked = e === VIEW.selected || e === VIEW.hover;
  const from = yOf(CALLS.lane[c]);
  if (!(from === from)) return;
  const x = xOf(SCALE.event[e]), left = xOf(SCALE.left[c]), arrived = xOf(SCALE.arrived[c]), back = xOf(SCALE.back[c]);
  if (Math.max(x, left, back || 0) < NAMES || Math.min(x, left) > VIEW.width) return;
  const target = CALLS.to[c] >= 0 ? yOf(CALLS.to[c]) : NaN, lost = CALLS.lost[c] > 0;
  p.strokeStyle = lost ? INK.bad : picked ? INK.select : INK[INKS[EV.sort[e]]];
  p.lineWidth = picked || told ? 1.8 : 1;
  p.globalAlpha = picked || told ? 1 : faint;
  // The time that the caller waits, on its own lane.
  const end = back === back ? back : x;
  if (end - left > 1) {
    p.beginPath();
    p.moveTo(left, from);
    p.lineTo(end, from);
    p.stroke();
  }
  if (target === target && target !== from) {
    const there = arrived === arrived ? arrived : x;
    arrow(p, left, from, there, target, 6);
    if (x - there > 2) arrow(p, there, target, x, target, 0);
    if (back === back && !lost) {
      p.setLineDash([3, 3]);
      arrow(p, x, target, back, from, 6);
      p.setLineDash([]);
    }
  }
  if (lost) {
    const mx = target === target ? (x + (back === back ? back : x)) / 2 : x, my = target === target ? (from + target) / 2 : from;
    mark(p, SORT.lost, mx, my, 4, false);
  }
  p.globalAlpha = 1;
}

/** The told part of the causal chain: thick lines from each event to the one that followed. */
function drawChain(p) {
  const chain = CHAIN.events.slice(-CHAIN.most);
  p.strokeStyle = INK.accent;
  p.lineWidth = 2.6;
  for (let n = 1; n < chain.length; n++) {
    const a = chain[n - 1], b = chain[n], x1 = xOf(SCALE.event[a]), x2 = xOf(SCALE.event[b]);
    if (x2 < NAMES || x1 > VIEW.width) continue;
    const y1 = yOf(EV.lane[a]), y2 = yOf(EV.lane[b]);
    if (y1 === y1 && y2 === y2) arrow(p, x1, y1, x2, y2, 8);
  }
}

function drawEvents(p, row) {
  if (row.lane === undefined) {
    const all = SEEN.groups[row.group];
    if (row.closed) drawTicks(p, all, boundAt(VIEW.from, 0, all.length, all), boundAt(VIEW.to, 0, all.length, all), AXIS + row.y - VIEW.top + 3, row.h - 6);
    return;
  }
  const [lo, hi] = inWindow(row.lane), y = yOf(row.lane);
  if (hi - lo > plotWidth() / 2.5) {
    drawTicks(p, SEEN.list, lo, hi, y - 6, 12);
    for (const e of CHAIN.told) if (EV.lane[e] === row.lane || EV.to[e] === row.lane) drawEvent(p, e, row.lane, y);
    return;
  }
  // Texts stand where there is room for them before the next mark; marks of the chain are drawn last.
  let end = VIEW.width;
  for (let k = hi - 1; k >= lo; k--) {
    const e = SEEN.list[k], x = xOf(SCALE.event[e]);
    const room = end - x - 16;
    if (room > 26) {
      const text = fit(p, labelOf(e, row.lane), room);
      if (text) {
        const told = CHAIN.told.has(e), w = p.measureText(text).width;
        p.globalAlpha = 0.93;
        p.fillStyle = INK.ground;
        p.fillRect(x + 7, y - 7, w + 4, 14);
        p.globalAlpha = 1;
        p.fillStyle = EV.bad[e] ? INK.bad : told ? INK.text : INK.faint;
        p.fillText(text, x + 9, y + 0.5);
      }
    }
    if (x < end) end = x;
  }
  for (let k = lo; k < hi; k++) drawEvent(p, SEEN.list[k], row.lane, y);
}

/** What stands beside a mark; on the lane that a call is about only what it did there. */
function labelOf(e, lane) {
  const sort = EV.sort[e];
  if (EV.lane[e] === lane || sort !== SORT.write && sort !== SORT["no-op write"] && sort !== SORT.read) return textOf(e);
  return textOf(e).split(" ", 1)[0] + (EV.bad[e] ? " refused" : sort === SORT["no-op write"] ? ", no change" : "");
}

function drawEvent(p, e, lane, y) {
  const x = xOf(SCALE.event[e]);
  if (x < NAMES - 8 || x > VIEW.width + 8) return;
  const told = CHAIN.told.has(e) && EV.lane[e] === lane;
  if (told) {
    p.beginPath();
    p.arc(x, y, 8, 0, 7);
    p.fillStyle = INK.ground;
    p.fill();
    p.lineWidth = 2;
    p.strokeStyle = INK.accent;
    p.stroke();
  }
  mark(p, EV.sort[e], x, y, EV.lane[e] === lane ? 4.2 : 3, EV.bad[e] && !told);
  if (e === VIEW.selected || e === VIEW.hover) {
    p.lineWidth = 2;
    p.strokeStyle = INK.select;
    p.strokeRect(x - 9, y - 9, 18, 18);
  }
}

/** Many events: one stroke for each column of pixels that has any, taller for more. */
function drawTicks(p, list, lo, hi, y, h) {
  const per = (VIEW.to - VIEW.from) / plotWidth();
  for (let k = lo; k < hi;) {
    const x = Math.floor(xOf(SCALE.event[list[k]]));
    const next = Math.max(k + 1, gallop(list, VIEW.from + (x + 1 - NAMES) * per, k, hi));
    const share = Math.min(1, 0.35 + Math.log2(next - k + 1) / 8);
    let bad = false;
    for (let m = k; m < next && m < k + 60; m++) if (EV.bad[list[m]]) { bad = true; break; }
    p.fillStyle = bad ? INK.bad : INK[INKS[EV.sort[list[k]]]];
    p.fillRect(x, y + h * (1 - share) / 2, 1, h * share);
    k = next;
  }
}
function gallop(list, place, k, hi) {
  let step = 1;
  while (k + step < hi && SCALE.event[list[k + step]] < place) step *= 2;
  return boundAt(place, k + (step >> 1), Math.min(hi, k + step + 1), list);
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 15e6, 3e7, 6e7, 12e7, 3e8, 6e8, 12e8, 18e8, 36e8, 72e8, 216e8, 864e8];
function drawAxis(p) {
  p.fillStyle = INK.raised;
  p.fillRect(0, 0, VIEW.width, AXIS);
  p.fillStyle = INK.line;
  p.fillRect(0, AXIS - 1, VIEW.width, 1);
  p.fillStyle = INK.faint;
  p.fillText(WANT.even ? "time (idle time shortened)" : "time", 16, AXIS / 2);
  const tick = (x, text, end) => {
    p.fillStyle = INK.line;
    p.fillRect(x, AXIS - 6, 1, VIEW.height);
    p.fillStyle = INK.text;
    if (x + 4 + p.measureText(text).width < end) p.fillText(text, x + 4, AXIS / 2);
  };
  p.save();
  p.beginPath();
  p.rect(NAMES, 0, VIEW.width, AXIS);
  p.clip();
  if (WANT.even) {
    for (let x = NAMES; x < VIEW.width - 30; x += 118) {
      const t = timeOf(placeAt(x));
      if (t >= 0) tick(x, clock(t), x + 118);
    }
  } else {
    const per = (VIEW.to - VIEW.from) / plotWidth(), step = STEPS.find(s => s / per >= 96) || 864e8;
    const digits = step >= 1e6 ? 0 : step >= 1e3 ? 3 : 6;
    for (let t = Math.max(0, Math.ceil(VIEW.from / step) * step); t <= VIEW.to; t += step) tick(xOf(t), clock(t, digits), VIEW.width + 90);
  }
  p.restore();
}

function drawScroll(p) {
  const room = VIEW.height - AXIS;
  if (VIEW.tall <= room) return;
  const h = Math.max(24, room * room / VIEW.tall), y = AXIS + VIEW.top / VIEW.tall * room;
  p.fillStyle = INK.faint;
  p.globalAlpha = 0.5;
  p.fillRect(VIEW.width - 6, Math.min(y, VIEW.height - h), 5, h);
  p.globalAlpha = 1;
}

const DENSITY = { of: null, width: 0, counts: null, most: 1 };
const overX = place => (place + SCALE.end * 0.01) / (SCALE.end * 1.02) * DENSITY.width;
/** The whole run: how much happened when, faults, violations, and the window. */
function drawOverview() {
  const p = wide, h = 44, w = VIEW.width;
  if (DENSITY.of !== SEEN.list || DENSITY.width !== w) {
    const counts = new Uint32Array(Math.ceil(w) + 1);
    Object.assign(DENSITY, { of: SEEN.list, width: w, counts, most: 1 });
    for (let i = 0; i < N; i++) if (SEEN.event[i]) counts[Math.max(0, Math.min(counts.length - 1, Math.floor(overX(SCALE.event[i]))))]++;
    for (const c of counts) DENSITY.most = Math.max(DENSITY.most, c);
  }
  p.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  p.fillStyle = INK.ground;
  p.fillRect(0, 0, w, h);
  for (const band of RUN.bands) {
    const a = overX(placeOf(band.from));
    p.fillStyle = hatch(p, INK.fault);
    p.globalAlpha = 0.4;
    p.fillRect(a, 2, Math.max(1, overX(placeOf(band.to)) - a), h - 4);
    p.globalAlpha = 1;
  }
  p.fillStyle = INK.faint;
  DENSITY.counts.forEach((c, x) => {
    if (!c) return;
    const tall = Math.max(1.5, Math.log2(1 + c) / Math.log2(1 + DENSITY.most) * (h - 12));
    p.fillRect(x, h - 2 - tall, 1, tall);
  });
  p.fillStyle = INK.accent;
  for (const e of CHAIN.told) p.fillRect(overX(SCALE.event[e]), h - 8, 1.5, 6);
  for (const finding of RUN.findings) mark(p, SORT.violation, overX(placeOf(finding.at)), 7, 3.5, false);
  const a = overX(VIEW.from), b = overX(VIEW.to);
  p.strokeStyle = INK.select;
  p.lineWidth = 2;
  p.fillStyle = INK.select + "1c";
  p.fillRect(a, 1, Math.max(3, b - a), h - 2);
  p.strokeRect(a, 1, Math.max(3, b - a), h - 2);
}
