// A report of cascade evaluate, opened in the browser alone: nothing of it is sent anywhere.
import {html, useState} from "../vendor/preact.js";
import {Panel} from "./evaluation/panel.js";
import {pairsOf} from "./evaluation/curves.js";

const LARGEST = 200e6;
/** It outlives the view. */
const kept = {report: null, name: ""};

export default function Evaluation() {
  const [report, setReport] = useState(kept.report);
  const [fault, setFault] = useState("");
  const [over, setOver] = useState(false);
  const [two, setTwo] = useState(false);
  async function open(file) {
    if (!file) return;
    setFault("");
    try {
      if (file.size > LARGEST) throw new Error("This file has more than 200 MB.");
      kept.report = pairsOf(await file.text());
      kept.name = file.name;
      setReport(kept.report);
    } catch (error) { setFault(error.message); }
  }
  const drop = event => { event.preventDefault(); setOver(false); open(event.dataTransfer.files[0]); };
  return html`<div class="evaluations" onDragOver=${event => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <div class="head"><h1>Evaluation</h1>${report && html`<span class="soft small">${kept.name}</span><label class="check"><input type="checkbox" checked=${two} onChange=${() => setTwo(!two)} /> two side by side</label>`}</div>
    <label class=${`drop ${over ? "over" : ""} ${report ? "slim" : ""}`}><input type="file" accept=".json,application/json" onChange=${event => open(event.target.files[0])} />
      <strong>${report ? "Open another report" : "Drop a report.json here, or choose the file"}</strong>${!report && html`<span class="soft">of <code>cascade evaluate records.jsonl --report report/</code>. It stays in this browser.</span>`}</label>
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    ${report && html`<div class=${`pair ${two ? "two" : ""}`}><${Panel} key=${`${kept.name}1`} pairs=${report.pairs} number=${1} />${two && html`<${Panel} key=${`${kept.name}2`} pairs=${report.pairs} start=${Math.min(1, report.pairs.length - 1)} number=${2} />`}</div>`}
  </div>`;
}
