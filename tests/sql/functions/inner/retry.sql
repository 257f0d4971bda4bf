\ir ../../setup.psql
select plan(8);

select is(
    _procrastinate_retry(a.job, null, null, null, null), s in ('doing', 'failed'),
    s || ' is retried or not'
)
from unnest('{todo,doing,succeeded,failed,cancelled,aborted}'::text[]) as s
cross join lateral a_job(s) as a;
select is(_procrastinate_retry(-1, null, null, null, null), false, 'nothing is there to retry');
select job from a_job('failed', p_scheduled_at => '2001-01-01Z') \gset
select _procrastinate_retry(:job, null, 7, null, 'l') \g /dev/null
select results_eq(
    format('select scheduled_at, priority, queue_name::text, lock, attempts'
        ' from procrastinate_jobs where id = %s', :job),
    $$values (null::timestamptz, 7, 'q', 'l', 2)$$,
    'no time is at once; nulls keep the other values'
);

select * from finish();
rollback;
