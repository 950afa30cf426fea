// Decisions in words.
import {score} from "../../lib/format.js";

const REASONS = {
  too_few_answers: "too few members gave an answer that could be compared",
  nothing_to_return: "no member gave an answer that could be returned",
  scorer_failed: "the answers could not be compared",
  lexical_agreement: "the scorer failed, and by a lexical signal the answers agree",
  lexical_disagreement: "the scorer failed, and by a lexical signal the answers disagree",
  refused: "a model cannot do what the request asks for",
  unaffordable: "the budget does not allow the tier",
  shed: "many requests wait for the target",
  forced: "the request said so",
  session: "this conversation was deferred before",
};

const sign = (value, threshold, accepted) => {
  const [shown, limit] = score(value) === score(threshold) ? [String(value), String(threshold)] : [score(value), score(threshold)];
  return `${shown} is ${accepted ? "at least" : "below"} the threshold ${limit}`;
};

/** Why a tier accepted or deferred, as a sentence without its end. */
export function why(result) {
  const {agreement, agreement_bounds: bounds, threshold, accepted, reason} = result;
  if (!["agreement", "disagreement", "confident", "unsure"].includes(reason)) return REASONS[reason] ?? String(reason).replaceAll("_", " ");
  const what = ["confident", "unsure"].includes(reason) ? "confidence" : "agreement";
  if (agreement !== null && agreement !== undefined) return `${what} ${sign(agreement, threshold, accepted)}`;
  if (bounds) return `whatever the missing answers say, the ${what} is ${accepted ? "at least" : "below"} the threshold ${score(threshold)}`;
  return accepted ? "the answers agree" : "the answers disagree";
}

/** Names as a list in words, with a verb of their number. */
const withVerb = (names, one, several) => (names.length === 1 ? `${names[0]} ${one}` : `${names.slice(0, -1).join(", ")} and ${names.at(-1)} ${several}`);

/** What a decision leads to, as a sentence. `next` are the models that are asked if it deferred. */
export function decision(result, next) {
  const reason = why(result), sentence = reason[0].toUpperCase() + reason.slice(1);
  return result.accepted ? `${sentence}, so the answer of ${result.selected} goes back.` : `${sentence}, so ${next ? withVerb(next, "is asked", "are asked") : "it is passed on"}.`;
}

/** How a turn goes on, for who does not see it; its end in trouble is an alert of its own. */
export function spoken(turn) {
  if (!turn || ["failed", "stopped"].includes(turn.status)) return "";
  if (turn.status === "done") return turn.record?.answered_by ? `Answered by ${turn.record.answered_by}.` : "Answered.";
  const tiers = turn.tiers.filter(Boolean), [decided, next] = [tiers.findLast(tier => tier.result?.reason), tiers.findLast(tier => !tier.result)];
  if (decided) return decision(decided.result, next?.models);
  return next ? `${withVerb(next.models, "answers", "answer")}.` : "Asking.";
}
