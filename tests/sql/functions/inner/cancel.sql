\ir ../../setup.psql
select plan(3);

-- the table of all cases is that of the old wire: tests/sql/functions/old_wire/cancel_job_v1.sql
select job from a_job() \gset
select is(_procrastinate_cancel(:job, false, false), :job::bigint, 'it answers with the job');
select is(_procrastinate_cancel(:job, false, false), null, 'or null, where it does not apply');
select is(_procrastinate_cancel(null, true, true), null, 'to null as well');

select * from finish();
rollback;
