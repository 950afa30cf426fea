// The choice of a cascade, for views that show one of several.
import {html} from "../vendor/preact.js";

export function CascadeChoice({cascades, chosen, onChoose}) {
  return cascades.length > 1 && html`<label class="quiet-select">Cascade <select onChange=${event => onChoose(event.target.value)}>${cascades.map(({id}) => html`<option value=${id} selected=${id === chosen}>${id}</option>`)}</select></label>`;
}
