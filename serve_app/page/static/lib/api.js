// The server's API: one place for addresses, the key, and everything that can go wrong.

let key = "";

/** Remember the key of this tab, in memory only: it is gone with the tab. */
export const setKey = value => { key = value.trim(); };
export const hasKey = () => key !== "";

const address = path => new URL(path, document.baseURI);

/** The headers of a request, unless the key is one that no header can carry. */
function headers(type) {
  const values = {"content-type": type, ...(key && {authorization: `Bearer ${key}`})};
  try { new Headers(values); } catch { throw new ApiError("refused", "This key has characters that no API key has. Enter it again.", {status: 401}); }
  return values;
}

/** What went wrong, in words for the user. `kind`: unreachable, refused, broken, failed. */
export class ApiError extends Error {
  constructor(kind, message, {status = 0, retryAfter = null, record = null, param = null} = {}) {
    super(message);
    Object.assign(this, {kind, status, retryAfter, record, param});
  }
}

const brokenOff = () => new ApiError("broken", "The connection broke off before the answer was complete.");
export const unreachable = () => new ApiError("unreachable", "The server cannot be reached. It may have stopped, or the network is down.");

async function request(path, {type = "application/json", ...options}) {
  const sent = headers(type);
  let response;
  try {
    response = await fetch(address(path), {...options, headers: sent});
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  options.signal?.throwIfAborted();
  let body = {};
  try { body = JSON.parse(text); } catch { /* a proxy's own page */ }
  const message = body.error?.message ?? `The server answered ${response.status}.`;
  const seconds = Number(response.headers.get("retry-after"));
  throw new ApiError("refused", message, {
    status: response.status, record: body.cascade ?? null, param: body.error?.param ?? null, retryAfter: seconds > 0 ? seconds : null,
  });
}

async function json(path, options) {
  const response = await request(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : brokenOff();
  }
}

export const getJson = path => json(path, {method: "GET"});
export const postJson = (path, body, signal) => json(path, {method: "POST", body: JSON.stringify(body), signal});

export const postStream = (path, body, take, signal) => stream(path, {method: "POST", body: JSON.stringify(body), signal}, take);
export const postFile = (path, type, body, take, signal) => stream(path, {method: "POST", type, body, signal}, take);
export const getStream = (path, take, signal) => stream(path, {method: "GET", signal}, take);

/** The value of an event's data, or undefined if only a part of it was written. */
function valueOf(data) {
  try { return JSON.parse(data); } catch { return undefined; }
}

/** Ask for a stream, and give the data of each event to `take`. Ends with [DONE]; anything else is an ApiError. */
async function stream(path, options, take) {
  const reader = (await request(path, options)).body.getReader();
  try {
    await takeEvents(reader, take);
  } finally {
    reader.cancel().catch(() => {}); // the server need not write what nobody reads
  }
}

async function takeEvents(reader, take) {
  const decoder = new TextDecoder();
  let rest = "", cut = false;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw error.name === "AbortError" ? error : brokenOff();
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
