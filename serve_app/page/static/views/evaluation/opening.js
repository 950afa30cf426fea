// A file that is opened: a report is read in the browser alone, records are evaluated by the server.
import {postFile} from "../../lib/api.js";
import {count} from "../../lib/format.js";
import {pairsOf} from "./curves.js";

const LARGEST = {report: 200e6, records: 50e6};
const STEPS = {
  reading: ({lines}) => `Reading the records: ${count(lines)} lines`,
  comparing: ({examples, models}) => `Comparing the answers of ${count(models)} models to ${count(examples)} requests`,
  resampling: ({examples}) => `Drawing intervals around the results of ${count(examples)} requests`,
};

const isRecords = async file => /\.jsonl(\.gz)?$/.test(file.name) || /^\uFEFF?\s*\{\s*"kind"/.test(await file.slice(0, 4096).text());

/** A file without its compression, at least as much of it as shows that it is too large. */
async function unpacked(file) {
  const parts = [];
  let size = 0;
  try {
    const reader = file.stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    for (let {done, value} = await reader.read(); !done; ({done, value} = await reader.read())) {
      parts.push(value);
      size += value.byteLength;
      if (size > LARGEST.records) { reader.cancel().catch(() => {}); break; }
    }
  } catch { throw new Error("This file ends in .gz, but it is not gzip, or it is damaged."); }
  return new Blob(parts);
}

function parsed(text) {
  try { return JSON.parse(text); } catch { throw new Error("This is not JSON. Open the report.json that cascade evaluate --report writes, or a records file."); }
}

/** The file that is open, and the one that is being opened. `changed` is called whenever something is to be drawn anew. `number` counts what was opened: names are often the same. */
export class Opening {
  constructor() {
    this.changed = () => {};
    Object.assign(this, {name: "", number: 0, shown: null, notes: [], work: null, fault: null});
  }

  /** Open a file in place of the one that is open, which stays if this fails. */
  async open(file) {
    this.stop();
    const work = {name: file.name, file, step: "Reading the file", since: Date.now(), stopping: new AbortController()};
    this._set({work, fault: null});
    try {
      const {report, notes} = await this._read(file, work);
      const shown = pairsOf(report);
      if (this.work === work) this._set({name: file.name, number: this.number + 1, shown, notes});
    } catch (error) {
      if (this.work === work && error.name !== "AbortError") this._set({fault: {error, file}});
    } finally {
      if (this.work === work) this._set({work: null});
    }
  }

  stop() {
    this.work?.stopping.abort();
    this._set({work: null});
  }

  async _read(file, work) {
    if (!(await isRecords(file))) {
      if (file.size > LARGEST.report) throw new Error("This report has more than 200 MB.");
      return {report: parsed(await file.text()), notes: []};
    }
    const records = file.name.endsWith(".gz") ? await unpacked(file) : file;
    if (records.size > LARGEST.records) throw new Error("These records have more than 50 MB: run cascade evaluate FILE --report report/, and open its report.json here.");
    work.step = "Sending the records to this server";
    this.changed();
    let result = null;
    await postFile("page/evaluate", "application/jsonl", records, event => {
      if (event.problem) throw new Error(event.problem);
      if (event.report) result = event;
      if (event.step) work.step = STEPS[event.step]?.(event) ?? event.step;
      this.changed();
    }, work.stopping.signal);
    return result;
  }

  _set(values) {
    Object.assign(this, values);
    this.changed();
  }
}
