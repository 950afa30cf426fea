// The choice of a cascade, or of a model that is asked by itself (`single`), for views that show one of several.
import {html} from "../vendor/preact.js";

export function CascadeChoice({cascades, chosen, onChoose}) {
  return cascades.length > 1 && html`<label class="quiet-select">${cascades.some(({single}) => single) ? "Cascade or model" : "Cascade"} <select onChange=${event => onChoose(event.target.value)}>${cascades.map(({id}) => html`<option value=${id} selected=${id === chosen}>${id}</option>`)}</select></label>`;
}
