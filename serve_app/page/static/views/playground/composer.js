// Where a request is written: the cascade, the prompt, and the options behind it.
import {html, useLayoutEffect, useRef} from "../../vendor/preact.js";

const NUMBERS = [["most", "max_tokens", "Most tokens"], ["temperature", "temperature", "Temperature"]];

/** The options of a request, or what is wrong with a field. */
export function optionsOf(draft) {
  const options = {};
  for (const [field, name] of [["tools", "tools"], ["format", "response_format"]]) {
    if (!draft[field]?.trim()) continue;
    try { options[name] = JSON.parse(draft[field]); } catch (error) { return {fault: `${field === "tools" ? "Tools" : "Response format"}: this is not JSON (${error.message}).`}; }
  }
  for (const [field, name, label] of NUMBERS) {
    const text = draft[field]?.trim();
    if (!text) continue;
    options[name] = Number(text); // JSON has no other numbers: a server would take them for null
    if (!Number.isFinite(options[name])) return {fault: `${label}: ${text} is not a number.`};
  }
  options.cascade = {...(draft.force && {force: draft.force}), ...draft.policy};
  return {options};
}

export function Composer({draft, model, set, models, running, onSend, onStop, fault}) {
  const field = useRef(null);
  const focus = () => { if (matchMedia("(min-width: 50rem)").matches) field.current.focus({preventScroll: true}); }; // smaller ones may have a keyboard that covers much
  useLayoutEffect(focus, []); // a frame later it may be elsewhere already
  useLayoutEffect(() => { field.current.style.height = "auto"; field.current.style.height = `${Math.min(field.current.scrollHeight + 2, 220)}px`; }, [draft.prompt]);
  const input = name => event => set({...draft, [name]: event.target.value});
  const keys = event => {
    if (event.isComposing) return;
    if (event.key === "Escape") onStop();
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); onSend(); }
  };
  const stop = event => { if (event.detail < 2) onStop(); }; // the second click of a double one on Ask means no Stop
  const policy = Object.entries(draft.policy ?? {}).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return html`<form class="composer" aria-label="Request" onSubmit=${event => { event.preventDefault(); onSend(); focus(); }}>
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    ${policy && html`<p class="policy"><span class="badge">policy</span> ${policy} <button type="button" class="quiet" onClick=${() => set({...draft, policy: undefined})}>as configured</button></p>`}
    <div class="prompt"><label class="hidden" for="prompt">Prompt</label>
      <textarea id="prompt" ref=${field} rows="1" value=${draft.prompt} placeholder="Ask something …" aria-describedby="keys" onInput=${input("prompt")} onKeyDown=${keys}></textarea>
      ${running ? html`<button type="button" class="send stop" onClick=${stop}>Stop</button>` : html`<button class="send" disabled=${!draft.prompt.trim() || !model}>Ask</button>`}</div>
    <div class="row options"><label class="quiet-select">Cascade <select value=${model} onChange=${input("model")}>${models.map(({id, kind}) => html`<option value=${id}>${id}${kind === "model" ? " (alone)" : ""}</option>`)}</select></label>
    <details><summary>Options</summary><div class="grid">
      <label>System prompt <textarea rows="2" value=${draft.system ?? ""} onInput=${input("system")}></textarea></label>
      <label>Tools <span class="soft">JSON</span><textarea rows="2" spellcheck=${false} value=${draft.tools ?? ""} onInput=${input("tools")}></textarea></label>
      <label>Response format <span class="soft">JSON</span><textarea rows="2" spellcheck=${false} value=${draft.format ?? ""} onInput=${input("format")}></textarea></label>
      <div class="grid small"><label>Most tokens <input inputmode="numeric" value=${draft.most ?? ""} onInput=${input("most")} /></label>
      <label>Temperature <input inputmode="decimal" value=${draft.temperature ?? ""} onInput=${input("temperature")} /></label>
      <label>Decide <select value=${draft.force ?? ""} onChange=${input("force")}><option value="">by agreement</option><option value="accept">always accept</option><option value="defer">always defer</option></select></label></div>
    </div></details>
    <span id="keys" class="soft keys-hint">Enter asks, Shift+Enter begins a line, Esc stops</span></div>
  </form>`;
}
