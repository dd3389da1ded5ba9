// What stands beside the picture: the story, the violations, the selected event, the causal chain. Text always goes in as text.
const byId = id => document.getElementById(id);
function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.onclick = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside.filter(part => part !== null && part !== undefined));
  return element;
}

function tellStory() {
  const { head, story } = RUN, name = head.variant ? head.scenario + " + " + head.variant : head.scenario;
  const broken = RUN.findings.length;
  byId("name").append(name + " · " + head.release);
  if (story.verdict) byId("name").append(make("span", { class: "verdict" + (story.verdict.startsWith("fail") ? " bad" : "") }, story.verdict));
  if (broken) byId("name").append(make("span", { class: "verdict bad" }, broken + (broken === 1 ? " violation" : " violations")));
  byId("why").append(story.why);
  const facts = [
    ["seed", head.seed], ["virtual time", clock(RUN.end, 0).slice(2)], ["events", N.toLocaleString("en")], ["ended", head.ending], ["fingerprint", head.fingerprint],
    ["upstream", story.upstream.join(", ")], ["not met", story.reasons.join("; ")], ["still bad at the end", head.pending.slice(0, 3).join("; ") + (head.pending.length > 3 ? " … (" + head.pending.length + ")" : "")],
  ];
  for (const [term, value] of facts) if (value) byId("facts").append(make("div", {}, make("dt", {}, term), make("dd", {}, value)));
  if (story.replay) byId("facts").append(make("div", {}, make("dt", {}, "replay"), make("dd", {}, make("code", {}, story.replay))));
}

function tellFindings() {
  const box = byId("findings");
  box.replaceChildren(make("h2", {}, RUN.findings.length ? "Violations" : "No promise was broken"));
  const list = make("ul");
  RUN.findings.forEach((finding, n) => {
    const current = CHAIN.end === finding.event - 1;
    list.append(make("li", {}, make("button", { class: "pick", "aria-current": current, title: finding.promise, onclick: () => showFinding(n) },
      make("span", { class: "wrong" }, "✗ " + finding.invariant), " ", make("span", { class: "when" }, clock(finding.at)), make("br"),
      finding.about.join(", ") + " " + finding.said)));
  });
  // Many findings of one kind say the same again and again.
  if (RUN.findings.length > 6) {
    list.style.maxHeight = "210px";
    list.style.overflow = "auto";
  }
  box.append(list);
}

function pick(e, extra) {
  return make("button", { class: "pick", "aria-current": e === VIEW.selected, onclick: () => select(e, true) },
    make("span", { class: "when" }, clock(EV.at[e])), " ", make("span", { class: "who" }, laneName(EV.lane[e])), make("br"),
    make("span", { class: EV.bad[e] ? "wrong" : "" }, textOf(e)), extra);
}

function tellChainList() {
  const box = byId("chain");
  const chain = CHAIN.events;
  if (!chain.length) return box.replaceChildren();
  const list = make("ol"), told = chain.slice(-CHAIN.most).reverse();
  told.forEach((e, n) => {
    list.append(make("li", {}, pick(e)));
    const before = told[n + 1];
    if (before !== undefined && EV.at[e] - EV.at[before] >= 1000) list.append(make("li", { class: "gap" }, "↑ " + span(EV.at[e] - EV.at[before]) + " after"));
  });
  box.replaceChildren(make("h2", {}, "Because (newest first)"), list);
  const more = chain.length - told.length;
  if (more > 0) box.append(make("button", { onclick: () => { tellChain(CHAIN.most + 50); refresh(); tellAll(); } }, "earlier: " + Math.min(50, more) + " of " + more + " more"));
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function tellEvent() {
  const box = byId("event"), e = VIEW.selected;
  if (e < 0) return box.replaceChildren();
  const facts = make("dl"), fact = (term, ...value) => facts.append(make("dt", {}, term), make("dd", {}, ...value));
  fact("time", clock(EV.at[e], 6));
  fact("event", "#" + (e + 1) + " · " + SORTS[EV.sort[e]]);
  fact("lane", LANES[EV.lane[e]].name);
  if (EV.to[e] >= 0) fact("about", LANES[EV.to[e]].about || laneName(EV.to[e]));
  const c = CALLS.ofEvent[e];
  if (c >= 0) {
    const after = (t, word) => t === t ? word + " " + span(t - CALLS.left[c]) + " later" : null;
    const way = ["left " + clock(CALLS.left[c], 6), after(CALLS.arrived[c], "arrived"), after(EV.at[e], "answered"), CALLS.lost[c] ? null : after(CALLS.back[c], "reply heard")];
    fact("call", way.filter(Boolean).join(", "));
    if (CALLS.lost[c]) fact("lost", textOf(CALLS.lost[c] - 1) + (CALLS.back[c] === CALLS.back[c] ? "; the caller noticed " + span(CALLS.back[c] - CALLS.left[c]) + " after it had left" : ""));
    else if (!(CALLS.back[c] === CALLS.back[c])) fact("reply", "never heard");
  }
  box.replaceChildren(make("h2", {}, "Event"), make("p", { class: EV.bad[e] ? "wrong" : "" }, textOf(e)), facts);
  const detail = STRINGS[EV.detail[e]] ? JSON.parse(STRINGS[EV.detail[e]]) : null;
  for (const [name, value] of Object.entries(detail || {})) {
    if (name !== "changes") { box.append(make("h2", {}, name), make("pre", { tabindex: 0 }, pretty(value))); continue; }
    const table = make("table");
    for (const [path, before, after] of value) table.append(make("tr", {}, make("td", {}, make("code", {}, path)), make("td", {}, before + " → " + after)));
    box.append(make("h2", {}, "changes"), table);
  }
  if (EV.cause[e] >= 0) box.append(make("h2", {}, "because of"), pick(EV.cause[e]));
  const next = effects(e);
  if (next.length) {
    const list = make("ul");
    next.slice(0, 12).forEach(n => list.append(make("li", {}, pick(n))));
    box.append(make("h2", {}, "what followed" + (next.length > 12 ? " (12 of " + next.length + ")" : "")), list);
  }
  if (CHAIN.end !== e) box.append(make("button", { onclick: () => showChain(e) }, "Show the chain that led here"));
  byId("status").textContent = clock(EV.at[e]) + " " + laneName(EV.lane[e]) + ": " + textOf(e);
}

function tellAll() {
  tellFindings();
  tellEvent();
  tellChainList();
}

function tellSorts() {
  const counts = new Array(SORTS.length).fill(0);
  for (let i = 0; i < N; i++) counts[EV.sort[i]]++;
  SORTS.forEach((name, n) => {
    const box = make("input", { type: "checkbox" });
    box.checked = WANT.sorts.has(n);
    box.onchange = () => { box.checked ? WANT.sorts.add(n) : WANT.sorts.delete(n); changed(); };
    byId("sort-list").append(make("label", {}, box, " ", sign(n), " " + name + " (" + counts[n].toLocaleString("en") + ")"));
    byId("legend").append(make("span", {}, sign(n), " " + name));
  });
  byId("legend").append(make("span", {}, "ring: went wrong"), make("span", {}, "full line: request"), make("span", {}, "dashed: reply"));
}
/** A sort's mark as a small picture. */
function sign(n) {
  const small = make("canvas", { width: 16 * devicePixelRatio, height: 14 * devicePixelRatio, "aria-hidden": "true", style: "width:16px;height:14px" });
  const p = small.getContext("2d");
  p.scale(devicePixelRatio, devicePixelRatio);
  mark(p, n, 8, 7, 4.2, false);
  return small;
}
