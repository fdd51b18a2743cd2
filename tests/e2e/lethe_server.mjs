// Starts `lethe serve` for a test, on a free port: environment LETHE names the program, MODEL the
// model's directory.

import { spawn } from "node:child_process";
import { once } from "node:events";

const kStartMs = 60_000;

export class LetheServer {
  #process;
  #waiters = [];
  log = ""; // all of stderr

  constructor(args) {
    this.#process = spawn(
      process.env.LETHE,
      ["serve", "-m", process.env.MODEL, "--port", "0", ...args],
      { stdio: ["ignore", "inherit", "pipe"] },
    );
    this.#process.stderr.setEncoding("utf8");
    this.#process.stderr.on("data", (text) => {
      this.log += text;
      for (const check of this.#waiters) check();
    });
  }

  static async start(...args) {
    const server = new LetheServer(args);
    server.baseURL = (await server.logged(/is served at (\S+)/))[1];
    return server;
  }

  /// Waits until a line of the log matches.
  logged(pattern) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${pattern} in the log:\n${this.log}`)),
        kStartMs,
      );
      const check = () => {
        const match = this.log.match(pattern);
        if (!match) return;
        clearTimeout(timer);
        this.#waiters = this.#waiters.filter((other) => other !== check);
        resolve(match);
      };
      this.#waiters.push(check);
      check();
    });
  }

  /// Asks the server to end; the exit status.
  async stop() {
    if (this.#process.exitCode !== null) return this.#process.exitCode;
    this.#process.kill("SIGTERM");
    const [status] = await once(this.#process, "exit");
    return status;
  }

  /// Nobody reads the log any more.
  closeLog() {
    this.#process.stderr.destroy();
  }

  kill() {
    this.#process.kill("SIGKILL");
  }
}
