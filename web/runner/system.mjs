/** What the system knows of this process: memory, threads, mapped files, allocator (Linux; elsewhere null or empty). */

import fs from "node:fs";
import { basename } from "node:path";

const KIB = 1024;

/** Return a field of /proc/self/status in bytes. */
export function ownBytes(field) {
  try {
    return KIB * Number(fs.readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${field}:\\s+(\\d+)`, "m"))[1]);
  } catch {
    return null;
  }
}

/** Return the number of threads. */
export function threadCount() {
  try {
    // not asynchronously: that would start the threads that read files
    return fs.readdirSync("/proc/self/task").length;
  } catch {
    return null;
  }
}

/** Return the paths of the files that are mapped into memory. */
export function mappedFiles() {
  try {
    const lines = fs.readFileSync("/proc/self/maps", "utf8").split("\n");
    return [...new Set(lines.filter((line) => line.includes("/")).map((line) => line.slice(line.indexOf("/"))))];
  } catch {
    return [];
  }
}

/** Return what serves `malloc`: a preloaded library, else the C library; null if neither is known. */
export function allocator(mapped) {
  if (process.env.LD_PRELOAD) {
    const names = mapped.map((path) => basename(path).split(".so")[0]).filter((name) => name.includes("malloc"));
    if (names.length) return [...new Set(names)].sort().join(" and ");
  }
  const library = mapped.find((path) => basename(path) === "libc.so.6");
  const version = library && textIn(library, "release version ").match(/^[\d.]*\d/);
  return version ? `glibc ${version[0]}` : null;
}

/** Return the text that follows `begin` in a file, up to a zero byte; empty if it does not occur. */
export function textIn(path, begin) {
  const content = fs.readFileSync(path);
  const place = content.indexOf(begin);
  if (place < 0) return "";
  return content.toString("latin1", place + begin.length, content.indexOf(0, place));
}
