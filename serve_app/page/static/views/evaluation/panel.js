// One cascade of a report: its curve, a threshold that can be moved along it, and requests on both sides.
import {html, useMemo, useState} from "../../vendor/preact.js";
import {percent, score} from "../../lib/format.js";
import {Along, BAND, line} from "./along.js";
import {UNITS, acceptedNear, along, estimate, interval, nameOf, ordered} from "./curves.js";
import {Front} from "./front.js";
import {Examples} from "./requests.js";

function Facts({row, at, target, threshold}) {
  const curve = row.curve, near = acceptedNear(row, curve.rate[at]), quality = curve.quality[at];
  const costs = Object.keys(UNITS).filter(unit => unit !== "rate" && curve[unit]?.[at] !== null && curve[unit]?.[at] !== undefined);
  return html`<div role="status"><dl class="facts">
    <div><dt>Threshold</dt><dd>${threshold === null ? "none leads here" : score(threshold)}</dd></div>
    <div><dt>Deferred</dt><dd>${percent(curve.rate[at])}</dd></div>
    <div><dt>Quality</dt><dd>${score(quality)} <small class="soft">${score(curve.quality_low?.[at])} to ${score(curve.quality_high?.[at])}</small></dd></div>
    <div><dt>Beside the target</dt><dd>${quality >= target ? "+" : "−"}${score(Math.abs(quality - target))}</dd></div>
    ${costs.map(unit => html`<div><dt>${UNITS[unit].split(",")[0]}</dt><dd>${percent(curve[unit][at])} <small class="soft">of the target's</small></dd></div>`)}
    ${near && html`<div class="wide"><dt>Accepted, though the target's answer is better</dt><dd>${near.worse ? interval(near.worse) : "–"} <small class="soft">of the accepted, where ${percent(near.rate)} are deferred</small></dd></div>`}
  </dl></div>`;
}

/** The row to begin with: by the signal whose requests are listed, so that their sides show; beside itself another one. */
function beginning(rows, signal, beside) {
  const compared = rows.filter(({kind, agreement}) => kind === "semantic" && agreement === "max");
  const first = compared.find(row => row.signal === signal) ?? compared[0] ?? rows[0];
  return beside ? compared.find(row => row !== first) ?? rows.find(row => row !== first) ?? first : first;
}

/** Every way to score the answers of a cascade of two tiers, and its requests. */
function Curve({cascade, beside, shape, choice, about}) {
  const [index, setIndex] = useState(null);
  const [wanted, setUnit] = useState("rate");
  const rows = cascade.rows, row = rows[index] ?? beginning(rows, cascade.looked_at?.signal, beside);
  const unit = along(row, wanted) ? wanted : "rate"; // another row may not have it
  const target = estimate(cascade.baselines.target), best = cascade.baselines.members?.[cascade.baselines.best_member];
  const {xs, order, of} = useMemo(() => ordered(row, unit), [row, unit]);
  const [place, setPlace] = useState(Math.floor(xs.length / 2));
  const at = Math.min(place, xs.length - 1), point = order[at];
  const data = useMemo(() => [xs, of("quality_low"), of("quality_high"), of("quality"), xs.map(() => target), xs.map(x => (unit === "rate" && best ? estimate(best.quality) + x * (target - estimate(best.quality)) : null))], [xs, target, at]); // a move draws the chart anew
  return html`<div class="choices">${choice}<label>Scored by <select value=${rows.indexOf(row)} onChange=${event => setIndex(Number(event.target.value))}>${rows.map((each, position) => html`<option value=${position}>${nameOf(each)}</option>`)}</select></label>
      <label>Against <select value=${unit} onChange=${event => setUnit(event.target.value)}>${Object.entries(UNITS).filter(([each]) => along(row, each)).map(([each, words]) => html`<option value=${each}>${words}</option>`)}</select></label></div>
    ${about}
    <${Along} data=${data} shape=${`${shape}/${rows.indexOf(row)}/${unit}`} label=${`Quality against ${UNITS[unit]}`} at=${at} onMove=${setPlace}
      says=${`${percent(row.curve.rate[point])} deferred, quality ${score(row.curve.quality[point])}`}
      series=${[...BAND.series, line("brand", 2.5), line("soft", 1.5, [2, 4]), line("soft", 1.5, [7, 5])]} bands=${BAND.bands} />
    <p class="keys"><span class="k-brand">the cascade, 95%</span><span class="k-soft">dotted: the target alone</span>${unit === "rate" && best && html`<span class="k-soft">dashed: deferring at random</span>`}</p>
    <${Facts} row=${row} at=${point} target=${target} threshold=${row.curve.threshold[point]} />
    <${Examples} extremes=${cascade.looked_at} target=${cascade.target} threshold=${row.signal === cascade.looked_at?.signal ? row.curve.threshold[point] : null} />`;
}

/** `beside`: whether the same cascade is shown in another panel already. */
export function Panel({pairs, start = 0, number, beside = false}) {
  const [chosen, setChosen] = useState(start);
  const {cascade, group} = pairs[chosen];
  const choice = html`<label>Cascade <select value=${chosen} onChange=${event => setChosen(Number(event.target.value))}>${pairs.map(({name}, each) => html`<option value=${each}>${name}</option>`)}</select></label>`;
  const about = html`<p class="soft small">${cascade.metric} of ${group.test} requests, ${cascade.tiers.map(models => models.join(" + ")).join(" → ")}</p>`;
  return html`<section class="panel evaluation" aria-label=${`Cascade ${number}`}><${cascade.front ? Front : Curve} key=${chosen} cascade=${cascade} shape=${chosen} beside=${beside && chosen === start} choice=${choice} about=${about} /></section>`;
}
