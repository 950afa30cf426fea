// What the view reads of a report: pairs of group and cascade, the names of rows, points of a curve.
import {percent} from "../../lib/format.js";

export const UNITS = {rate: "deferral rate", flops: "FLOPs, of the target's", usd: "dollars, of the target's", device_s: "device seconds, of the target's", latency_s: "latency, of the target's"};

/** Everything that can be shown of a report. Throws an Error that says what is wrong with it, so that all the rest can be drawn. */
export function pairsOf(report) {
  if (!Array.isArray(report?.groups)) throw new Error("This is no report of cascade evaluate: it has no groups. Open the report.json that --report writes, or a records file.");
  const pairs = report.groups.flatMap(group => listOf(group?.cascades).filter(cascade => listOf(cascade?.rows).length || listOf(cascade?.front?.points).length).map(cascade => ({group, cascade, name: `${group.name}: ${cascade.id}`})));
  if (!pairs.length) throw new Error(report.groups.map(group => group?.problem).find(Boolean) ?? "This report has no cascades.");
  for (const {cascade, name} of pairs) {
    const field = invalidField(cascade);
    if (field) throw new Error(`This report cannot be drawn: ${name} has no valid ${field}. Open the report.json that this version of cascade evaluate --report writes.`);
  }
  return {pairs, source: report.source ?? {}};
}

const listOf = value => (Array.isArray(value) ? value : []);
const absent = value => value === null || value === undefined;
const numbers = values => Array.isArray(values) && values.length > 0 && values.every(Number.isFinite);
const isExample = example => Array.isArray(example?.references ?? []) && Object.values(example?.answers ?? {}).length > 0 && !Object.values(example.answers).some(absent);

/** The first field of a cascade that is not as it is drawn, or undefined. */
function invalidField(cascade) {
  const {baselines, tiers, rows, front, looked_at: shown} = cascade;
  if (!Array.isArray(tiers) || !tiers.every(Array.isArray)) return "tiers";
  if (front) return invalidFront(cascade);
  if (!Number.isFinite(estimate(baselines?.target))) return "baselines.target";
  for (const [place, row] of rows.entries()) {
    const field = invalidCurve(row?.curve) ?? (row.kind === "chow_member" && !Array.isArray(row.models) ? "models" : undefined);
    if (field) return `rows[${place}].${field}`;
  }
  return ["worst", "most", "least"].filter(name => !absent(shown?.[name])).map(name => (Array.isArray(shown[name]) && shown[name].every(isExample) ? undefined : `looked_at.${name}`)).find(Boolean);
}

function invalidFront(cascade) {
  if (!Number.isFinite(targetQuality(cascade))) return `models.${cascade.target}.quality.${cascade.metric}`;
  if (!Object.hasOwn(UNITS, cascade.front.unit)) return "front.unit";
  const place = cascade.front.points.findIndex(point => !Number.isFinite(point?.cost) || !Number.isFinite(point.quality) || !Array.isArray(point.thresholds));
  return place < 0 ? undefined : `front.points[${place}]`;
}

function invalidCurve(curve) {
  if (!numbers(curve?.rate)) return "curve.rate";
  const fits = values => Array.isArray(values) && values.length === curve.rate.length;
  if (!numbers(curve.quality) || !fits(curve.quality)) return "curve.quality";
  if (!fits(curve.threshold)) return "curve.threshold";
  const other = ["quality_low", "quality_high", ...Object.keys(UNITS)].find(name => !absent(curve[name]) && !fits(curve[name]));
  return other && `curve.${other}`;
}

/** The number itself of one with an interval around it. */
export const estimate = value => (Array.isArray(value) ? value[0] : value);

/** Of a cascade with a front, which has no baselines. */
export const targetQuality = ({models, target, metric}) => models?.[target]?.quality?.[metric];
export const interval = value => (Array.isArray(value) ? `${percent(value[0])} (95%: ${percent(value[1])} to ${percent(value[2])})` : "–");

export const nameOf = row => `${row.signal}${row.kind === "chow_member" ? ` of ${row.models.join(", ")}` : ` (${row.agreement})`}${row.selection && row.selection !== "selected" ? `, ${row.selection} selected` : ""}${row.maximum ? ", best in hindsight" : ""}`;

/** The unit's values along a row's curve, or null if they are not known. */
export const along = (row, unit) => (row.curve[unit]?.every(value => value !== null) ? row.curve[unit] : null);

/** A chart needs x in order; the points keep their places in `order`. */
export function ordered(row, unit) {
  const xs = along(row, unit), order = xs.map((_, index) => index).sort((a, b) => xs[a] - xs[b]);
  return {xs: order.map(index => xs[index]), order, of: name => order.map(index => row.curve[name]?.[index] ?? null)};
}

/** The place of the value of `xs`, which is in order, that is nearest to `x`; at the end the last of equal ones. */
export function nearest(xs, x) {
  if (x >= xs.at(-1)) return xs.length - 1;
  return xs.reduce((best, value, place) => (Math.abs(value - x) < Math.abs(xs[best] - x) ? place : best), 0);
}

/** The reported share of wrong accepted answers whose deferral rate is nearest. */
export function acceptedNear(row, rate) {
  const entries = Object.values(row.accepted ?? {}).filter(Boolean);
  return entries.reduce((best, entry) => (best === null || Math.abs(entry.rate - rate) < Math.abs(best.rate - rate) ? entry : best), null);
}
