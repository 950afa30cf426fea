// Numbers and costs in words.

/** A number of a report, whose infinities are words. */
export const numeric = value => ({inf: Infinity, "-inf": -Infinity})[value] ?? value;
export const score = value => (value === null || value === undefined ? "–" : !Number.isFinite(numeric(value)) ? (numeric(value) > 0 ? "∞" : "−∞") : value.toFixed(value < 0.9995 && value > -0.9995 ? 3 : 2).replace("-", "−"));
export const seconds = value => (value === null || value === undefined ? "–" : value < 0.0995 ? `${Math.round(value * 1000)} ms` : value < 9.95 ? `${value.toFixed(2)} s` : `${value.toFixed(1)} s`);
export const count = value => (value ?? 0).toLocaleString("en");
export const percent = value => (value === null || !Number.isFinite(value) ? "–" : `${value < 0.0995 && value !== 0 ? (value * 100).toFixed(1) : Math.round(value * 100)}%`);

const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const flops = value => {
  const [size, prefix] = PREFIXES.find(([size]) => value >= 0.9995 * size) ?? [1, ""];
  return `${(value / size).toPrecision(3)} ${prefix}FLOPs`;
};
const usd = value => `$${value >= 0.01 ? value.toFixed(2) : value.toLocaleString("en", {maximumSignificantDigits: 2})}`;

/** The units of cost, the one that says most first. */
export const UNITS = {
  usd: {name: "dollars", show: usd},
  flops: {name: "FLOPs", show: flops},
  device_s: {name: "device seconds", show: seconds},
};
/** The unit in which a request's cost is told: dollars if they have a price, else compute. */
export const unitOf = cost =>
  Object.keys(UNITS).find(unit => (cost?.target_only?.[unit] ?? 0) > 0 && cost[unit] !== null) ??
  Object.keys(UNITS).find(unit => (cost?.[unit] ?? 0) > 0) ?? "flops";
export const price = (cost, unit) => {
  const value = cost?.[unit];
  return value === null || value === undefined ? "–" : value === 0 ? "0" : UNITS[unit].show(value);
};
