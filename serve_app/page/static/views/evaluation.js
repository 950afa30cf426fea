// A report of cascade evaluate, or records that the server evaluates.
import {html, useEffect, useLayoutEffect, useState} from "../vendor/preact.js";
import {Trouble} from "../lib/states.js";
import {Opening} from "./evaluation/opening.js";
import {Panel} from "./evaluation/panel.js";

/** It outlives the view: a look at another one ends no evaluation. */
const opening = new Opening();

function Working({work, onStop}) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick(value => value + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return html`<div class="working"><span class="state busy"><span role="status">${work.step}</span></span><span class="soft small">${work.name} · ${Math.round((Date.now() - work.since) / 1000)} s</span><button type="button" class="quiet" onClick=${onStop}>Stop</button></div>`;
}

export default function Evaluation({wantKey}) {
  const [, redraw] = useState(0);
  const [over, setOver] = useState(false);
  const [two, setTwo] = useState(false);
  useLayoutEffect(() => { // it may change before the next frame
    opening.changed = () => redraw(value => value + 1);
    return () => { opening.changed = () => {}; };
  }, []);
  const {name, number, shown, notes, work, fault} = opening;
  const open = files => { if (files[0]) opening.open(files[0]); };
  useLayoutEffect(() => {
    // Of the whole window: a browser opens what is dropped elsewhere, in place of this page. Before anybody sees where
    // to drop it.
    const withFiles = take => event => { if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); take(event); } };
    const takes = {
      dragover: withFiles(() => setOver(true)),
      dragleave: event => { if (!event.relatedTarget) setOver(false); },
      drop: withFiles(event => { setOver(false); open(event.dataTransfer.files); }),
    };
    for (const [name, take] of Object.entries(takes)) addEventListener(name, take);
    return () => { for (const [name, take] of Object.entries(takes)) removeEventListener(name, take); };
  }, []);
  const choose = event => { open(event.target.files); event.target.value = ""; }; // so that the same file can be chosen again
  return html`<div class="evaluations">
    <div class="head"><h1>Evaluation</h1>${shown && html`<span class="soft small">${name}</span><label class="check"><input type="checkbox" checked=${two} onChange=${() => setTwo(!two)} /> two side by side</label>`}</div>
    <label class=${`drop ${over ? "over" : ""} ${shown ? "slim" : ""}`}><input type="file" accept=".json,.jsonl,.gz,application/json" onChange=${choose} />
      <strong>${shown ? "Open another report, or records" : "Drop a report.json or a records file here, or choose the file"}</strong>${!shown && html`<span class="soft">A report of <code>cascade evaluate --report</code> stays in this browser. The records of <code>cascade collect</code> (.jsonl) are evaluated by this server, without a call to any model, and not kept.</span>`}</label>
    ${work && html`<${Working} work=${work} onStop=${() => opening.stop()} />`}
    ${fault && html`<${Trouble} title=${`${fault.file.name} cannot be shown`} error=${fault.error} wantKey=${wantKey} onRetry=${fault.error.status !== undefined && (() => opening.open(fault.file))} />`}
    ${notes.length > 0 && html`<ul class="notes soft small">${notes.map(note => html`<li>${note}</li>`)}</ul>`}
    ${shown && html`<div class=${`pair ${two ? "two" : ""}`}><${Panel} key=${`${number}/1`} pairs=${shown.pairs} number=${1} />${two && html`<${Panel} key=${`${number}/2`} pairs=${shown.pairs} start=${Math.min(1, shown.pairs.length - 1)} number=${2} beside=${shown.pairs.length === 1} />`}</div>`}
  </div>`;
}
