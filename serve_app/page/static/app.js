// The frame of the page: its views, the key and the theme.
import {html, render, useEffect, useLayoutEffect, useRef, useState} from "./vendor/preact.js";
import {hasKey, setKey, unreachable} from "./lib/api.js";
import {read} from "./lib/fragment.js";
import {Loading, Trouble} from "./lib/states.js";

/** Views by their name in the address; each is loaded when it is first shown, by another address `again`: browsers remember failures, but for those of what a view imports, which a reload alone mends. */
const VIEWS = {
  playground: {title: "Playground", load: again => import("./views/playground.js" + again)},
  live: {title: "Live", load: again => import("./views/live.js" + again)},
  evaluation: {title: "Evaluation", load: again => import("./views/evaluation.js" + again)},
  config: {title: "Config", load: again => import("./views/config.js" + again)},
};
const THEMES = {auto: "System", light: "Light", dark: "Dark"};

const wear = theme => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
};

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto"); // which lib/theme.js has set
  const change = event => {
    const value = event.target.value;
    setTheme(value);
    wear(value);
    try { localStorage.setItem("theme", value); } catch { /* it lasts as long as the tab */ }
  };
  return html`<label class="quiet-select"><span class="hidden">Theme</span>
    <select value=${theme} onChange=${change}>${Object.entries(THEMES).map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select></label>`;
}

function Key({onChange, wanted}) {
  const [shown, setShown] = useState(false);
  const box = useRef(null), field = useRef(null);
  useLayoutEffect(() => { if (wanted) { setShown(true); field.current?.focus(); } }, [wanted]);
  useLayoutEffect(() => { // a frame later the focus may be elsewhere already, and a click missed
    if (!shown) return undefined;
    field.current.focus();
    const left = event => { if (!box.current.contains(event.target)) setShown(false); };
    addEventListener("pointerdown", left);
    return () => removeEventListener("pointerdown", left);
  }, [shown]);
  const close = () => {
    setShown(false);
    box.current.querySelector("button").focus();
  };
  const use = value => {
    setKey(value);
    close();
    onChange();
  };
  return html`<div class="key" ref=${box} onKeyDown=${event => { if (event.key === "Escape" && shown) close(); }}>
    <button type="button" class="quiet" aria-expanded=${shown} onClick=${() => setShown(!shown)}>${hasKey() ? "Key set" : "Key"}</button>
    ${shown && html`<form class="popover" onSubmit=${event => { event.preventDefault(); use(field.current.value); }}>
      <label for="key">API key</label>
      <div class="row"><input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} placeholder="only if the server asks for one" /><button>Use</button>${hasKey() && html`<button type="button" class="quiet" onClick=${() => use("")}>Forget</button>`}</div>
      <p class="soft">Kept in this tab's memory only.</p>
    </form>`}
  </div>`;
}

function App() {
  const [at, setAt] = useState(read());
  const [loaded, setLoaded] = useState({});
  const [tries, setTries] = useState({}); // by view: one that is there must not be loaded twice
  const [generation, setGeneration] = useState(0);
  const [keyWanted, setKeyWanted] = useState(0);
  const name = Object.hasOwn(VIEWS, at.view) ? at.view : "playground";
  const shown = useRef(null), heights = useRef({});
  useLayoutEffect(() => { // before anybody can see the view, and leave it
    const moved = () => {
      if (shown.current) heights.current[shown.current] = scrollY;
      setAt(read());
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  useEffect(() => {
    document.title = `${VIEWS[name].title} · Semantic Cascade`;
    let current = true;
    VIEWS[name].load(tries[name] ? `?again=${tries[name]}` : "").then(module => current && setLoaded({name, View: module.default}), () => current && setLoaded({name, View: null}));
    return () => { current = false; };
  }, [name, tries[name]]);
  const here = loaded.name === name, View = here ? loaded.View : null;
  useLayoutEffect(() => {
    shown.current = View && name; // what takes its place while it loads has no height to come back to
    if (View) scrollTo(0, heights.current[name] ?? 0);
  }, [View]);
  return html`
    <a class="skip" href="#main" onClick=${event => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/playground"><img src="page/static/icon.svg" alt="" width="26" height="26" /> <span>Semantic Cascade</span></a>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([view, {title}]) => html`<a href=${`#/${view}`} aria-current=${view === name ? "page" : null}>${title}</a>`)}</nav>
      <div class="tools"><${Key} wanted=${keyWanted} onChange=${() => setGeneration(value => value + 1)} /><${Theme} /></div>
    </header>
    <main id="main" tabindex="-1">${View ? html`<${View} key=${name} state=${at.state} generation=${generation} wantKey=${() => setKeyWanted(value => value + 1)} />` : here ? html`<${Trouble} title="This view cannot be loaded" error=${unreachable()} onRetry=${() => {
      if (tries[name]) location.reload();
      setLoaded({});
      setTries({...tries, [name]: (tries[name] ?? 0) + 1});
    }} />` : html`<${Loading} />`}</main>`;
}

history.scrollRestoration = "manual"; // a browser scrolls before it says that the address has changed
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
