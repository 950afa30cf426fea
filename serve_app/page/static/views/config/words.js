// Sizes, replicas and placement in words.

const PREFIXES = [[1e12, "T"], [1e9, "B"], [1e6, "M"]];
const parameters = value => {
  const [unit, sign] = PREFIXES.find(([least]) => value >= least) ?? [1, ""];
  return `${Number((value / unit).toPrecision(3))}${sign}`;
};
export const size = ({parameters: all, active_parameters: active}) => (all ? `${parameters(all)}${active ? `, ${parameters(active)} active` : ""}` : "");
export const replicas = ({replicas: [low, high]}) => (low === high ? `${low}` : `${low} to ${high}, by load`);

/** What one replica reserves; equal bundles are counted. */
export function placement({bundles, strategy}) {
  const counts = new Map();
  for (const bundle of bundles) counts.set(bundle, (counts.get(bundle) ?? 0) + 1);
  const words = [...counts].map(([bundle, count]) => (count > 1 ? `${count} × (${bundle})` : bundle)).join(" + ");
  return strategy ? `${words}, ${strategy}` : words;
}
