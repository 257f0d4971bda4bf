\ir ../../setup.psql
select plan(4);

-- each condition, through the way that it opens: tests/sql/functions/inner/pick_next.sql
select a_worker() as worker \gset
select job from a_job(p_priority => 7) \gset
select e.marks
from procrastinate_finish_and_fetch_v1(:worker, '{q}', 1, null, '{}', '{}', '{}', '{}') as e
where e.outcome = 'summary' \gset
select is(
    (select s.priority from _procrastinate_straight('q', :'marks') as s),
    7, 'the priority to read'
);
select is_empty(
    $$select from _procrastinate_straight('p', '{1,2,3,4,5,6}')$$,
    'none of a queue that the marks do not know'
);
select is_empty(
    format(
        'select from _procrastinate_straight(''q'', %L)',
        array[9000000000000] || (:'marks'::bigint[])[2:]
    ),
    'none for the marks of another server'
);
select is_sound();

select * from finish();
rollback;
