\ir ../../setup.psql
select plan(1);

select job as ended, claim as c1 from a_job('doing') \gset
select job as other, claim as c2 from a_job('failed') \gset
select results_eq(
    format(
        'select outcome, job_id, claim_id, status::text'
        ' from _procrastinate_not_held(array[%s, %s, -1], array[1, 2, 3], array[%1$s])'
        ' order by claim_id',
        :ended, :other
    ),
    format(
        'values (''not_held'', %s::bigint, 2::bigint, ''failed''), (''not_held'', -1, 3, null)',
        :other
    ),
    'those that have not ended, with what their job is, if it is there'
);

select * from finish();
rollback;
