// The playground: ask a cascade, and see why it decides as it does.
import {html, useEffect, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {getJson} from "../lib/api.js";
import {percent, seconds, count, unitOf} from "../lib/format.js";
import {hash} from "../lib/fragment.js";
import {Composer, optionsOf} from "./playground/composer.js";
import {Conversation, totals} from "./playground/conversation.js";
import {Turn} from "./playground/turn.js";
import {Welcome} from "./playground/welcome.js";

const FIELDS = ["model", "prompt", "system", "tools", "format", "most", "temperature", "force", "policy"];
const drafted = state => ({prompt: "", model: "", ...Object.fromEntries(FIELDS.filter(name => name in state).map(name => [name, state[name]]))});
const text = value => (typeof value === "string" ? value : "");
const isObject = value => typeof value === "object" && value !== null && !Array.isArray(value);
/** A link may hold anything. */
const checked = draft => Object.fromEntries(Object.entries(draft).flatMap(([name, value]) =>
  name !== "policy" ? [[name, text(value)]] : isObject(value) ? [[name, value]] : []));

/** These outlive the view: a look at another one ends no conversation. */
const conversation = new Conversation(), kept = {draft: null};

function Session({turns, onNew}) {
  const sums = totals(turns), unit = unitOf(sums.cost), alone = sums.cost.target_only[unit];
  return html`<div class="session" role="status" aria-label="Session">
    <span><strong>${sums.asked}</strong> asked</span><span><strong>${sums.accepted}</strong> accepted</span>
    <span>${alone > 0 ? html`<strong>${percent(sums.cost[unit] / alone)}</strong> of the target's cost` : html`<span class="soft">no cost yet</span>`}</span>
    <span class="soft">${count(sums.tokens)} tokens · ${seconds(sums.seconds)}</span>
    <button type="button" class="quiet" onClick=${onNew}>New conversation</button></div>`;
}

export default function Playground({state, generation, wantKey}) {
  const [, redraw] = useState(0);
  const [draft, setDraft] = useState(() => (Object.keys(state).length ? checked(drafted(state)) : kept.draft ?? drafted({})));
  kept.draft = draft;
  const [about, setAbout] = useState(null);
  const [models, setModels] = useState([]);
  const [trouble, setTrouble] = useState(null);
  const [fault, setFault] = useState("");
  useEffect(() => { if (Object.keys(state).length) setDraft(checked(drafted(state))); }, [state]);
  useEffect(() => { load(); }, [generation]);
  useEffect(() => {
    conversation.changed = () => redraw(value => value + 1);
    return () => { conversation.changed = () => {}; };
  }, []);

  async function load() {
    try {
      const [info, {data}] = await Promise.all([getJson("page/about"), getJson("v1/models")]);
      const askable = data.filter(({kind}) => kind !== "embedding");
      setAbout(info);
      setModels(askable);
      setTrouble(null);
      setDraft(draft => (askable.some(({id}) => id === draft.model) ? draft : {...draft, model: askable[0]?.id ?? ""}));
    } catch (error) {
      setTrouble(error);
      if (error.status === 401) wantKey();
    }
  }

  const {turns, running} = conversation, near = useRef(true);
  useEffect(() => {
    const look = () => { near.current = innerHeight + scrollY > document.documentElement.scrollHeight - 240; };
    addEventListener("scroll", look, {passive: true});
    return () => removeEventListener("scroll", look);
  }, []);
  const followed = useRef(null);
  useLayoutEffect(() => {
    if ((running ?? followed.current) && near.current) scrollTo(0, document.documentElement.scrollHeight);
    followed.current = running; // the last drawing of a turn, which adds its cost, is followed too
  });

  async function ask(added, from = draft) {
    const {options, fault} = optionsOf(from);
    setFault(fault ?? "");
    if (fault || conversation.running) return;
    near.current = true;
    const turn = await conversation.ask(from.model, added, options, from.system?.trim());
    if (turn.error?.status === 401) wantKey();
  }
  const send = () => {
    const prompt = draft.prompt.trim();
    if (!prompt || running || !draft.model) return;
    const {fault} = optionsOf(draft);
    if (fault) { setFault(fault); return; }
    ask([{role: "user", content: prompt}]);
    setDraft({...draft, prompt: ""});
  };
  const pick = ({prompt, tools = "", format = ""}) => setDraft({...draft, prompt, tools, format});
  const retry = turn => { conversation.turns.splice(conversation.turns.indexOf(turn), 1); ask(turn.added); };
  const link = turn => () => new URL(hash("playground", {...draft, model: turn.model, prompt: turn.added.find(({role}) => role === "user")?.content ?? ""}), location.href).href;

  return html`<div class="playground">
    ${conversation.session.length > 0 && html`<${Session} turns=${conversation.session} onNew=${() => conversation.clear()} />`}
    ${trouble && html`<div class="fault-card" role="alert"><h2>${trouble.status === 401 ? "This server asks for a key" : "The server does not answer"}</h2><p>${trouble.message}</p><button type="button" onClick=${load}>Try again</button></div>`}
    <div class="turns">
      ${turns.length === 0 && about && !trouble && html`<${Welcome} cascade=${about?.cascades.find(({id}) => id === draft.model)} onPick=${pick} />`}
      ${turns.map((turn, index) => html`<${Turn} key=${turn.number} turn=${turn} about=${about} latest=${index === turns.length - 1 && !running} onResults=${ask} onRetry=${() => retry(turn)} onKeep=${policy => setDraft({...draft, policy})} link=${link(turn)} wantKey=${wantKey} />`)}
    </div>
    <${Composer} draft=${draft} set=${setDraft} models=${models} running=${running} onSend=${send} onStop=${() => conversation.stop()} fault=${fault} />
  </div>`;
}
