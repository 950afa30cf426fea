// A cascade as a drawing: a frame for each tier, a box for each of its models, what is deferred going down.
import {html} from "../../vendor/preact.js";
import {score} from "../../lib/format.js";
import {placement, replicas, size} from "./words.js";

const EDGE = 12, GAP = 10, TITLE = 26, BOX = {least: 190, most: 280, height: 90}, GATE = 34, ARROW = 40;
const CHARACTER = 7.6;
/** A text that fits so many pixels; SVG does not wrap. */
const fitted = (text, width) => { const most = Math.max(4, Math.floor(width / CHARACTER)); return text.length > most ? `${text.slice(0, most - 1)}…` : text; };

/** Where everything of a cascade is, in a drawing of this width. */
export function layout(cascade, width) {
  const inner = width - 2 * EDGE, columns = Math.max(1, Math.floor((inner + GAP) / (BOX.least + GAP)));
  let y = 1;
  const tiers = cascade.tiers.map((tier, number) => {
    const across = Math.min(columns, tier.models.length), rows = Math.ceil(tier.models.length / columns);
    const wide = Math.min(BOX.most, (inner - (across - 1) * GAP) / across);
    const height = TITLE + rows * (BOX.height + GAP) + (tier.signal ? GATE : 4);
    const left = (width - across * wide - (across - 1) * GAP) / 2;
    const boxes = tier.models.map((_, index) => ({x: left + (index % columns) * (wide + GAP), y: y + TITLE + Math.floor(index / columns) * (BOX.height + GAP), width: wide}));
    const frame = {y, height, boxes, gate: y + height - GATE};
    y += height + (number < cascade.tiers.length - 1 ? ARROW : 1);
    return frame;
  });
  return {tiers, height: y};
}

function Box({at, lines}) {
  return html`<g class="box"><rect x=${at.x} y=${at.y} width=${at.width} height=${BOX.height} rx="8" />
    <title>${lines.join("\n")}</title>
    ${lines.map((line, index) => html`<text x=${at.x + 10} y=${at.y + 22 + index * 19} class=${index ? "fine" : "name"}>${fitted(line, at.width - 20)}</text>`)}</g>`;
}

export function Drawing({config, cascade, width, open, onOpen}) {
  const {tiers, height} = layout(cascade, width), last = cascade.tiers.length - 1;
  const models = new Map(config.models.map(model => [model.name, model])), deployed = new Map(config.deployments.map(each => [each.name, each]));
  const linesOf = (tier, index) => {
    const name = tier.models[index], model = models.get(name.replace(/#\d+$/, "")), deployment = deployed.get(tier.deployments[index]);
    return [name, [model?.engine, model && size(model)].filter(Boolean).join(" · "), ...(deployment ? [`replicas: ${replicas(deployment)}`, placement(deployment)] : [])];
  };
  return html`<svg class="graph" role="img" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} aria-label=${`The cascade ${cascade.id}, drawn`} aria-describedby="drawn">
    ${tiers.map((frame, number) => {
      const tier = cascade.tiers[number], middle = width / 2, end = frame.y + frame.height;
      return html`<g key=${number} class=${`frame ${open === number ? "open" : ""}`} onClick=${() => onOpen(number)}>
        <rect class="ground" x="1" y=${frame.y} width=${width - 2} height=${frame.height} rx="12" />
        <text class="title" x=${EDGE} y=${frame.y + 18}>${number === last ? "Target" : `Tier ${number + 1}`}</text>
        ${frame.boxes.map((at, index) => html`<${Box} key=${index} at=${at} lines=${linesOf(tier, index)} />`)}
        ${tier.signal && html`<text class="gate" x=${EDGE} y=${frame.gate + 21}>${fitted(`${tier.signal}: accepted from ${score(tier.threshold)} on`, width - 2 * EDGE)}</text>`}
        ${number < last && html`<path class="arrow" d=${`M${middle} ${end} v${ARROW - 9}`} /><path class="tip" d=${`M${middle - 6} ${end + ARROW - 11} h12 l-6 9 z`} /><text class="deferred" x=${middle + 12} y=${end + ARROW / 2 + 4}>deferred</text>`}
      </g>`;
    })}
  </svg>
  <ul id="drawn" class="hidden">${cascade.tiers.map((tier, number) => html`<li>${number === last ? "Target" : `Tier ${number + 1}`}: ${tier.models.map((_, index) => linesOf(tier, index).filter(Boolean).join(", ")).join("; ")}${tier.signal ? `; ${tier.signal}: accepted from ${score(tier.threshold)} on, else deferred` : ""}</li>`)}</ul>`;
}
