/** A failure of a kind that protocol/README.md defines. It crosses from the page to Node as its fields. */

const UNSUPPORTED = ["provider-unavailable", "runtime-missing", "type-unsupported"];

export class RunnerError extends Error {
  /**
   * @param {string} kind one of the kinds in protocol/README.md
   * @param {string} message cause, with the file or field at fault
   * @param {string} hint next step for the user
   */
  constructor(kind, message, hint = "") {
    super(oneLine(message));
    this.kind = kind;
    this.hint = hint;
  }

  get status() {
    return UNSUPPORTED.includes(this.kind) ? "unsupported" : "error";
  }

  get exitCode() {
    if (UNSUPPORTED.includes(this.kind)) return 3;
    return this.kind === "bad-request" ? 2 : 1;
  }
}

/** Return the first non-empty line of `text`, truncated to 500 characters. */
export function oneLine(text) {
  const lines = String(text).split("\n").map((line) => line.trim());
  return (lines.find((line) => line) ?? "").slice(0, 500);
}
