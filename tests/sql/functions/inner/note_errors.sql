\ir ../../setup.psql
select plan(5);

select job as a from a_job('failed') \gset
select job as b from a_job('failed') \gset
select _procrastinate_note_errors(
    array[:a, :b], array['{"class": "app.errors.Broken", "message": "no", "attempt": 1}', null]::jsonb[]
) \g /dev/null
select results_eq(
    format('select type::text, error, details from procrastinate_events where job_id = %s order by id', :a),
    $$values
        ('deferred', null, null::jsonb), ('started', null, null),
        ('failed', 'Broken: no', '{"class": "app.errors.Broken", "message": "no", "attempt": 1}')$$,
    'the newest event says why'
);
select is_empty(
    format('select from procrastinate_events where job_id = %s and num_nonnulls(error, details) > 0', :b),
    'none is noted where there was none'
);
select _procrastinate_note_errors(array[:b], array['"no object"']::jsonb[]) \g /dev/null
select is_empty(
    format('select from procrastinate_events where job_id = %s and num_nonnulls(error, details) > 0', :b),
    'nor is what is no object'
);
update procrastinate_events set error = 'told before' where job_id = :b and type = 'failed';
select _procrastinate_note_errors(
    array[:b], array[jsonb_build_object('class', 'E', 'message', repeat('x', 5000))]
) \g /dev/null
select is(
    (select e.error from procrastinate_events as e where e.job_id = :b and e.type = 'failed'),
    'told before', 'what the database knew stays'
);
update procrastinate_events set error = null where job_id = :b;
select _procrastinate_note_errors(
    array[:b], array[jsonb_build_object('class', 'E', 'message', repeat('x', 5000))]
) \g /dev/null
select is(
    (select length(e.error) from procrastinate_events as e where e.job_id = :b and e.type = 'failed'),
    1003, 'the line has an end'
);

select * from finish();
rollback;
