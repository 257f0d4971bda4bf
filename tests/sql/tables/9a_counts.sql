\ir ../setup.psql
select plan(1);

select a_job('succeeded') \g /dev/null
select a_job('succeeded') \g /dev/null
select results_eq(
    'select queue_name::text, status::text, sum(jobs)::integer from procrastinate_counts group by 1, 2',
    $$values ('q', 'succeeded', 2)$$, 'the changes of a number add up to it'
);

select * from finish();
rollback;
