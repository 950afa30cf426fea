// A report of cascade evaluate, or records that the server evaluates.
import {html, useEffect, useState} from "../vendor/preact.js";
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

function Fault({fault: {error, file}, wantKey}) {
  return html`<div class="fault-card" role="alert"><h2>${file.name} cannot be shown</h2><p>${error.message}</p>
    ${error.retryAfter && html`<p class="soft">It may work again in ${Math.ceil(error.retryAfter)} s.</p>`}
    ${error.status > 0 && html`<div class="row">${[401, 403].includes(error.status) && html`<button type="button" onClick=${wantKey}>Enter a key</button>`}<button type="button" class="quiet" onClick=${() => opening.open(file)}>Try again</button></div>`}</div>`;
}

export default function Evaluation({wantKey}) {
  const [, redraw] = useState(0);
  const [over, setOver] = useState(false);
  const [two, setTwo] = useState(false);
  useEffect(() => {
    opening.changed = () => redraw(value => value + 1);
    return () => { opening.changed = () => {}; };
  }, []);
  const {name, shown, notes, work, fault} = opening;
  const open = files => { if (files[0]) opening.open(files[0]); };
  const drop = event => { event.preventDefault(); setOver(false); open(event.dataTransfer.files); };
  const choose = event => { open(event.target.files); event.target.value = ""; }; // so that the same file can be chosen again
  return html`<div class="evaluations" onDragOver=${event => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <div class="head"><h1>Evaluation</h1>${shown && html`<span class="soft small">${name}</span><label class="check"><input type="checkbox" checked=${two} onChange=${() => setTwo(!two)} /> two side by side</label>`}</div>
    <label class=${`drop ${over ? "over" : ""} ${shown ? "slim" : ""}`}><input type="file" accept=".json,.jsonl,.gz,application/json" onChange=${choose} />
      <strong>${shown ? "Open another report, or records" : "Drop a report.json or a records file here, or choose the file"}</strong>${!shown && html`<span class="soft">A report of <code>cascade evaluate --report</code> stays in this browser. The records of <code>cascade collect</code> (.jsonl) are evaluated by this server, without a call to any model, and not kept.</span>`}</label>
    ${work && html`<${Working} work=${work} onStop=${() => opening.stop()} />`}
    ${fault && html`<${Fault} fault=${fault} wantKey=${wantKey} />`}
    ${notes.length > 0 && html`<ul class="notes soft small">${notes.map(note => html`<li>${note}</li>`)}</ul>`}
    ${shown && html`<div class=${`pair ${two ? "two" : ""}`}><${Panel} key=${`${name}1`} pairs=${shown.pairs} number=${1} />${two && html`<${Panel} key=${`${name}2`} pairs=${shown.pairs} start=${Math.min(1, shown.pairs.length - 1)} number=${2} beside=${shown.pairs.length === 1} />`}</div>`}
  </div>`;
}
