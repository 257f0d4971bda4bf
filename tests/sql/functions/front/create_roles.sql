\ir ../../setup.psql
select plan(15);

select results_eq(
    $$select r.part, r.role = role_of(r.part), r.created
    from procrastinate_create_roles(role_of('producer'), role_of('worker'),
        role_of('operator'), role_of('auditor')) as r$$,
    $$values ('producer', true, true), ('worker', true, true), ('operator', true, true),
        ('auditor', true, true)$$,
    'four roles are made'
);
select is_empty(
    $$select from pg_roles
    where rolname in (role_of('producer'), role_of('worker'), role_of('operator'),
            role_of('auditor'))
        and (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolbypassrls)$$,
    'which can do nothing beside it, nor log in'
);

-- again, after somebody has given one of them too much and taken something away
select role_of('producer') as producer, role_of('worker') as worker \gset
grant select, update on procrastinate_jobs to :producer;
grant update (args) on procrastinate_jobs to :producer;
grant execute on function procrastinate_purge_jobs to :producer;
grant usage on sequence procrastinate_jobs_id_seq to :producer;
revoke execute on function procrastinate_defer_job from :producer;
select results_eq(
    $$select r.part, r.created from procrastinate_create_roles(role_of('producer'),
        role_of('worker'), null, null) as r$$,
    $$values ('producer', false), ('worker', false)$$,
    'once more makes none, and leaves out those without a name'
);
select is(outcome_of(s, :'producer'), '42501', 'a producer may not ' || s)
from unnest(array[
    'select id from procrastinate_jobs', 'update procrastinate_jobs set args = ''{}''',
    'select procrastinate_purge_jobs(''1 day'')',
    'select nextval(''procrastinate_jobs_id_seq'')'
]) as s;
select is(
    outcome_of('select procrastinate_defer_job(''q'', ''t'')', :'producer'), 'ok',
    'and may defer again'
);
select is(outcome_of('select procrastinate_check()', role_of('auditor')), 'ok',
    'who was left out keeps its rights');

select procrastinate_create_roles(:'worker', :'worker', :'worker', null) \g /dev/null
select is(outcome_of(s, :'worker'), 'ok', 'one role of three parts may ' || s)
from unnest(array[
    'select procrastinate_defer_job(''q'', ''t'')', 'select procrastinate_sweep_v1()',
    'select procrastinate_pause_queue(''q'')'
]) as s;

-- names are quoted, whatever is in them
select r.role as hostile
from procrastinate_create_roles(
    format('%s"; drop table procrastinate_jobs; -- %%I $$ '' \ %s', 'a', pg_backend_pid()),
    null, null, null
) as r \gset
select is(
    outcome_of('select procrastinate_defer_job(''q'', ''t'')', :'hostile'), 'ok',
    'a name is a name'
);
select is(outcome_of('select procrastinate_create_roles()', :'producer'), '42501',
    'a producer makes no roles');
select is(outcome_of(
    'select procrastinate_create_roles(''public'', null, null, null)'), '42939',
    'PUBLIC is no producer');

select * from finish();
rollback;
