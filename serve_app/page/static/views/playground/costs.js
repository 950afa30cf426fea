// What the parts of a request took and cost, beside what the target alone would have cost.
import {html} from "../../vendor/preact.js";
import {UNITS, count, percent, price, seconds, unitOf} from "../../lib/format.js";

/** Two bars: the cascade's cost, part by part, and the target's. */
function Bars({parts, alone, unit}) {
  const total = parts.reduce((sum, {value}) => sum + value, 0), most = Math.max(total, alone, 1e-300);
  return html`<div class="bars" aria-hidden="true">
    <div class="bar">${parts.map(({name, value}, index) => html`<i key=${name} class=${`part p${index % 6}`} style=${{"--share": value / most}} title=${`${name}: ${UNITS[unit].show(value)}`}></i>`)}</div>
    <div class="bar"><i class="part alone" style=${{"--share": alone / most}}></i></div>
  </div>`;
}

export function Costs({turn}) {
  const {record, calls} = turn;
  if (!record?.cost) return null;
  const unit = unitOf(record.cost), alone = record.cost.target_only, spent = record.cost[unit];
  const parts = Object.entries(record.models).map(([name, model]) => ({name, model, cost: calls[name]?.cost}));
  const bars = parts.map(({name, cost}) => ({name, value: cost?.[unit] ?? 0}));
  const ratio = alone && alone[unit] > 0 && spent !== null ? spent / alone[unit] : null;
  return html`<details class="costs"><summary>
      <span>${record.cached ? "From the cache" : html`${seconds(record.timings_s.total)} · ${price(record.cost, unit)}`}</span>
      ${ratio !== null && html`<span class=${ratio <= 1 ? "saved" : "extra"}>${percent(ratio)} of the target's cost</span>`}
      <span class="more">Tokens, time and cost</span></summary>
    ${alone && alone[unit] > 0 && html`<${Bars} parts=${bars} alone=${alone[unit]} unit=${unit} />`}
    <div class="scroll" tabindex="0" role="group" aria-label="Tokens, time and cost"><table><thead><tr><th scope="col">model</th><th scope="col">read</th><th scope="col">written</th><th scope="col">first token</th><th scope="col">time</th><th scope="col">${UNITS[unit].name}</th></tr></thead>
    <tbody>${parts.map(({name, model, cost}) => html`<tr key=${name}><th scope="row">${name}${model.status !== "ok" ? html` <span class="badge">${model.status.replaceAll("_", " ")}</span>` : ""}</th><td>${count(model.prompt_tokens)}</td><td>${count(model.completion_tokens)}${model.estimated ? " (est.)" : ""}</td><td>${seconds(model.first_token_s)}</td><td>${seconds(model.latency_s)}</td><td>${price(cost, unit)}</td></tr>`)}
      <tr class="sum"><th scope="row">the cascade <span class="soft">with ${seconds(record.timings_s.scoring)} of scoring</span></th><td></td><td></td><td></td><td>${seconds(record.timings_s.total)}</td><td>${price(record.cost, unit)}</td></tr>
      ${alone && html`<tr class="sum"><th scope="row">the target alone${alone.estimated ? html` <span class="soft">estimated</span>` : ""}</th><td></td><td></td><td></td><td></td><td>${price(alone, unit)}</td></tr>`}</tbody></table></div>
  </details>`;
}
