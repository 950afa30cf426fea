// What the server does now: a snapshot each second.
import {html, useEffect, useLayoutEffect, useState} from "../vendor/preact.js";
import {ApiError, getStream} from "../lib/api.js";
import {Chart, colour} from "../lib/chart.js";
import {CascadeChoice} from "../lib/cascades.js";
import {Loading, Trouble} from "../lib/states.js";
import {UNITS, count, percent, score, seconds} from "../lib/format.js";

const rate = ({asked, deferred}) => (asked ? deferred / asked : null);
const WAIT_S = 2;
const isClosed = error => [401, 403].includes(error.status);

/** Reads streams one after another, since each ends by itself, until it is stopped. */
function follow(onSnapshot, onTrouble) {
  const stopping = new AbortController();
  (async () => {
    while (!stopping.signal.aborted) {
      try {
        await getStream("page/live", snapshot => { onTrouble(null); onSnapshot(snapshot); }, stopping.signal);
      } catch (error) {
        if (stopping.signal.aborted) return;
        onTrouble(error instanceof ApiError ? error : new ApiError("broken", error.message));
        if (isClosed(error)) return;
        await new Promise(resolve => { setTimeout(resolve, 1000 * (error.retryAfter ?? WAIT_S)); });
      }
    }
  })();
  return () => stopping.abort();
}

/** Whether the tab is hidden: then nobody watches, and a place is free for somebody who does. */
function useHidden() {
  const [hidden, setHidden] = useState(document.hidden);
  useLayoutEffect(() => {
    const turned = () => setHidden(document.hidden);
    document.addEventListener("visibilitychange", turned);
    return () => document.removeEventListener("visibilitychange", turned);
  }, []);
  return hidden;
}

function Tile({name, value, about, tone = ""}) {
  return html`<div class=${`tile ${tone}`}><dt>${name}</dt><dd>${value}<small class="soft">${about}</small></dd></div>`;
}

