// graphile-worker, alone or with what its page on performance recommends: a local queue of
// prefetched jobs, and completions and failures reported in batches.

import * as tally from "./tally.mjs";

const { run, makeWorkerUtils, runMigrations, Logger } = tally.require("graphile-worker");
const { Pool } = tally.require("pg");

const logger = new Logger(() => () => {});

// `local` is the size of the local queue, 0 for none
const presetOf = ({ concurrency = 1, local = 0 }) => ({
  worker: {
    concurrentJobs: concurrency,
    maxPoolSize: Math.max(10, Math.min(concurrency + 1, 25)),
    preparedStatements: true,
    pollInterval: 2000,
    ...(local ? { localQueue: { size: local } } : {}),
    ...(local ? { completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
  },
});

async function connected(settings, use) {
  const pgPool = new Pool({ max: Math.min(20, settings.concurrent ?? 1) });
  const utils = await makeWorkerUtils({ pgPool, logger });
  try {
    return await use(utils, pgPool);
  } finally {
    await utils.release();
    await pgPool.end();
  }
}

const spec = (n, { locks } = {}) => ({
  identifier: "task",
  payload: { n },
  ...(locks ? { queueName: `lock ${n % locks}` } : {}),
});

async function install() {
  const pgPool = new Pool({ max: 1 });
  await runMigrations({ pgPool, logger });
  await pgPool.end();
  return {};
}

const fill = (settings) =>
  connected(settings, async (utils) => {
    for (const part of tally.numbers(settings.jobs, 1000)) {
      await utils.addJobs(part.map((n) => spec(n, settings)));
    }
    return {};
  });

const defer = (settings) =>
  connected(settings, (utils) =>
    tally.defer(
      settings,
      (n) => utils.addJob("task", { n }),
      (part) => utils.addJobs(part.map((n) => spec(n))),
    ),
  );

const trickle = (settings) =>
  connected(settings, (utils) => tally.trickle(settings, (n) => utils.addJob("task", { n })));

async function work(settings) {
  const seen = new tally.Tally(settings);
  const preset = presetOf(settings);
  const pgPool = new Pool({ max: preset.worker.maxPoolSize });
  pgPool.on("error", () => {});
  const task = async ({ n }) => seen.run(n);
  seen.begin();
  const runner = await run({ preset, pgPool, logger, noHandleSignals: true, taskList: { task } });
  await seen.wait();
  await runner.stop();
  await pgPool.end();
  return seen.answer();
}

const left = (settings) =>
  connected(settings, async (_, pgPool) => {
    const { rows } = await pgPool.query("select count(*)::int as n from graphile_worker.jobs");
    return { left: rows[0].n };
  });

await tally.main({ install, fill, defer, trickle, work, left });
