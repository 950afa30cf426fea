// How far the answers of a tier agree, what was decided, and what would have been under another policy.
import {html, useEffect, useState} from "../../vendor/preact.js";
import {postJson} from "../../lib/api.js";
import {score} from "../../lib/format.js";
import {decision, why} from "./words.js";

const VIEWS = {
  configured: ["as configured", undefined],
  whole: ["the whole answer", {}],
  markdown: ["without Markdown", {strip: ["markdown"]}],
  case: ["case and spaces do not count", {normalise: ["case", "whitespace"]}],
  number: ["the last number", {take: "last_number", normalise: ["numbers"]}],
  boxed: ["the boxed result", {take: "boxed", normalise: ["latex"]}],
  choice: ["the choice (A, B, …)", {take: "choice"}],
  code: ["without code fences", {strip: ["code_fences"]}],
};
const VETOES = {numbers: "other numbers", negation: "a negation", names: "other names", choice: "another choice"};

/** A table of similarities as a heat map: row i is hypothesis i, column j reference j. */
function Matrix({models, rows, signal}) {
  if (!rows) return html`<p class="soft empty">No similarities: there was nothing to compare.</p>`;
  const values = rows.flat().filter(value => value !== null), low = Math.min(0, ...values), high = Math.max(1, ...values);
  const heat = value => ({"--heat": value === null ? 0 : (value - low) / (high - low || 1)});
  return html`<div class="matrix" tabindex="0" role="group" aria-label="Similarity matrix"><table>
    <caption>Similarity <span class="soft">${signal ?? ""}</span></caption>
    <thead><tr><td></td>${models.map((name, index) => html`<th scope="col" title=${name}>${index + 1}</th>`)}</tr></thead>
    <tbody>${rows.map((row, i) => html`<tr><th scope="row"><span class="soft">${i + 1}</span> ${models[i]}</th>${row.map((value, j) => html`<td class=${i === j ? "same" : ""} style=${heat(value)}>${score(value)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Output scores and the agreement on a line, with a threshold that can be moved. */
function Scale({range, models, result, threshold, actual, onMove}) {
  const values = [...(result?.output_scores ?? []), result?.agreement, actual, threshold].filter(value => value !== null && value !== undefined);
  const low = Math.min(range?.[0] ?? 0, ...values), high = Math.max(range?.[1] ?? 1, ...values);
  const at = value => ({"--at": (value - low) / (high - low || 1)});
  const accepted = result?.accepted;
  return html`<div class="scale">
    <div class="track" style=${at(threshold)}>
      <span class="zone defer">defer</span><span class="zone accept">accept</span>
      ${(result?.output_scores ?? []).map((value, index) => value !== null && html`<i class="dot" key=${models[index]} style=${at(value)} title=${`${models[index]}: ${score(value)}`}></i>`)}
      ${result?.agreement !== null && result?.agreement !== undefined && html`<b class=${`needle ${accepted ? "accept" : "defer"}`} style=${at(result.agreement)}><span>${score(result.agreement)}</span></b>`}
      <i class="mark" style=${at(actual)}></i>
      <input type="range" min=${low} max=${high} step="any" value=${threshold} aria-label="Threshold" aria-valuetext=${`Threshold ${score(threshold)}`} onInput=${event => onMove(Number(event.target.value))}
        onKeyDown=${event => { const step = {ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1}[event.key]; if (step) { event.preventDefault(); onMove(Math.min(high, Math.max(low, Math.round((threshold + step * (high - low)) * 1e4) / 1e4))); } }} />
    </div>
    <div class="ends soft" aria-hidden="true"><span>${score(low)}</span><span>threshold <strong>${score(threshold)}</strong></span><span>${score(high)}</span></div>
  </div>`;
}

function Scores({models, result}) {
  const best = result?.selected;
  return html`<table class="scores"><caption>Output scores</caption><tbody>${models.map((name, index) => html`<tr class=${name === best ? "best" : ""}><th scope="row">${name}</th><td>${score(result?.output_scores?.[index])}</td></tr>`)}
    <tr class="sum"><th scope="row">agreement</th><td>${result?.agreement_bounds ? result.agreement_bounds.map(score).join(" to ") : score(result?.agreement)}</td></tr></tbody></table>`;
}

const given = (tier, calls) => tier.models.map((name, index) => {
  const call = calls[name] ?? {}, text = tier.result.answers?.[index];
  if ((text === null || text === undefined) || (call.status && call.status !== "ok")) return null;
  const tools = tier.result.tool_calls?.[index] ?? [];
  return {text, ...(tools.length && {tool_calls: tools}), finish_reason: call.finish_reason ?? "stop"};
});

/** What another threshold would have decided on a confidence, which no server can compute anew of texts alone. */
const byThreshold = (result, threshold) => {
  const accepted = result.agreement >= threshold;
  return {...result, threshold, accepted, reason: accepted ? "confident" : "unsure"};
};

/** The verdict of a tier that has been decided. `policy` is the tier as the server has it in force. */
export function Verdict({turn, tier, calls, policy, about, next, onKeep}) {
  const {result} = tier, start = {threshold: result.threshold, signal: "", view: "configured", veto: []};
  const [choice, setChoice] = useState(start);
  const [other, setOther] = useState(null);
  const [fault, setFault] = useState("");
  const changed = choice.signal !== "" || choice.view !== "configured" || choice.veto.length > 0 || choice.threshold !== start.threshold;
  const asked = turn.body.cascade;
  const confidence = !choice.signal && ["confident", "unsure"].includes(result.reason); // of log-probabilities, which are not here
  useEffect(() => {
    setFault("");
    if (!changed) { setOther(null); return undefined; }
    if (confidence) { setOther(byThreshold(result, choice.threshold)); return undefined; }
    const stopping = new AbortController();
    const timer = setTimeout(async () => {
      const compare = VIEWS[choice.view][1] ?? asked.compare, signal = choice.signal || asked.signal;
      try {
        setOther(await postJson("page/decide", {
          model: turn.model, tier: tier.tier, answers: given(tier, calls), veto: choice.veto,
          cascade: {threshold: choice.threshold, ...(signal && {signal}), ...(compare && {compare})},
        }, stopping.signal));
      } catch (error) {
        if (error.name !== "AbortError") { setOther(null); setFault(error.message); }
      }
    }, 40);
    return () => { clearTimeout(timer); stopping.abort(); };
  }, [choice]);
  const shown = changed && other ? other : result;
  const set = (name, value) => setChoice({...choice, [name]: value});
  const toggle = name => set("veto", choice.veto.includes(name) ? choice.veto.filter(each => each !== name) : [...choice.veto, name]);
  const signal = choice.signal || result.signal;
  return html`<section class="verdict" aria-label=${`Decision of tier ${tier.tier + 1}, turn ${turn.number}`}>
    <p class=${`sentence ${result.accepted ? "accept" : "defer"}`}><span class=${`badge ${result.accepted ? "accept" : "defer"}`}>${result.accepted ? "Accepted" : "Deferred"}</span> <span>${decision(result, next)}</span></p>
    <div class="measure">
      <${Matrix} models=${tier.models} rows=${shown.similarities} signal=${`${signal}${choice.veto.length ? " with a veto" : ""}`} />
      <div>
        <${Scale} range=${choice.signal ? null : policy?.range} models=${tier.models} result=${shown} threshold=${choice.threshold} actual=${result.threshold} onMove=${value => set("threshold", value)} />
        <${Scores} models=${tier.models} result=${shown} />
      </div>
    </div>
    <fieldset class="what-if"><legend>What if?</legend>
      <label>signal <select value=${choice.signal} onChange=${event => set("signal", event.target.value)}><option value="">${result.signal} (in force)</option>${(about?.signals ?? []).filter(name => name !== result.signal).map(name => html`<option value=${name}>${name}</option>`)}</select></label>
      <label>compare <select disabled=${confidence} value=${choice.view} onChange=${event => set("view", event.target.value)}>${Object.entries(VIEWS).map(([name, [words]]) => html`<option value=${name}>${words}</option>`)}</select></label>
      <span class="vetoes" role="group" aria-label="Veto"><span>veto</span>${(about?.vetoes ?? []).map(name => html`<label class="check"><input type="checkbox" disabled=${confidence} checked=${choice.veto.includes(name)} onChange=${() => toggle(name)} /> ${VETOES[name] ?? name}</label>`)}</span>
      <div class="outcome" role="status">
        ${fault ? html`<p class="fault">${fault}</p>` : changed && other ? html`<p><span class=${`badge ${other.accepted ? "accept" : "defer"}`}>${other.accepted ? "would accept" : "would defer"}</span> ${other.accepted ? `${why(other)}; the answer of ${other.selected} would go back.` : `${why(other)}.`}${other.accepted === result.accepted && other.selected === result.selected ? " The same outcome." : ""}</p>` : html`<p class="soft">Move the threshold, or choose another signal, view or veto: decided anew at once, without a call to any model.</p>`}
        ${changed && html`<span class="row"><button type="button" class="quiet" onClick=${() => setChoice(start)}>Back to what was decided</button>${!choice.veto.length && html`<button type="button" class="quiet" onClick=${() => onKeep({threshold: Math.round(choice.threshold * 1e4) / 1e4, ...(choice.signal && {signal: choice.signal}), ...(VIEWS[choice.view][1] && {compare: VIEWS[choice.view][1]})})}>Use for the next prompt</button>`}</span>`}
      </div>
    </fieldset>
  </section>`;
}
