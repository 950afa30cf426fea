// The config in force as a drawing, a tier's policy in words, and a check of a config that is pasted. Read only.
import {html, useEffect, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {getJson, postJson} from "../lib/api.js";
import {CascadeChoice} from "../lib/cascades.js";
import {Loading, Trouble} from "../lib/states.js";
import {Drawing} from "./config/drawing.js";
import {placement, replicas, size} from "./config/words.js";

const MOST_CHARACTERS = 256_000;
/** Between looks at the config in force, which a deploy may change, and at the replicas that run. */
const LOOK_MS = 10_000;
/** It outlives the view, but not the tab. */
const kept = {text: ""};

function Tier({tier, number, of, open, onToggle}) {
  return html`<li><button type="button" class="quiet" aria-expanded=${open} onClick=${onToggle}>Tier ${number + 1}${number === of - 1 ? ", the target" : ""}: ${tier.models.join(" + ")}</button>
    ${open && html`<ul class="policy-words">${tier.policy.map(sentence => html`<li>${sentence}</li>`)}</ul>`}</li>`;
}

function Graph({config, cascade}) {
  const [open, setOpen] = useState(0);
  const [width, setWidth] = useState(0);
  const box = useRef(null);
  useLayoutEffect(() => {
    const measure = () => setWidth(box.current.clientWidth), resized = new ResizeObserver(measure);
    measure();
    resized.observe(box.current);
    return () => resized.disconnect();
  }, []);
  const toggle = number => setOpen(open === number ? null : number);
  return html`<section class="panel"><h2>${cascade.id}</h2>
    ${cascade.tiers.length > 1 && html`<p class="soft small">${cascade.calibration ? `Thresholds of the calibration ${cascade.calibration}.` : "The thresholds are not calibrated."}</p>`}
    <div ref=${box}>${width > 0 && html`<${Drawing} config=${config} cascade=${cascade} width=${width} open=${open} onOpen=${toggle} />`}</div>
    <h3>Policy</h3>
    <ol class="tier-words">${cascade.tiers.map((tier, number) => html`<${Tier} key=${number} tier=${tier} number=${number} of=${cascade.tiers.length} open=${open === number} onToggle=${() => toggle(number)} />`)}</ol>
    ${cascade.remedies.length > 0 && html`<ul class="policy-words remedies">${cascade.remedies.map(sentence => html`<li>${sentence}</li>`)}</ul>`}</section>`;
}

function Table({name, heads, rows}) {
  return html`<section class="panel"><h2>${name}</h2><div class="scroll" tabindex="0" role="region" aria-label=${name}><table class="data"><thead><tr>${heads.map(head => html`<th scope="col">${head}</th>`)}</tr></thead>
    <tbody>${rows.map(([first, ...cells]) => html`<tr key=${first}><th scope="row">${first}</th>${cells.map(cell => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

function Check({wantKey}) {
  const [text, setText] = useState(kept.text);
  const [result, setResult] = useState(null);
  const [fault, setFault] = useState(null);
  const [busy, setBusy] = useState(false);
  const write = event => {
    kept.text = event.target.value;
    setText(kept.text);
    setResult(null); // what was said is of another text
    setFault(null);
  };
  async function check(event) {
    event.preventDefault();
    setFault(null);
    setResult(null);
    if (text.length > MOST_CHARACTERS) { setFault(new Error("This text has more than 256,000 characters.")); return; }
    setBusy(true);
    const told = await postJson("page/check", {yaml: text}).then(body => () => setResult(body), error => () => setFault(error));
    setBusy(false);
    if (kept.text === text) told();
  }
  return html`<section class="panel"><h2>Check a config</h2>
    <form class="check-form" onSubmit=${check}><label for="yaml">A config file, as <code>cascade check</code> takes it</label>
      <textarea id="yaml" rows="10" spellcheck=${false} value=${text} onInput=${write}></textarea>
      <div class="row"><button disabled=${busy || !text.trim()}>${busy ? "Checking …" : "Check"}</button><span class="soft small">Nothing is started or changed, and no file that it names is opened.</span></div></form>
    <div role="status" class="checked">${result && html`<p><span class=${`badge ${result.valid ? "accept" : "defer"}`}>${result.valid ? "valid" : "not valid"}</span></p>
      <ul>${[...result.lines, ...result.warnings].map(line => html`<li>${line}</li>`)}</ul>`}</div>
    ${fault && html`<div role="alert"><p class="fault">${fault.message}${fault.retryAfter ? ` It may work again in ${Math.ceil(fault.retryAfter)} s.` : ""}</p>${[401, 403].includes(fault.status) && html`<button type="button" class="quiet" onClick=${wantKey}>Enter a key</button>`}</div>`}</section>`;
}

const TITLES = {401: "This server asks for a key", 403: "For operators"};

export default function Config({generation, wantKey}) {
  const [config, setConfig] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [chosen, setChosen] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let current = true;
    let timer = 0;
    async function look() {
      const [body, error] = await getJson("page/config").then(body => [body, null], error => [null, error]);
      if (!current) return;
      setTrouble(error);
      if (body) setConfig(body);
      if (!TITLES[error?.status]) timer = setTimeout(lookLater, LOOK_MS);
    }
    const lookLater = () => { if (document.hidden) timer = setTimeout(lookLater, LOOK_MS); else look(); };
    look();
    return () => { current = false; clearTimeout(timer); };
  }, [generation, tries]);
  const cascade = config?.cascades.find(({id}) => id === chosen) ?? config?.cascades[0];
  return html`<div class="config">
    <div class="head"><h1>Config</h1>${cascade && html`<${CascadeChoice} cascades=${config.cascades} chosen=${cascade.id} onChoose=${setChosen} />`}</div>
    ${trouble && html`<${Trouble} title=${TITLES[trouble.status] ?? "The config cannot be shown"} error=${trouble} wantKey=${wantKey} onRetry=${() => setTries(tries + 1)} />`}
    ${cascade ? html`<${Graph} key=${cascade.id} config=${config} cascade=${cascade} />
      <${Table} name="Models" heads=${["model", "engine", "parameters", "weights"]} rows=${config.models.map(model => [model.name, model.engine, size(model) || "–", model.weights.join(", ") || "–"])} />
      <${Table} name="Deployments" heads=${["deployment", "holds", "replicas", "running", "each replica reserves"]} rows=${config.deployments.map(each => [each.name, each.holds, replicas(each), each.running ?? "–", placement(each)])} />
      <p class="soft small">As the application's <code>args</code> have it. What the file's own <code>deployments</code> change of replicas and resources is not shown.</p>` : !trouble && html`<${Loading} />`}
    ${config && html`<${Check} wantKey=${wantKey} />`}
  </div>`;
}
