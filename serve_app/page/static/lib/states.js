// What is shown in place of what is not there yet, or cannot be.
import {html} from "../vendor/preact.js";

export const Loading = () => html`<div class="loading" role="status"><span>Loading …</span></div>`;

/** What went wrong. Without `onRetry` it is tried again by itself, which `children` say. */
export function Trouble({title, error, wantKey, onRetry, children}) {
  return html`<div class="fault-card" role="alert"><h2>${title}</h2><p>${error.message}</p>
    ${error.retryAfter && html`<p class="soft">It may work again in ${Math.ceil(error.retryAfter)} s.</p>`}${children}
    <div class="row">${[401, 403].includes(error.status) && html`<button type="button" onClick=${wantKey}>Enter a key</button>`}${onRetry && html`<button type="button" class="quiet" onClick=${onRetry}>Try again</button>`}</div></div>`;
}
