/** Print "read", or the reason why not, for each line of stdin: a request. */

import fs from "node:fs";

import { parse } from "../../web/runner/protocol.mjs";
import { checkRequest } from "../../web/runner/request.mjs";

for (const line of fs.readFileSync(0, "utf8").split("\n")) {
  try {
    checkRequest(parse(line));
    console.log("read");
  } catch (error) {
    console.log(error.kind === "bad-request" ? error.message : error.stack.replaceAll("\n", " "));
  }
}
