// Requests of a report with all answers: those that agree most and least, and the accepted that lose most.
import {html} from "../../vendor/preact.js";
import {numeric, percent, score} from "../../lib/format.js";

const question = ({inputs}) => (typeof inputs === "object" ? Object.values(inputs ?? {}).filter(value => typeof value === "string").join("\n") : String(inputs));

function Example({example, threshold, target}) {
  const side = threshold === null || threshold === undefined ? null : numeric(example.agreement) >= numeric(threshold);
  return html`<details class="request"><summary><span class="badge">${score(example.agreement)}</span>${side !== null && html` <span class=${`badge ${side ? "accept" : "defer"}`}>${side ? "accepted" : "deferred"}</span>`} ${question(example).slice(0, 160)}</summary>
    <pre tabindex="0">${question(example)}</pre>
    <p class="soft small">reference: ${(example.references ?? []).join(" · ") || "none"}</p>
    <div class="members" style=${{"--members": Math.min(3, Object.keys(example.answers).length)}}>${Object.entries(example.answers).map(([name, answer]) => html`<article class=${`member ${name === example.selected ? "selected" : ""}`}><header><h4>${name}</h4>${name === target ? html`<span class="badge">target</span>` : ""}<span class="state">${score(answer.quality)}</span></header><div class="text" tabindex="0" role="group" aria-label=${`Answer of ${name}`}><p class="plain">${answer.text ?? "It failed."}</p>${answer.compared && html`<p class="compared"><span class="soft">compared:</span> <code>${answer.compared}</code></p>`}</div></article>`)}</div>
  </details>`;
}

export function Examples({extremes, target, threshold}) {
  if (!extremes) return null;
  const groups = [[`Accepted if ${percent(extremes.rate)} are deferred, and worse than the target's`, extremes.worst], ["Agree most", extremes.most], ["Agree least", extremes.least]];
  return html`<div class="requests"><h3>Requests <span class="soft small">by ${extremes.signal}${threshold === null ? `; score by it to see on which side of the threshold they are` : ""}</span></h3>
    ${groups.map(([title, examples]) => examples?.length > 0 && html`<h4>${title}</h4>${examples.map(example => html`<${Example} key=${example.id} example=${example} threshold=${threshold} target=${target} />`)}`)}</div>`;
}
