// One turn: the prompt, each tier with its verdict, the answer, and what it cost.
import {html} from "../../vendor/preact.js";
import {Markdown} from "../../lib/markdown.js";
import {Copies} from "./copies.js";
import {Costs} from "./costs.js";
import {Members, Reasoning} from "./members.js";
import {ToolCalls, ToolResults} from "./tools.js";
import {Verdict} from "./verdict.js";

const HEADINGS = {unreachable: "No answer from the server", broken: "The stream broke off", failed: "The request failed"};
const BY_STATUS = {401: "This server asks for a key", 403: "This key may not do that", 429: "Too many requests", 503: "Not available at the moment", 504: "It took too long"};

function Fault({error, onRetry, wantKey}) {
  return html`<div class="fault-card" role="alert"><h3>${BY_STATUS[error.status] ?? HEADINGS[error.kind] ?? "The request was refused"}</h3><p>${error.message}</p>
    ${error.retryAfter && html`<p class="soft">It may work again in ${Math.ceil(error.retryAfter)} s.</p>`}
    <div class="row">${[401, 403].includes(error.status) && html`<button type="button" onClick=${wantKey}>Enter a key</button>`}<button type="button" class=${error.status === 401 ? "quiet" : ""} disabled=${!onRetry} onClick=${onRetry}>Try again</button></div></div>`;
}

const added = ({role, content}) => (role === "tool" ? `Result: ${content}` : content);

export function Turn({turn, about, latest, onResults, onRetry, onKeep, link, wantKey}) {
  const policy = about?.cascades.find(({id}) => id === turn.model)?.tiers ?? [];
  const tiers = turn.tiers.filter(Boolean), last = Math.max(policy.length, 1) - 1;
  const {answer, record} = turn, running = turn.status === "running";
  const deciding = tiers.filter(tier => tier.signal || tier.result?.signal);
  const target = tiers.find(tier => !deciding.includes(tier));
  const complete = turn.status === "done";
  return html`<section class="turn" aria-label=${`Turn ${turn.number}`}><h2 class="hidden">Turn ${turn.number}</h2>
    ${turn.added.map(message => html`<div class=${`asked ${message.role}`}><p>${added(message)}</p></div>`)}
    ${deciding.map(tier => html`<div class="tier" key=${tier.tier}>
      <h3><span class="step">${tier.tier + 1}</span> ${tier.models.length === 1 ? tier.models[0] : `${tier.models.length} members answer`} ${running && !tier.result && html`<span class="state busy">working</span>`}</h3>
      <${Members} tier=${tier} calls=${turn.calls} result=${tier.result} />
      ${tier.result?.reason && html`<${Verdict} turn=${turn} tier=${tier} calls=${turn.calls} policy=${policy[tier.tier]} about=${about} onKeep=${onKeep} next=${(policy[tier.tier + 1] ?? target)?.models} />`}
    </div>`)}
    ${running && !tiers.length && html`<div class="tier"><div class="skeleton" aria-hidden="true"><i></i><i></i></div></div>`}
    ${target && html`<h3><span class="step target">${(target.tier ?? last) + 1}</span> ${target.models[0]} ${deciding.length ? "answers in their place" : "answers alone"} ${running && html`<span class="state busy">${answer.text ? "writing" : "thinking"}</span>`}</h3>`}
    ${(answer.text || answer.reasoning || answer.tools.length > 0) && html`<article class="answer" aria-label="Answer">
      <header><h3>Answer</h3>${record?.answered_by && html`<span class="soft">by ${record.answered_by}${record.replaced ? `, as ${record.replaced.model} failed (${record.replaced.message})` : ""}${record.cached ? ", from the cache" : ""}</span>`}</header>
      <${Reasoning} text=${answer.reasoning} open=${running && !answer.text} />
      ${answer.text && html`<${Markdown} text=${answer.text} done=${!running} />`}
      ${answer.tools.length > 0 && html`<${ToolCalls} calls=${answer.tools} />`}
      ${complete && latest && answer.tools.length > 0 && html`<${ToolResults} calls=${answer.tools} onSend=${onResults} />`}
    </article>`}
    ${turn.status === "stopped" && html`<div class="row"><p class="soft" role="status">Stopped. This turn is no part of the conversation.</p><button type="button" class="quiet" disabled=${!onRetry} onClick=${onRetry}>Ask again</button></div>`}
    ${turn.error && html`<${Fault} error=${turn.error} onRetry=${onRetry} wantKey=${wantKey} />`}
    ${!running && html`<${Costs} turn=${turn} /><${Copies} body=${turn.body} answer=${answer.text} link=${link} />`}
  </section>`;
}
