// One cascade of a report: its curve, a threshold that can be moved along it, and requests on both sides.
import {html, useMemo, useRef, useState} from "../../vendor/preact.js";
import {Chart, colour} from "../../lib/chart.js";
import {percent, score} from "../../lib/format.js";
import {Examples} from "./requests.js";
import {UNITS, acceptedNear, along, estimate, nameOf, nearest, ordered} from "./curves.js";

const interval = value => (Array.isArray(value) ? `${percent(value[0])} (95%: ${percent(value[1])} to ${percent(value[2])})` : "–");

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

/** `beside`: whether the same cascade is shown in another panel already. */
export function Panel({pairs, start = 0, number, beside = false}) {
  const [chosen, setChosen] = useState(start);
  const [index, setIndex] = useState(null);
  const [wanted, setUnit] = useState("rate");
  const {cascade, group} = pairs[Math.min(chosen, pairs.length - 1)];
  const rows = cascade.rows, row = rows[index] ?? beginning(rows, cascade.looked_at?.signal, beside && chosen === start);
  const unit = along(row, wanted) ? wanted : "rate"; // another row may not have it
  const target = estimate(cascade.baselines.target), best = cascade.baselines.members?.[cascade.baselines.best_member];
  const {xs, order, of} = useMemo(() => ordered(row, unit), [row, unit]);
  const [place, setPlace] = useState(Math.floor(xs.length / 2));
  const at = Math.min(place, xs.length - 1), point = order[at];
  const moved = useRef(at);
  moved.current = at;
  const data = useMemo(() => [xs, of("quality_low"), of("quality_high"), of("quality"), xs.map(() => target), xs.map(x => (unit === "rate" && best ? estimate(best.quality) + x * (target - estimate(best.quality)) : null))], [xs, target, at]); // a move draws the chart anew
  const line = (name, width, dash) => ({stroke: () => colour(name), width, dash, points: {show: false}});
  const band = {stroke: "transparent", points: {show: false}};
  const mark = chart => {
    const x = chart.valToPos(chart.data[0][Math.min(moved.current, chart.data[0].length - 1)], "x", true), {ctx, bbox} = chart;
    ctx.save(); ctx.strokeStyle = colour("ink"); ctx.setLineDash([5, 4]); ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke(); ctx.restore();
  };
  const step = event => {
    const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
    if (by) { event.preventDefault(); setPlace(Math.min(xs.length - 1, Math.max(0, at + by))); }
  };
  return html`<section class="panel evaluation" aria-label=${`Cascade ${number}`}>
    <div class="choices"><label>Cascade <select value=${chosen} onChange=${event => { setChosen(Number(event.target.value)); setIndex(null); }}>${pairs.map(({name}, each) => html`<option value=${each}>${name}</option>`)}</select></label>
      <label>Scored by <select value=${rows.indexOf(row)} onChange=${event => setIndex(Number(event.target.value))}>${rows.map((each, position) => html`<option value=${position}>${nameOf(each)}</option>`)}</select></label>
      <label>Against <select value=${unit} onChange=${event => setUnit(event.target.value)}>${Object.entries(UNITS).filter(([each]) => along(row, each)).map(([each, words]) => html`<option value=${each}>${words}</option>`)}</select></label></div>
    <p class="soft small">${cascade.metric} of ${group.test} requests, ${cascade.tiers[0].join(" + ")} → ${cascade.target}</p>
    <${Chart} data=${data} shape=${`${chosen}/${rows.indexOf(row)}/${unit}`} height=${260} label=${`Quality against ${UNITS[unit]}`} scales=${{x: {time: false}}} hooks=${{draw: [mark]}}
      series=${[{}, band, band, line("brand", 2.5), line("soft", 1.5, [2, 4]), line("soft", 1.5, [7, 5])]} bands=${[{series: [2, 1], fill: () => `color-mix(in srgb, ${colour("brand")} 14%, transparent)`}]}
      axes=${[{values: (_, ticks) => ticks.map(percent)}, {size: 48}]} />
    <input class="along" type="range" min=${xs[0]} max=${xs.at(-1)} step="any" value=${xs[at]} aria-label="Threshold" aria-valuetext=${`${percent(row.curve.rate[point])} deferred, quality ${score(row.curve.quality[point])}`}
      onInput=${event => setPlace(nearest(xs, Number(event.target.value)))} onKeyDown=${step} />
    <p class="keys"><span class="k-brand">the cascade, 95%</span><span class="k-soft">dotted: the target alone</span>${unit === "rate" && best && html`<span class="k-soft">dashed: deferring at random</span>`}</p>
    <${Facts} row=${row} at=${point} target=${target} threshold=${row.curve.threshold[point]} />
    <${Examples} extremes=${cascade.looked_at} target=${cascade.target} threshold=${row.signal === cascade.looked_at?.signal ? row.curve.threshold[point] : null} />
  </section>`;
}
