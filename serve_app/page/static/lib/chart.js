// uPlot as a component, in the colours of the page.
import uPlot from "../vendor/uplot.js";
import {html, useEffect, useRef} from "../vendor/preact.js";

export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const axis = options => ({stroke: () => colour("soft"), grid: {stroke: () => colour("line"), width: 1}, ticks: {show: false}, font: "12px system-ui, sans-serif", ...options});

/** A chart of `data` (x values, then each series). `series` and `axes` as uPlot takes them; drawn anew if `shape` changes. */
export function Chart({data, series, axes = [{}, {}], scales = {}, height = 220, label, shape = "", hooks = {}, bands = []}) {
  const box = useRef(null), chart = useRef(null);
  useEffect(() => {
    const width = () => Math.max(200, box.current.clientWidth);
    const options = {width: width(), height, series, scales, hooks, bands, cursor: {y: false}, legend: {show: false}, axes: axes.map(axis)};
    chart.current = new uPlot(options, data, box.current);
    const resized = new ResizeObserver(() => chart.current.setSize({width: width(), height}));
    resized.observe(box.current);
    const dark = matchMedia("(prefers-color-scheme: dark)"), redraw = () => chart.current.redraw(false);
    dark.addEventListener("change", redraw);
    const worn = new MutationObserver(redraw);
    worn.observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
    return () => { resized.disconnect(); worn.disconnect(); dark.removeEventListener("change", redraw); chart.current.destroy(); };
  }, [shape]);
  useEffect(() => { chart.current?.setData(data); }, [data]);
  return html`<div class="chart" ref=${box} role="img" aria-label=${label} style=${{height: `${height}px`}}></div>`;
}
