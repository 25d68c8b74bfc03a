/** Shared parts of the runner: phases, JSON with nanoseconds, the result file. */

import fs from "node:fs";

export const VERSION = 1;

/** The phases of the process, without gaps: each starts at the end of the previous one. */
export class Phases {
  done = [];
  resident = {};
  #began;
  #memory = null;

  /** @param {bigint} began time at the first line of the runner's own code, in nanoseconds of CLOCK_MONOTONIC */
  constructor(began) {
    this.#began = began;
  }

  /** Apply the request: the time of the spawn, and the function that reads memory after each phase, or null. */
  begin(spawned, memory) {
    this.#memory = memory;
    if (spawned !== null) this.done.push({ name: "start", start_ns: spawned, end_ns: this.#began });
  }

  /** End the phase `name` now. */
  async end(name) {
    const now = process.hrtime.bigint();
    this.done.push({ name, start_ns: this.#began, end_ns: now });
    this.#began = now;
    const resident = this.#memory && (await this.#memory());
    if (resident) this.resident[name] = resident;
  }
}

/** Parse JSON; integers that are no safe numbers become bigints. */
export function parse(text) {
  return JSON.parse(text, (_, value, { source } = {}) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value,
  );
}

/** Write `fields` under a temporary name, then rename it to `path`: readers never see a partial file. */
export function writeJson(path, fields) {
  const temporary = `${path}.${process.pid}.tmp`;
  const text = JSON.stringify(fields, (_, value) =>
    typeof value === "bigint" ? JSON.rawJSON(String(value)) : value,
  );
  try {
    fs.writeFileSync(temporary, text);
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}
