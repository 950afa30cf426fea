// Tool calls, and the results that the user gives to go on.
import {html, useState} from "../../vendor/preact.js";

const pretty = text => { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } };

export function ToolCalls({calls}) {
  return html`<ul class="calls">${calls.map(({function: called}) => html`<li><span class="badge">tool</span> <strong>${called.name}</strong><pre tabindex="0">${pretty(called.arguments)}</pre></li>`)}</ul>`;
}

/** A field for the result of each call; the conversation goes on once they are sent. */
export function ToolResults({calls, onSend}) {
  const [results, setResults] = useState(() => calls.map(() => ""));
  const send = event => {
    event.preventDefault();
    onSend(calls.map(({id}, index) => ({role: "tool", tool_call_id: id, content: results[index]})));
  };
  return html`<form class="results" onSubmit=${send}>
    ${calls.map(({id, function: called}, index) => html`<label key=${id}>Result of ${called.name}
      <textarea rows="2" value=${results[index]} placeholder='{"temperature_c": 21}' onInput=${event => setResults(results.with(index, event.target.value))}></textarea></label>`)}
    <button>Send ${calls.length === 1 ? "the result" : "the results"}</button>
  </form>`;
}
