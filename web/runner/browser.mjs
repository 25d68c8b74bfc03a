/** ONNX Runtime Web in a page of Chromium. */

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { RunnerError } from "../page/failure.mjs";
import { moduleFile } from "./modules.mjs";
import { serve } from "./server.mjs";

/** Puppeteer's own switches already turn off sync, background networking and the like. */
const QUIET = ["--no-default-browser-check", "--disable-component-update"];

/** A page of `Bench` in a browser of its own. */
export class Page {
  #browser;
  #client;
  #server;
  #profile;
  #crash;

  /** Start the browser and open the page; end the phases imports, browser and page. */
  static async open(row, read, phases, request) {
    const page = new Page();
    const { default: puppeteer } = await import(pathToFileURL(moduleFile("puppeteer-core")));
    await phases.end("imports");
    page.#server = await serve(moduleFile("onnxruntime-web"), read);
    page.#profile = fs.mkdtempSync(path.join(request.outputs_dir, ".chromium-"));
    try {
      page.#browser = await puppeteer.launch({
        executablePath: executable(),
        pipe: true,
        userDataDir: page.#profile,
        args: [...QUIET, ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), ...(row.switches ?? [])],
        protocolTimeout: 0,
      });
      await phases.end("browser");
      const [tab] = await page.#browser.pages();
      await tab.goto(page.#server.address);
      page.#client = await tab.createCDPSession();
      page.#crash = new Promise((_, reject) => tab.once("error", reject));
      page.#crash.catch(() => {});
    } catch (error) {
      await page.close();
      const hint = "install Chromium, or set RUNOFF_CHROMIUM to the path of another one";
      throw new RunnerError("runtime-missing", `Chromium does not start: ${error.message}`, hint);
    }
    await phases.end("page");
    return page;
  }

  /** Call a step of the page, or a method of its `Bench`. */
  call = async (method, ...parameters) => {
    const expression = `call(${[method, ...parameters].map((value) => JSON.stringify(value)).join(", ")})`;
    let answer;
    try {
      const options = { expression, awaitPromise: true, returnByValue: true };
      answer = await Promise.race([this.#client.send("Runtime.evaluate", options), this.#crash]);
    } catch (error) {
      throw new RunnerError("runtime-failed", `the page ended: ${error.message}`, "see the memory of the machine");
    }
    const { value, error } = JSON.parse(answer.result.value);
    if (!error) return value;
    if (error.kind === "internal") process.stderr.write(`${error.stack}\n`);
    throw new RunnerError(error.kind, error.message, error.hint);
  };

  /** Return the outputs, or `inputs`, of the latest iteration. */
  tensors = async (what) => {
    const found = await this.call(what);
    return found.map((tensor) => ({ ...tensor, data: Buffer.from(tensor.data, "base64") }));
  };

  /** Return the browser's name and version. */
  version() {
    return this.#browser.version();
  }

  /** Return the bytes that the page has loaded, by what they are. */
  get sent() {
    return this.#server.sent;
  }

  /** End the browser, orderly or `now`, and remove its profile. */
  async close({ now = false } = {}) {
    this.#server?.close();
    if (now) this.#browser?.process()?.kill("SIGKILL");
    else await this.#browser?.close();
    fs.rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

function executable() {
  const found = process.env.RUNOFF_CHROMIUM;
  if (found) return found;
  throw new RunnerError("runtime-missing", "RUNOFF_CHROMIUM is not set", "set it to the path of Chromium");
}
