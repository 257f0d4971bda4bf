\ir ../../setup.psql
select plan(5);

select a_job('doing', p_lock => 'held') \g /dev/null
select job as waits from a_job(p_lock => 'held') \gset
select job as free from a_job(p_lock => 'free') \gset
select job as same from a_job(p_lock => 'free') \gset
select is(
    outcome_of(format('select _procrastinate_jobs_started(%L, %L)', s.jobs, s.locks)),
    s.code, s.why
)
from (
    values
        (array[:free], '{free}', 'ok', 'a lock that nobody holds'),
        (array[:waits], '{held}', '23505', 'one that is held'),
        (array[:free, :waits], '{held,free}', '23505', 'one of several'),
        (array[:free, :same], '{free}', '23505', 'one that two would take at once'),
        (array[-1], '{}', 'ok', 'none')
) as s (jobs, locks, code, why);

select * from finish();
rollback;
