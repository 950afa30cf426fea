// The answers of a tier side by side, as they are written.
import {html} from "../../vendor/preact.js";
import {Markdown} from "../../lib/markdown.js";
import {count, seconds} from "../../lib/format.js";
import {ToolCalls} from "./tools.js";

const STATES = {waiting: "thinking", writing: "writing", ok: "answered", cancelled: "stopped"};

/** What a model is doing, or did. */
function State({call, carried}) {
  const busy = !call || ["waiting", "writing"].includes(call.status);
  const word = call?.cached ? "from the cache" : STATES[call?.status] ?? (call ? call.status.replaceAll("_", " ") : "not asked");
  return html`<span class=${`state ${busy && call ? "busy" : call?.status === "ok" ? "fine" : "off"}`}>${carried ? "carried over" : word}</span>`;
}

export function Reasoning({text, open = false}) {
  return text ? html`<details class="reasoning" open=${open}><summary>Reasoning <span class="soft">${count(text.length)} characters</span></summary><pre tabindex="0">${text}</pre></details>` : null;
}

function Member({name, call, carried, selected, accepted, shown, label}) {
  const done = call && !["waiting", "writing"].includes(call.status);
  return html`<article class=${`member ${selected && accepted ? "selected" : ""}`} aria-label=${`${label} ${name}`}>
    <header><h4>${name}</h4>${selected && html`<span class=${`badge ${accepted ? "accept" : ""}`}>${accepted ? "selected" : "most central"}</span>`}<${State} call=${call} carried=${carried} /></header>
    <div class="text" tabindex="0" role="group" aria-label=${`Text of ${name}`}>
      ${call && html`<${Reasoning} text=${call.reasoning} />`}
      ${call?.text ? html`<${Markdown} text=${call.text} done=${done} />` : call?.message ? html`<p class="fault">${call.message}</p>` : done && !call.tool_calls?.length ? html`<p class="soft">No text.</p>` : !done && html`<div class="skeleton" aria-hidden="true"><i></i><i></i><i></i></div>`}
      ${call?.tool_calls && html`<${ToolCalls} calls=${call.tool_calls} />`}
      ${shown !== undefined && shown !== null && html`<p class="compared"><span class="soft">compared:</span> <code>${shown || "nothing"}</code></p>`}
    </div>
    <footer class="soft">${done && !call.cached ? html`<span>${seconds(call.latency_s)}</span><span>${count(call.prompt_tokens)} → ${count(call.completion_tokens)} tokens</span>` : html`<span> </span>`}</footer>
  </article>`;
}

export function Members({tier, calls, result, label = "Member"}) {
  const selected = result?.selected ?? null;
  return html`<div class="members" style=${{"--members": Math.min(4, tier.models.length)}}>
    ${tier.models.map((name, index) => html`<${Member} key=${name} name=${name} call=${calls[name]} carried=${result?.carried?.includes(name)} label=${label} selected=${selected === name && tier.models.length > 1} accepted=${result?.accepted} shown=${result?.compared?.[index]} />`)}
  </div>`;
}
