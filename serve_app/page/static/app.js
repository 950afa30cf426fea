// The frame of the page: its views, the key and the theme.
import {html, render, useEffect, useRef, useState} from "./vendor/preact.js";
import {hasKey, setKey} from "./lib/api.js";
import {read} from "./lib/fragment.js";

/** Views by their name in the address; each is loaded when it is first shown. */
const VIEWS = {
  playground: {title: "Playground", load: () => import("./views/playground.js")},
  live: {title: "Live", load: () => import("./views/live.js")},
  evaluation: {title: "Evaluation", load: () => import("./views/evaluation.js")},
  config: {title: "Config", load: () => import("./views/config.js")},
};
const THEMES = {auto: "System", light: "Light", dark: "Dark"};

const stored = () => { try { return localStorage.getItem("theme") ?? "auto"; } catch { return "auto"; } };
const wear = theme => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
};
wear(stored());

function Theme() {
  const [theme, setTheme] = useState(stored());
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
  const field = useRef(null);
  useEffect(() => { if (wanted) setShown(true); }, [wanted]);
  useEffect(() => { if (shown) field.current?.focus(); }, [shown]);
  const save = event => {
    event.preventDefault();
    setKey(field.current.value);
    setShown(false);
    onChange();
  };
  return html`<div class="key">
    <button type="button" class="quiet" aria-expanded=${shown} onClick=${() => setShown(!shown)}>${hasKey() ? "Key set" : "Key"}</button>
    ${shown && html`<form class="popover" onSubmit=${save}>
      <label for="key">API key</label>
      <div class="row"><input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} placeholder="only if the server asks for one" /><button>Use</button></div>
      <p class="soft">Kept in this tab's memory only.</p>
    </form>`}
  </div>`;
}

function App() {
  const [at, setAt] = useState(read());
  const [loaded, setLoaded] = useState({});
  const [generation, setGeneration] = useState(0);
  const [keyWanted, setKeyWanted] = useState(0);
  useEffect(() => {
    const moved = () => setAt(read());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const name = Object.hasOwn(VIEWS, at.view) ? at.view : "playground";
  useEffect(() => {
    document.title = `${VIEWS[name].title} · Semantic Cascade`;
    let current = true;
    VIEWS[name].load().then(module => current && setLoaded({name, View: module.default}));
    return () => { current = false; };
  }, [name]);
  const View = loaded.name === name ? loaded.View : null;
  return html`
    <a class="skip" href="#main" onClick=${event => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/playground"><img src="page/static/icon.svg" alt="" width="26" height="26" /> <span>Semantic Cascade</span></a>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([view, {title}]) => html`<a href=${`#/${view}`} aria-current=${view === name ? "page" : null}>${title}</a>`)}</nav>
      <div class="tools"><${Key} wanted=${keyWanted} onChange=${() => setGeneration(generation + 1)} /><${Theme} /></div>
    </header>
    <main id="main" tabindex="-1">${View ? html`<${View} key=${name} state=${at.state} generation=${generation} wantKey=${() => setKeyWanted(keyWanted + 1)} />` : html`<div class="loading" aria-busy="true"></div>`}</main>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
