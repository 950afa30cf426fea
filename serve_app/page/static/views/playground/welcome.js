// What is shown before the first prompt: the cascade as a picture in words, and prompts to begin with.
import {html} from "../../vendor/preact.js";
import {score} from "../../lib/format.js";
import {EXAMPLES} from "./examples.js";

function Path({cascade}) {
  return html`<ol class="path" aria-label="The cascade">${cascade.tiers.map((tier, index) => html`<li key=${index}>
    <div class="models">${tier.models.map(name => html`<span>${name}</span>`)}</div>
    ${tier.signal ? html`<p class="soft">compared by ${tier.signal}; accepted from ${score(tier.threshold)} on</p>` : html`<p class="soft">answers what is deferred</p>`}
  </li>`)}</ol>`;
}

export function Welcome({cascade, onPick}) {
  return html`<div class="welcome">
    <h1>See a cascade decide</h1>
    <p class="lead">Several small models answer at once. If they agree, one of their answers goes back; if not, a larger model is asked.</p>
    ${cascade && html`<${Path} cascade=${cascade} />`}
    <div class="examples">${EXAMPLES.map(example => html`<button type="button" class="example" onClick=${() => onPick(example)}><strong>${example.title}</strong><span class="soft">${example.about}</span></button>`)}</div>
  </div>`;
}
