// Markdown of models as DOM nodes: their HTML is shown as text, and what remains is sanitised all the same.
import {Marked} from "../vendor/marked.js";
import DOMPurify from "../vendor/purify.js";
import {copied} from "./clipboard.js";
import {html, useLayoutEffect, useRef} from "../vendor/preact.js";

const escaped = text => text.replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({text}) => escaped(text),
    image: ({href, text}) => escaped(`[image: ${text || href}]`), // no request leaves the page
    checkbox: ({checked}) => (checked ? "☑ " : "☐ "),
  },
});
const TAGS = ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"];
DOMPurify.addHook("afterSanitizeAttributes", node => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (node.tagName === "PRE") node.setAttribute("tabindex", "0");
});

/** The nodes of a Markdown text; a text that cannot be parsed is shown as it is. */
export function nodesOf(text) {
  try {
    return DOMPurify.sanitize(marked.parse(text), {
      ALLOWED_TAGS: TAGS,
      ALLOWED_ATTR: ["href", "title", "class", "start", "target", "rel", "tabindex"],
      ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
      ALLOW_DATA_ATTR: false,
      RETURN_DOM_FRAGMENT: true,
    });
  } catch {
    return document.createTextNode(text);
  }
}

/** A text in Markdown; once it is complete, its code is highlighted and can be copied. */
export function Markdown({text, done = true}) {
  const box = useRef(null);
  useLayoutEffect(() => {
    box.current.replaceChildren(nodesOf(text));
    if (!done) return;
    for (const block of box.current.querySelectorAll("pre")) addCopy(block);
    highlight(box.current);
  }, [text, done]);
  return html`<div class="markdown" ref=${box}></div>`;
}

/** A button over the block, which moves nothing. */
function addCopy(block) {
  const frame = document.createElement("div"), button = document.createElement("button");
  frame.className = "code";
  Object.assign(button, {type: "button", className: "quiet", textContent: "Copy", ariaLabel: "Copy this code"});
  button.addEventListener("click", async () => { button.textContent = (await copied(block.textContent)) ? "Copied" : "Not allowed"; });
  block.replaceWith(frame);
  frame.append(block, button);
}

async function highlight(box) {
  const blocks = [...box.querySelectorAll("pre code[class^=language-]")];
  if (!blocks.length) return;
  const {default: hljs} = await import("../vendor/highlight.js");
  for (const block of blocks) {
    const language = /^language-([\w+#-]+)/.exec(block.className)?.[1];
    if (language && hljs.getLanguage(language) && block.isConnected) {
      const {value} = hljs.highlight(block.textContent, {language});
      block.replaceChildren(DOMPurify.sanitize(value, {ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true}));
    }
  }
}
