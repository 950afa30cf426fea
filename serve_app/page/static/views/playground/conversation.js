// The turns of a conversation, and how a turn grows with the events of its stream.
import {ApiError, postStream} from "../../lib/api.js";

const call = () => ({text: "", reasoning: "", status: "waiting", started: performance.now()});

/** One request and everything that came of it. */
function turnOf(number, model, added, body, draft) {
  return {number, model, added, body, draft, status: "running", started: performance.now(), tiers: [], calls: {}, answer: {text: "", reasoning: "", tools: []}, record: null, error: null};
}

function takeProgress(turn, event) {
  switch (event.type) {
    case "tier_started":
      turn.tiers[event.tier] = {...event, started: performance.now(), result: null};
      break;
    case "call_started":
      turn.calls[event.model] = call();
      break;
    case "call_delta": {
      const at = (turn.calls[event.model] ??= call());
      at.status = "writing";
      at.text += event.text ?? "";
      at.reasoning += event.reasoning ?? "";
      break;
    }
    case "call_ended":
      turn.calls[event.model] = {...(turn.calls[event.model] ?? call()), ...event};
      break;
    case "tier_ended": {
      const index = turn.tiers.findLastIndex(tier => tier && tier.result === null);
      if (index >= 0) turn.tiers[index].result = event;
      break;
    }
  }
}

function take(turn, chunk) {
  if (chunk.cascade_event) takeProgress(turn, chunk.cascade_event);
  for (const {delta} of chunk.choices ?? []) {
    if (!delta) continue;
    turn.answer.text += delta.content ?? "";
    turn.answer.reasoning += delta.reasoning_content ?? "";
    turn.answer.tools.push(...(delta.tool_calls ?? []));
  }
  if (chunk.cascade) takeRecord(turn, chunk.cascade);
}

/** The record is the last word; an answer from the cascade's cache has no events, so its tiers come from here. */
function takeRecord(turn, record) {
  turn.record = record;
  record.tiers.forEach((tier, number) => {
    const models = Object.fromEntries(tier.models.map((name, index) => [name, {text: tier.answers?.[index] ?? "", status: "ok", cached: true}]));
    turn.tiers[number] ??= {type: "tier_started", tier: number, models: tier.models, signal: tier.signal, threshold: tier.threshold, result: null};
    turn.tiers[number].result ??= tier;
    turn.calls = {...models, ...turn.calls};
  });
}

/** Sums over the turns of a session that were answered: what was asked, accepted, and spent beside the target alone. */
const NOTHING = {asked: 0, accepted: 0, seconds: 0, tokens: 0, cost: {target_only: {}}};

function plus(sums, record) {
  if (!record || record.answered_by === null) return sums;
  const cost = {...sums.cost, target_only: {...sums.cost.target_only}};
  for (const unit of ["usd", "flops", "device_s"]) {
    const spent = record.cost[unit], alone = record.cost.target_only?.[unit];
    if (spent === null || spent === undefined || alone === null || alone === undefined) continue;
    cost[unit] = (cost[unit] ?? 0) + spent;
    cost.target_only[unit] = (cost.target_only[unit] ?? 0) + alone;
  }
  const tokens = Object.values(record.models).reduce((sum, model) => sum + model.prompt_tokens + model.completion_tokens, 0);
  return {asked: sums.asked + 1, accepted: sums.accepted + (record.deferred ? 0 : 1), seconds: sums.seconds + (record.timings_s.total ?? 0), tokens: sums.tokens + tokens, cost};
}

/** A conversation: `changed` is called, at most once a frame, whenever something is to be drawn anew. */
export class Conversation {
  constructor() {
    this.turns = [];
    this.begun = 0;
    this.sums = NOTHING;
    this.changed = () => {};
    this._due = false;
  }

  get running() { return this.turns.find(turn => turn.status === "running") ?? null; }

  /** The messages so far: of the turns that were answered. */
  history() {
    return this.turns.filter(turn => turn.status === "done").flatMap(turn => [...turn.added, reply(turn)]);
  }

  clear() {
    this.stop();
    this.turns = [];
    this._draw();
  }

  forgetSums() {
    this.sums = NOTHING;
    this._draw();
  }

  remove(turn) { this.turns = this.turns.filter(other => other !== turn); }

  stop() { this._stopping?.abort(); }

  /** Ask with new messages. Returns when the turn has ended, however it did. `draft` is what the link of the turn holds. */
  async ask(model, added, options, draft) {
    const system = draft.system?.trim();
    const messages = [...(system ? [{role: "system", content: system}] : []), ...this.history(), ...added];
    const body = {model, messages, ...options, stream: true, cascade: {...options.cascade, events: true, include_answers: true}};
    const turn = turnOf(++this.begun, model, added, body, draft);
    this.turns.push(turn);
    this._stopping = new AbortController();
    this._draw();
    try {
      await postStream("v1/chat/completions", body, chunk => { take(turn, chunk); this._draw(); }, this._stopping.signal);
      turn.status = "done";
    } catch (error) {
      turn.status = error.name === "AbortError" ? "stopped" : "failed";
      if (turn.status === "failed") turn.error = error instanceof ApiError ? error : new ApiError("failed", `This page could not read the answer: ${error.message}`);
      if (error.record) takeRecord(turn, error.record);
    }
    this.sums = plus(this.sums, turn.record);
    for (const name of Object.keys(turn.calls)) if (["waiting", "writing"].includes(turn.calls[name].status)) turn.calls[name].status = "cancelled";
    this._draw();
    return turn;
  }

  _draw() {
    if (this._due) return;
    this._due = true;
    const draw = () => { if (this._due) { this._due = false; this.changed(); } };
    requestAnimationFrame(draw);
    setTimeout(draw, 250); // hidden tabs have no frames
  }
}

function reply({answer}) {
  const tools = answer.tools.map(({id, type, function: called}) => ({id, type, function: called}));
  return {role: "assistant", content: answer.text || null, ...(tools.length && {tool_calls: tools})};
}