function Tiles({cascade}) {
  const recent = cascade.series.slice(-10), perSecond = recent.reduce((sum, [asked]) => sum + asked, 0) / recent.length;
  const unit = Object.keys(UNITS).find(unit => cascade.cost[unit]?.[1] > 0), [spent, alone] = cascade.cost[unit] ?? [];
  const expected = cascade.expected_deferral, now = rate(cascade);
  const drifts = expected && now !== null && cascade.asked >= 50 && (now < expected[1] || now > expected[2]);
  const {p50, p95, p99} = cascade.latency_s;
  return html`<dl class="tiles">
    <${Tile} name="Requests" value=${`${perSecond.toFixed(1)}/s`} about=${`in the last 10 s; ${count(cascade.asked)} in 5 minutes${cascade.failed ? `, ${count(cascade.failed)} failed` : ""}`} tone=${cascade.failed ? "warn" : ""} />
    <${Tile} name="Deferred" value=${percent(now)} about=${expected ? `${drifts ? "not as calibrated:" : "calibrated for"} ${percent(expected[0])} (${percent(expected[1])} to ${percent(expected[2])})` : cascade.single ? "a single model decides nothing" : "not calibrated"} tone=${drifts ? "warn" : ""} />
    <${Tile} name="Latency" value=${seconds(p50)} about=${`median · 95%: ${seconds(p95)} · 99%: ${seconds(p99)}`} />
    <${Tile} name="Cost" value=${alone ? percent(spent / alone) : "–"} about=${alone ? `of the target's: ${UNITS[unit].show(spent)}, not ${UNITS[unit].show(alone)}` : cascade.single ? "a single model has no target" : "nothing yet"} />
  </dl>`;
}

/** Steps between the marks of an axis: there are no half requests. */
export const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5].flatMap(ten => [ten, 2 * ten, 5 * ten]);

function Requests({cascade}) {
  const times = cascade.series.map((_, index) => index - cascade.series.length);
  const data = [times, cascade.series.map(([asked]) => asked), cascade.series.map(([, deferred]) => deferred), cascade.series.map(([, , failed]) => failed)];
  const line = (name, label) => ({label, stroke: () => colour(name), width: 2, points: {show: false}, fill: () => `color-mix(in srgb, ${colour(name)} 12%, transparent)`});
  return html`<section class="panel"><h2>Requests a second</h2><p class="soft small">in the last two minutes</p><p class="keys"><span class="k-brand">all</span><span class="k-defer">deferred</span><span class="k-fault">failed</span></p>
    <${Chart} data=${data} shape=${cascade.id} label="Requests a second in the last two minutes" scales=${{x: {time: false}, y: {range: (_, low, high) => [0, Math.max(1, high ?? 1)]}}} series=${[{}, line("brand", "all"), line("defer", "deferred"), line("fault", "failed")]} axes=${[{values: (_, ticks) => ticks.map(tick => (tick ? `${tick} s` : "now"))}, {size: 36, incrs: WHOLE}]} /></section>`;
}

/** Each number as a share of their sum; zeros of zeros. */
function shares(numbers) {
  const sum = numbers.reduce((total, each) => total + each, 0);
  return numbers.map(each => (sum ? each / sum : 0));
}

function Agreements({cascade}) {
  const {low, high, counts} = cascade.agreements, [threshold] = cascade.thresholds, requests = counts.reduce((sum, each) => sum + each, 0);
  const now = shares(counts), calibrated = cascade.calibrated_agreements && shares(cascade.calibrated_agreements);
  const most = Math.max(...now, ...(calibrated ?? []), 1e-9);
  const at = value => Math.max(0, Math.min(1, (value - low) / (high - low || 1))), begin = index => low + (index / counts.length) * (high - low);
  return html`<section class="panel"><h2>Agreement</h2><p class="soft small">of the first tier's answers; accepted from the threshold ${score(threshold)} on</p>
    ${calibrated && html`<p class="keys"><span class="k-calibrated">when calibrated</span></p>`}
    ${threshold === undefined ? html`<p class="soft">A single model: nothing to agree on.</p>` : html`<div class="histogram" role="img" aria-label=${`Histogram of the agreement; ${count(requests)} requests${calibrated ? ", over that of the calibration" : ""}`}>
      ${counts.map((number, index) => html`<i key=${index} class=${begin(index + .5) >= threshold ? "accept" : "defer"} style=${{"--share": now[index] / most}} title=${`${score(begin(index))}: ${number}${calibrated ? `, ${percent(now[index])}; when calibrated ${percent(calibrated[index])}` : ""}`}>${calibrated?.[index] ? html`<s style=${{"--share": calibrated[index] / most}}></s>` : null}</i>`)}
      <b style=${{"--at": at(threshold)}}></b></div>
    <div class="ends soft" aria-hidden="true"><span>${score(low)}</span><span>${score(high)}</span></div>`}
    <p class="soft small">Thresholds in force: ${cascade.thresholds.map(score).join(", ") || "none"}${cascade.calibration ? `, calibration ${cascade.calibration}` : ""}.</p></section>`;
}

/** Of a model that some routers leave out, or that no replica answers for. */
function State({replicas, out, routers}) {
  if (out) return html`<span class="badge defer">left out${routers > 1 ? ` by ${out} of ${routers} routers` : ""}</span>`;
  return replicas === 0 ? html`<span class="badge defer">no replica</span>` : html`<span class="badge accept">answers</span>`;
}

function Models({models, routers}) {
  return html`<section class="panel wide"><h2>Models</h2><div class="scroll" tabindex="0" role="region" aria-label="Models"><table class="data"><thead><tr><th scope="col">model</th><th scope="col">replicas</th><th scope="col">requests</th><th scope="col">state</th></tr></thead>
    <tbody>${models.map(({name, replicas, in_progress: busy, slots, left_out: out}) => html`<tr key=${name}><th scope="row">${name}</th><td>${replicas ?? "–"}</td><td><span class="meter" style=${{"--share": Math.min(1, busy / slots)}}></span> ${busy} of ${slots}</td><td><${State} replicas=${replicas} out=${out} routers=${routers} /></td></tr>`)}</tbody></table></div></section>`;
}

const time = at => new Date(at * 1000).toLocaleTimeString();

function Recent({decisions, texts}) {
  return html`<section class="panel wide"><h2>Latest decisions</h2><p class="soft small">of all cascades and models, whichever is chosen above</p>${decisions.length === 0 ? html`<p class="soft">None yet. Ask something in the <a href="#/playground">playground</a>.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Latest decisions"><table class="data"><thead><tr><th scope="col">time</th><th scope="col">cascade</th><th scope="col">decision</th><th scope="col">answered by</th><th scope="col">agreement</th><th scope="col">took</th>${texts && html`<th scope="col">asked and answered</th>`}</tr></thead>
    <tbody>${decisions.map(each => html`<tr key=${`${each.at} ${each.router}`}><th scope="row">${time(each.at)}</th><td>${each.id}</td><td>${each.answered_by === null ? html`<span class="badge">no answer</span>` : each.agreement === null && !each.deferred ? html`<span class="badge">${each.cached ? "cached" : "answered"}</span>` : html`<span class=${`badge ${each.deferred ? "defer" : "accept"}`}>${each.deferred ? "deferred" : "accepted"}</span>`} <span class="soft">${each.reason.replaceAll("_", " ")}${each.shed && each.reason !== "shed" ? ", under pressure" : ""}</span></td><td>${each.answered_by ?? "–"}</td><td>${score(each.agreement)}</td><td>${seconds(each.total_s)}</td>${texts && html`<td class="texts">${each.texts?.prompt}<br /><span class="soft">${each.texts?.answer ?? "no answer"}</span></td>`}</tr>`)}</tbody></table></div>`}</section>`;
}

/** Which routers the figures are of. */
function scope({router, routers, running_routers: running, others_unreachable: alone}) {
  if (alone) return `this router (${router}) alone: the StateStore, through which routers exchange their figures, cannot be reached for the moment`;
  if (running > routers.length) return `${routers.length} of ${running} routers (${routers.join(", ")}); the others have not reported yet`;
  return routers.length > 1 ? `${routers.length} routers (${routers.join(", ")})` : `the router (${router})`;
}

const TITLES = {401: "This server asks for a key", 403: "For operators"};
const titleOf = ({status}) => TITLES[status] ?? (status ? "The figures cannot be shown" : "The connection is lost");

export default function Live({generation, wantKey}) {
  const [snapshot, setSnapshot] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [chosen, setChosen] = useState("");
  const [tries, setTries] = useState(0);
  const hidden = useHidden();
  useEffect(() => (hidden ? undefined : follow(setSnapshot, setTrouble)), [generation, tries, hidden]);
  const cascade = snapshot?.cascades.find(({id}) => id === chosen) ?? snapshot?.cascades[0];
  return html`<div class="live">
    <div class="head"><h1>Live</h1>${snapshot && html`<span class=${`state ${snapshot.ready ? "fine" : "off"}`}>${snapshot.ready ? "every cascade can answer" : `waiting for ${(snapshot.waiting_for ?? []).join(", ")}`}</span>`}
      ${snapshot?.others_unreachable && html`<span class="state off">one router's figures: the others' cannot be fetched</span>`}
      ${cascade?.shed?.active && html`<span class="state off">under pressure (${percent(cascade.shed.pressure)} of the target's queue): ${cascade.shed.by === "members" ? "members answer alone" : "lower thresholds decide"}</span>`}
      ${cascade && html`<${CascadeChoice} cascades=${snapshot.cascades} chosen=${cascade.id} onChoose=${setChosen} />`}</div>
    ${trouble && html`<${Trouble} title=${titleOf(trouble)} error=${trouble} wantKey=${wantKey} onRetry=${isClosed(trouble) && (() => setTries(tries + 1))}><p class="soft">${!isClosed(trouble) && "Trying again …"} ${snapshot && `The figures are those of ${time(snapshot.at)}.`}</p></>`}
    ${cascade ? html`<${Tiles} cascade=${cascade} />
      <div class="panels"><${Requests} cascade=${cascade} /><${Agreements} cascade=${cascade} /><${Models} models=${snapshot.models} routers=${snapshot.routers.length} /><${Recent} decisions=${snapshot.recent} texts=${snapshot.texts} /></div>
      <p class="soft small">The last five minutes, ${snapshot.texts ? "with the beginnings of texts (router.page_texts)" : "without any text"}, of ${scope(snapshot)}.</p>` : !trouble && html`<${Loading} />`}
  </div>`;
}
