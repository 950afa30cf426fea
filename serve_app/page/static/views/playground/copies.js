// A request as a command, as code, and as a link.
import {html, useEffect, useRef, useState} from "../../vendor/preact.js";
import {hasKey} from "../../lib/api.js";
import {copied} from "../../lib/clipboard.js";

const shown = body => {
  const {events, ...cascade} = body.cascade;
  return {...body, cascade};
};
const python = (value, indent) => {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value); // its escapes are Python's, too
  const items = Array.isArray(value) ? value.map(item => python(item, inner)) : Object.entries(value).map(([name, item]) => `${python(name, inner)}: ${python(item, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.map(item => `${inner}${item},\n`).join("")}${indent}${close}` : open + close;
};

const base = () => new URL("v1", document.baseURI).href;
export const json = body => JSON.stringify(shown(body), null, 2);
export const curl = body => {
  const quoted = json(body).replaceAll("'", `'\\''`);
  return `curl -N ${base()}/chat/completions \\\n  -H 'content-type: application/json' \\\n${hasKey() ? "  -H \"authorization: Bearer $CASCADE_API_KEY\" \\\n" : ""}  -d '${quoted}'`;
};
export const code = body => {
  const {model, messages, cascade, stream, ...rest} = shown(body);
  const named = Object.entries(rest).map(([name, value]) => `    ${name}=${python(value, "    ")},\n`).join("");
  return `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${base()}", api_key=os.environ.get("CASCADE_API_KEY", "none"))\nresponse = client.chat.completions.create(\n    model=${python(model, "    ")},\n    messages=${python(messages, "    ")},\n${named}    extra_body={"cascade": ${python(cascade, "    ")}},\n)\nprint(response.choices[0].message.content)\nprint(response.cascade["answered_by"], response.cascade["reason"])\n`;
};

const TOLD_MS = 1800;

/** Buttons that copy: `texts` are names, and functions that return what is copied. */
function Buttons({texts}) {
  const [told, setTold] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = (name, text) => async () => {
    setTold((await copied(text())) ? `${name} copied` : "The browser did not allow it");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setTold(""), TOLD_MS);
  };
  return html`${texts.map(([name, text]) => html`<button type="button" class="quiet" onClick=${copy(name, text)}>${name}</button>`)}
    <span class="soft" role="status">${told}</span>`;
}

export function Copies({body, answer, link}) {
  return html`<div class="copies"><span class="soft">Copy</span> ${answer && html`<${Buttons} texts=${[["answer", () => answer]]} />`}
    <span class="soft">the request as</span> <${Buttons} texts=${[["curl", () => curl(body)], ["Python", () => code(body)], ["JSON", () => json(body)], ["link", link]]} /></div>`;
}
