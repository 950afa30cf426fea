// The server's API: one place for addresses, the key, and everything that can go wrong.

let key = "";

/** Remember the key of this tab, in memory only: it is gone with the tab. */
export const setKey = value => { key = value.trim(); };
export const hasKey = () => key !== "";

const address = path => new URL(path, document.baseURI);
const headers = type => ({"content-type": type, ...(key && {authorization: `Bearer ${key}`})});

/** What went wrong, in words for the user. `kind`: unreachable, refused, broken, failed. */
export class ApiError extends Error {
  constructor(kind, message, {status = 0, retryAfter = null, record = null, param = null} = {}) {
    super(message);
    Object.assign(this, {kind, status, retryAfter, record, param});
  }
}

const brokenOff = () => new ApiError("broken", "The connection broke off before the answer was complete.");
const unreachable = () => new ApiError("unreachable", "The server cannot be reached. It may have stopped, or the network is down.");

async function request(path, {type = "application/json", ...options}) {
  let response;
  try {
    response = await fetch(address(path), {...options, headers: headers(type)});
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  let body = {};
  try { body = JSON.parse(text); } catch { /* a proxy's own page */ }
  const message = body.error?.message ?? `The server answered ${response.status}.`;
  const seconds = Number(response.headers.get("retry-after"));
  throw new ApiError("refused", message, {
    status: response.status, record: body.cascade ?? null, param: body.error?.param ?? null, retryAfter: seconds > 0 ? seconds : null,
  });
}

export const getJson = async path => (await request(path, {method: "GET"})).json();
export const postJson = async (path, body, signal) =>
  (await request(path, {method: "POST", body: JSON.stringify(body), signal})).json();

export const postStream = (path, body, take, signal) => stream(path, {method: "POST", body: JSON.stringify(body), signal}, take);
export const postFile = (path, type, body, take, signal) => stream(path, {method: "POST", type, body, signal}, take);
export const getStream = (path, take, signal) => stream(path, {method: "GET", signal}, take);

/** The value of an event's data, or undefined if only a part of it was written. */
function valueOf(data) {
  try { return JSON.parse(data); } catch { return undefined; }
}

/** Ask for a stream, and give the data of each event to `take`. Ends with [DONE]; anything else is an ApiError. */
async function stream(path, options, take) {
  const response = await request(path, options);
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let rest = "", cut = false;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw brokenOff();
    }
    rest += part.done ? decoder.decode() : decoder.decode(part.value, {stream: true});
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const data = lines.filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
      if (data === "[DONE]") { if (cut) throw brokenOff(); return; }
      if (!data) continue;
      const name = lines.find(line => line.startsWith("event: "))?.slice(7) ?? "message";
      const value = valueOf(data);
      if (value === undefined) { cut = true; continue; } // the next event says why
      if (name === "error") throw new ApiError("failed", value.error?.message ?? "The request failed.", {record: value.cascade ?? null});
      take(value);
    }
    if (part.done) throw brokenOff();
  }
}
