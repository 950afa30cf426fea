// A cascade of more than two tiers: its Pareto front, the thresholds worth having, from the cheapest on.
import {html, useMemo, useState} from "../../vendor/preact.js";
import {numeric, percent, score} from "../../lib/format.js";
import {Along, line} from "./along.js";
import {UNITS, interval, targetQuality} from "./curves.js";

const threshold = value => ({"-Infinity": "accepts all", Infinity: "defers all"})[numeric(value)] ?? score(value);
const nameOf = ({signal, alone}) => (alone ? `${alone} alone` : signal.replaceAll("->", "→"));

function Facts({cascade, point, target}) {
  const {quality, thresholds, rate, cost, worse, alone} = point;
  return html`<div role="status"><dl class="facts">
    <div class="wide"><dt>${alone ? "No cascade" : "Scored by"}</dt><dd>${nameOf(point)}</dd></div>
    ${thresholds.map((value, number) => html`<div><dt>Threshold of tier ${number + 1}</dt><dd>${threshold(value)}</dd></div>`)}
    ${!alone && html`<div><dt>Deferred by tier 1</dt><dd>${percent(rate)}</dd></div>`}
    <div><dt>Quality</dt><dd>${score(quality)}</dd></div>
    <div><dt>Beside the target</dt><dd>${quality >= target ? "+" : "−"}${score(Math.abs(quality - target))}</dd></div>
    <div><dt>${UNITS[cascade.front.unit].split(",")[0]}</dt><dd>${percent(cost)} <small class="soft">of the target's</small></dd></div>
    ${worse && html`<div class="wide"><dt>Accepted by any tier, though the target's answer is better</dt><dd>${interval(worse)}</dd></div>`}
  </dl></div>`;
}

export function Front({cascade, shape, choice, about}) {
  const points = useMemo(() => cascade.front.points.toSorted((a, b) => a.cost - b.cost), [cascade]), target = targetQuality(cascade);
  const [at, setAt] = useState(Math.floor(points.length / 2));
  const data = useMemo(() => [points.map(({cost}) => cost), points.map(({quality}) => quality), points.map(() => target)], [points, at]); // a move draws the chart anew
  const point = points[at];
  return html`<div class="choices">${choice}</div>${about}<p class="soft small">Up: quality. Across: ${UNITS[cascade.front.unit]}.</p>
    <${Along} data=${data} shape=${shape} label=${`Quality against ${UNITS[cascade.front.unit]}`} at=${at} onMove=${setAt}
      says=${`${nameOf(point)}: ${percent(point.cost)} of the target's cost, quality ${score(point.quality)}`}
      series=${[{...line("brand", 2), points: {show: true, size: 5}}, line("soft", 1.5, [2, 4])]} />
    <p class="keys"><span class="k-brand">the thresholds worth having</span><span class="k-soft">dotted: the target alone</span></p>
    <${Facts} cascade=${cascade} point=${point} target=${target} />
    <p class="soft small">Chosen on other requests than those that these numbers are of.</p>`;
}
