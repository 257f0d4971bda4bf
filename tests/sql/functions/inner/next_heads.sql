\ir ../../setup.psql
select plan(7);

select job as held, claim from a_job('doing', p_lock => 'a') \gset
select job as low from a_job(p_lock => 'a') \gset
select job as high from a_job(p_lock => 'a', p_priority => 1) \gset
select is(_procrastinate_next_heads(null, '{a}'), null, 'a lock that is held has no next head');
select is(_procrastinate_next_heads('{}', '{none}'), null, 'nor has one that nobody waits for');
select is(_procrastinate_next_heads(null, '{}'), null, 'no lock, no head');

-- released: what stood behind the claim is read from its place on
select array_agg(d) as bare from procrastinate_doing as d \gset
update procrastinate_doing
set head_xmin = pg_snapshot_xmax(pg_current_snapshot()), priority = 1;
select array_agg(d) as foreign from procrastinate_doing as d \gset
update procrastinate_doing
set head_xmin = '2'::xid8, priority = 0, job_id = :low - 1;
select array_agg(d) as marked from procrastinate_doing as d \gset
delete from procrastinate_doing;
select is(
    (_procrastinate_next_heads(:'bare', '{}'))[3:], array[:high]::bigint[],
    'of a claim that has no mark its whole line is read'
);
select is(
    (_procrastinate_next_heads(:'foreign', '{}'))[3:], array[:high]::bigint[],
    'as of one that has the mark of another server'
);
select is(
    (_procrastinate_next_heads(:'marked', '{}'))[3:], array[:high]::bigint[],
    'who joined further ahead since the mark is the next'
);
update procrastinate_todo set since = '1'::xid8;
select is(
    (_procrastinate_next_heads(:'marked', '{}'))[2:], array[:claim, :low]::bigint[],
    'else the first from the place of the claim on; no claim up to it holds the lock'
);

select * from finish();
rollback;
