// A chart with a place on it that can be moved, by mouse or by keys.
import {html, useRef} from "../../vendor/preact.js";
import {Chart, colour} from "../../lib/chart.js";
import {percent} from "../../lib/format.js";
import {nearest} from "./curves.js";

export const line = (name, width, dash) => ({stroke: () => colour(name), width, dash, points: {show: false}});
const band = {stroke: "transparent", points: {show: false}};
/** Of data whose first two series are the ends of intervals. */
export const BAND = {series: [band, band], bands: [{series: [2, 1], fill: () => `color-mix(in srgb, ${colour("brand")} 14%, transparent)`}]};

/** `data` is x values, in order, then `series`; `at` is the place among them, and `says` tells it to screen readers. */
export function Along({data, series, bands = [], shape, label, at, says, onMove}) {
  const xs = data[0], moved = useRef(at);
  moved.current = at;
  const mark = chart => {
    const x = chart.valToPos(chart.data[0][Math.min(moved.current, chart.data[0].length - 1)], "x", true), {ctx, bbox} = chart;
    ctx.save(); ctx.strokeStyle = colour("ink"); ctx.setLineDash([5, 4]); ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke(); ctx.restore();
  };
  const step = event => {
    const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
    if (by) { event.preventDefault(); onMove(Math.min(xs.length - 1, Math.max(0, at + by))); }
  };
  return html`<${Chart} data=${data} shape=${shape} height=${260} label=${label} scales=${{x: {time: false}}} hooks=${{draw: [mark]}} series=${[{}, ...series]} bands=${bands}
      axes=${[{values: (_, ticks) => ticks.map(percent)}, {size: 48}]} />
    <input class="along" type="range" min=${xs[0]} max=${xs.at(-1)} step="any" value=${xs[at]} aria-label="Threshold" aria-valuetext=${says}
      onInput=${event => onMove(nearest(xs, Number(event.target.value)))} onKeyDown=${step} />`;
}
