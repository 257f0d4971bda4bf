// What the programs for Node say of a run, in the same lines of JSON as those in Python (tally.py).
// process.hrtime reads the monotonic clock of the machine, as Python's time.monotonic_ns does.

import { readSync } from "node:fs";
import { createRequire } from "node:module";

// The package lies in a prefix of its own, not beside this file.
export const require = createRequire(process.env.PEER_HOME + "/");

// Nanoseconds fit into a double for as long as a machine is up less than 104 days; past that
// they lose a quarter of a microsecond, no more.
export const now = () => Number(process.hrtime.bigint());
export const pause = (seconds) => new Promise((go) => setTimeout(go, seconds * 1000));
const say = (answer) => console.log(JSON.stringify(answer));

const WARM = 6; // defers of each client that are not timed, as in tally.py

/** Which jobs a worker has run, each by its number, until all of them have. */
export class Tally {
  constructor({ jobs, patience, stamps, gate }) {
    this.gate = gate;
    this.jobs = jobs;
    this.patience = patience;
    this.seen = Buffer.alloc(jobs);
    this.stamps = stamps ? [] : null;
    this.runs = 0;
    this.others = 0;
    this.done = new Promise((resolve) => (this.finish = resolve));
  }

  /** Call this right before the worker starts. */
  begin() {
    say({ ready: now() });
    if (this.gate) readSync(0, Buffer.alloc(3)); // several workers start at one word
    this.start = now();
    this.cpu = process.cpuUsage();
  }

  run(number) {
    if (number < 0) {
      this.others += 1;
      return;
    }
    if (this.stamps) this.stamps.push([number, now()]);
    this.seen[number] = Math.min(255, this.seen[number] + 1);
    this.runs += 1;
    if (this.runs === this.jobs) {
      this.end = this.measured();
      this.finish();
    }
  }

  measured() {
    const { user, system } = process.cpuUsage(this.cpu);
    return { end: now(), cpu: (user + system) / 1e6, rss: process.memoryUsage.rss() / 1e6 };
  }

  /** Until all jobs have run, or patience is at its end: the count then says so. */
  async wait() {
    const timer = setTimeout(this.finish, this.patience * 1000);
    await this.done;
    clearTimeout(timer);
    this.end ??= this.measured();
  }

  answer() {
    return {
      start: this.start,
      seen: this.seen.toString("hex"),
      stamps: this.stamps ?? [],
      others: this.others,
      ...this.end,
    };
  }
}

/** The numbers of the jobs, `size` at a time. */
export function* numbers(jobs, size) {
  for (let start = 0; start < jobs; start += size) {
    yield Array.from({ length: Math.min(size, jobs - start) }, (_, i) => start + i);
  }
}

async function clients(jobs, concurrent, one) {
  let ahead = 0;
  const client = async () => {
    while (ahead < jobs) await one(ahead++);
  };
  await Promise.all(Array.from({ length: concurrent }, client));
}

/** Time jobs that are deferred in batches, or one by one in so many clients. */
export async function defer({ jobs, batch, concurrent }, one, many) {
  for (let turn = 0; turn < WARM; turn++) await clients(concurrent, concurrent, one);
  const start = now();
  if (batch > 1) for (const part of numbers(jobs, batch)) await many(part);
  else await clients(jobs, concurrent, one);
  return { start, end: now(), warm: WARM * concurrent };
}

/** Defer one job after another, with pauses of random length; tell when each was begun. */
export async function trickle({ jobs, gap, ahead }, one) {
  const stamps = [];
  await pause(ahead); // the worker has just been started
  for (let number = 0; number < jobs; number++) {
    await pause(gap * (0.5 + Math.random()));
    stamps.push([number, now()]);
    await one(number);
  }
  return { stamps };
}

export async function main(verbs) {
  const [verb, settings] = process.argv.slice(2);
  say(await verbs[verb](JSON.parse(settings)));
}
