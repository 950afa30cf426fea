// The playground: ask a cascade, and see why it decides as it does.
import {html, useEffect, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {getJson} from "../lib/api.js";
import {percent, seconds, count, unitOf} from "../lib/format.js";
import {hash} from "../lib/fragment.js";
import {Trouble} from "../lib/states.js";
import {Composer, optionsOf} from "./playground/composer.js";
import {Conversation} from "./playground/conversation.js";
import {Turn} from "./playground/turn.js";
import {Welcome} from "./playground/welcome.js";
import {spoken} from "./playground/words.js";

const FIELDS = ["model", "prompt", "system", "tools", "format", "most", "temperature", "force", "policy"];
const drafted = state => ({prompt: "", model: "", ...Object.fromEntries(FIELDS.filter(name => name in state).map(name => [name, state[name]]))});
const text = value => (typeof value === "string" ? value : "");
const isObject = value => typeof value === "object" && value !== null && !Array.isArray(value);
/** A link may hold anything. */
const checked = draft => Object.fromEntries(Object.entries(draft).flatMap(([name, value]) =>
  name !== "policy" ? [[name, text(value)]] : isObject(value) ? [[name, value]] : []));

/** These outlive the view: a look at another one ends no conversation. */
const conversation = new Conversation(), kept = {draft: null};

const TITLES = {0: "The server does not answer", 401: "This server asks for a key"};

function Session({sums, turns, onNew, onForget}) {
  const unit = unitOf(sums.cost), alone = sums.cost.target_only[unit];
  return html`<div class="session" role="group" aria-label="Session">
    <span><strong>${sums.asked}</strong> asked</span><span><strong>${sums.accepted}</strong> accepted</span>
    <span>${alone > 0 ? html`<strong>${percent(sums.cost[unit] / alone)}</strong> of the target's cost` : html`<span class="soft">no cost yet</span>`}</span>
    <span class="soft">${count(sums.tokens)} tokens · ${seconds(sums.seconds)}</span>
    <button type="button" class="quiet" onClick=${turns.length > 0 ? onNew : onForget}>${turns.length > 0 ? "New conversation" : "Forget these sums"}</button></div>`;
}

export default function Playground({state, generation, wantKey}) {
  const [, redraw] = useState(0);
  const [draft, setDraft] = useState(() => (Object.keys(state).length ? checked(drafted(state)) : kept.draft ?? drafted({})));
  kept.draft = draft;
  const [about, setAbout] = useState(null);
  const [models, setModels] = useState([]);
  const [trouble, setTrouble] = useState(null);
  const [fault, setFault] = useState("");
  useLayoutEffect(() => { if (Object.keys(state).length) setDraft(checked(drafted(state))); }, [state]); // not over what is typed in the next frame
  const [looks, setLooks] = useState(0);
  const look = () => setLooks(value => value + 1);
  useEffect(() => {
    let current = true;
    Promise.all([getJson("page/about"), getJson("v1/models")]).then(([info, {data}]) => {
      if (!current) return;
      setAbout(info);
      setModels(data.filter(({kind}) => kind !== "embedding"));
      setTrouble(null);
    }, error => {
      if (!current) return;
      setTrouble(error);
      if (error.status === 401) wantKey();
    });
    return () => { current = false; };
  }, [generation, looks]);
  useLayoutEffect(() => { // it may change before the next frame
    conversation.changed = () => redraw(value => value + 1);
    return () => { conversation.changed = () => {}; };
  }, []);
  const has = models.some(({id}) => id === draft.model), model = has ? draft.model : models[0]?.id ?? "";
  const missing = draft.model && model && !has ? `This server has no ${draft.model}; ${model} is asked.` : "";

  const {turns, running} = conversation, near = useRef(true);
  useLayoutEffect(() => {
    const look = () => { near.current = innerHeight + scrollY > document.documentElement.scrollHeight - 240; };
    addEventListener("scroll", look, {passive: true});
    return () => removeEventListener("scroll", look);
  }, []);
  const followed = useRef(null);
  useLayoutEffect(() => {
    if ((running ?? followed.current) && near.current) scrollTo(0, document.documentElement.scrollHeight);
    followed.current = running; // the last drawing of a turn, which adds its cost, is followed too
  });

  /** Ask with new messages, in place of a turn that failed if one is given. Returns whether it is asked. */
  function ask(added, failed = null) {
    const {options, fault} = optionsOf(draft);
    setFault(fault ?? "");
    if (fault || conversation.running || !model) return false;
    if (failed) conversation.remove(failed);
    near.current = true;
    conversation.ask(model, added, options, {...draft, model}).then(({error}) => {
      if (error?.status === 401) wantKey();
      if (error?.status === 404) look(); // another config is in force by now
    });
    return true;
  }
  const send = () => {
    const prompt = draft.prompt.trim();
    if (prompt && ask([{role: "user", content: prompt}])) setDraft({...draft, prompt: ""});
  };
  const pick = ({prompt, tools = "", format = ""}) => setDraft({...draft, prompt, tools, format});
  const link = ({draft, added}) => () => new URL(hash("playground", {...draft, prompt: added.find(({role}) => role === "user")?.content ?? ""}), location.href).href;

  return html`<div class="playground">
    <p class="hidden" role="status">${spoken(turns.at(-1))}</p>
    ${(turns.length > 0 || conversation.sums.asked > 0) && html`<${Session} sums=${conversation.sums} turns=${turns} onForget=${() => conversation.forgetSums()} onNew=${() => conversation.clear()} />`}
    ${trouble && html`<${Trouble} title=${TITLES[trouble.status] ?? "The server refused"} error=${trouble} wantKey=${wantKey} onRetry=${look} />`}
    ${turns.length > 0 && html`<h1 class="hidden">Playground</h1>`}
    <div class="turns">
      ${turns.length === 0 && about && !trouble && html`<${Welcome} cascade=${about?.cascades.find(({id}) => id === model)} onPick=${pick} />`}
      ${turns.map((turn, index) => html`<${Turn} key=${turn.number} turn=${turn} about=${about} latest=${index === turns.length - 1 && !running} onResults=${ask} onRetry=${running ? null : () => ask(turn.added, turn)} onKeep=${policy => setDraft({...draft, policy})} link=${link(turn)} wantKey=${wantKey} />`)}
    </div>
    <${Composer} draft=${draft} model=${model} set=${setDraft} models=${models} running=${running} onSend=${send} onStop=${() => conversation.stop()} fault=${fault || missing} />
  </div>`;
}
