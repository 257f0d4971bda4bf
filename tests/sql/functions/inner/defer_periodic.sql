\ir ../../setup.psql
select plan(3);

-- through both wires: tests/sql/functions/{wire,old_wire}/defer_periodic_job_*.sql
select isnt(
    _procrastinate_defer_periodic('t', '', 1, 'q', null, null, null, null), null,
    'a tick becomes a job'
);
select is(
    _procrastinate_defer_periodic('t', '', 1, 'q', null, null, null, null), null, 'once'
);
select results_eq(
    'select j.id from procrastinate_jobs as j',
    'select p.job_id from procrastinate_periodic_defers as p', 'which its tick remembers'
);

select * from finish();
rollback;
