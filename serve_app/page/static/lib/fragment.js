// The state of a view in the address: #/playground/BASE64URL. Nothing of it is sent to the server.

export function read() {
  const [, view = "playground", coded = ""] = location.hash.split("/");
  let state = {};
  try {
    if (coded) {
      const bytes = Uint8Array.from(atob(coded.replaceAll("-", "+").replaceAll("_", "/")), sign => sign.charCodeAt(0));
      const value = JSON.parse(new TextDecoder().decode(bytes));
      if (value && typeof value === "object") state = value;
    }
  } catch { /* a damaged link is a link to the view */ }
  return {view, state};
}

export function hash(view, state = {}) {
  const filled = Object.fromEntries(Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  if (!Object.keys(filled).length) return `#/${view}`;
  const bytes = new TextEncoder().encode(JSON.stringify(filled));
  return `#/${view}/${btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}
