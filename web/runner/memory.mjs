/** Memory of a tree of processes (Linux). */

import fs from "node:fs";
import { readFile } from "node:fs/promises";

const KIB = 1024;
const PAUSE_MS = 50;

/** Samples the memory of this process and its descendants: the sum of their proportional set sizes (PSS). */
export class TreeMemory {
  peak = null;
  method = `sum of the PSS of the browser's processes and the runner, read every ${PAUSE_MS} ms`;
  #timer = null;

  /** Sample at intervals until `stop`. */
  start() {
    const again = async () => {
      await this.sample();
      this.#timer &&= setTimeout(again, PAUSE_MS).unref();
    };
    this.#timer = setTimeout(again, PAUSE_MS).unref();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Return the bytes now, null on other systems. */
  sample = async () => {
    const sizes = await Promise.all(descendants(process.pid).map(proportional));
    const total = sizes.reduce((sum, size) => sum + size, 0) || null;
    if (total > this.peak) this.peak = total;
    return total;
  };
}

/** Return `root` and all processes that descend from it. */
export function descendants(root) {
  const children = new Map();
  for (const [pid, parent] of parents()) children.set(parent, [...(children.get(parent) ?? []), pid]);
  const found = [root];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

function* parents() {
  const entries = fs.existsSync("/proc/self/stat") ? fs.readdirSync("/proc") : [];
  for (const pid of entries.filter((name) => /^\d+$/.test(name))) {
    try {
      const text = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
      yield [Number(pid), Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1])];
    } catch {
      // it has ended
    }
  }
}

async function proportional(pid) {
  try {
    return KIB * Number((await readFile(`/proc/${pid}/smaps_rollup`, "latin1")).match(/^Pss:\s+(\d+)/m)[1]);
  } catch {
    return 0;
  }
}
