// pg-boss 10. Its workers poll; one that has just worked off a batch is told to look again at
// once (notifyWorker), as its documentation offers, or each batch would wait for half a second.

import * as tally from "./tally.mjs";

const PgBoss = tally.require("pg-boss");

const POLL = 0.5; // seconds, the least that it takes

async function connected(settings, use) {
  const boss = new PgBoss({ max: Math.min(20, settings.concurrent ?? 10), schedule: false });
  boss.on("error", () => {});
  await boss.start();
  try {
    return await use(boss);
  } finally {
    await boss.stop({ graceful: true, wait: true, timeout: 30000 });
  }
}

const install = (settings) =>
  connected(settings, async (boss) => {
    await boss.createQueue("q");
    return {};
  });

const insert = (boss, part) => boss.insert(part.map((n) => ({ name: "q", data: { n } })));

const fill = (settings) =>
  connected(settings, async (boss) => {
    for (const part of tally.numbers(settings.jobs, 1000)) await insert(boss, part);
    return {};
  });

const defer = (settings) =>
  connected(settings, (boss) =>
    tally.defer(settings, (n) => boss.send("q", { n }), (part) => insert(boss, part)),
  );

const trickle = (settings) =>
  connected(settings, (boss) => tally.trickle(settings, (n) => boss.send("q", { n })));

const work = (settings) =>
  connected(settings, async (boss) => {
    const seen = new tally.Tally(settings);
    const options = { batchSize: settings.concurrency, pollingIntervalSeconds: POLL };
    seen.begin();
    const workers = [];
    for (let i = 0; i < (settings.workers ?? 1); i++) {
      const id = await boss.work("q", options, async (jobs) => {
        for (const job of jobs) seen.run(job.data.n);
        boss.notifyWorker(id);
      });
      workers.push(id);
    }
    await seen.wait();
    return seen.answer();
  });

const left = (settings) =>
  connected(settings, async (boss) => ({ left: await boss.getQueueSize("q", { before: "completed" }) }));

await tally.main({ install, fill, defer, trickle, work, left });
