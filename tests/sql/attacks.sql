\ir setup.psql
-- What a role that may call some functions tries to make of them: they run as the owner.
select plan(54);
select make_roles() \g /dev/null
select current_schema() as schema, current_schema() as path_schema,
    role_of('producer') as producer, role_of('worker') as worker,
    role_of('operator') as operator \gset

-- Names of the attacker's own before ours -----------------------------------------------------------------------

create table fixtures.caught (who text);
grant insert on fixtures.caught to public;
create schema evil;
grant usage, create on schema evil to public;
do $$
declare
    v_function record;
begin
    -- each function of ours and what they build on, as the attacker would have it
    for v_function in
        select p.proname, format_type(p.prorettype, null) as result, (
                select string_agg(format_type(a.type, null), ', ' order by a.nr)
                from unnest(p.proargtypes) with ordinality as a (type, nr)
            ) as arguments
        from pg_proc as p
        where
            p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
            and (
                (p.pronamespace = quote_ident(current_schema())::regnamespace
                    and p.proname ~ '^_?procrastinate_')
                or (p.pronamespace = 'pg_catalog'::regnamespace and p.proname in (
                    'format', 'now', 'length', 'pg_notify', 'set_config', 'current_setting',
                    'jsonb_typeof', 'nextval', 'pg_has_role', 'octet_length',
                    'array_agg', 'cardinality', 'pg_trigger_depth'
                ) and p.provariadic = 0
                    and '"any"'::regtype <> all (p.proargtypes))
            )
    loop
        execute format(
            'create function evil.%I(%s) returns %s language plpgsql as $f$ begin '
            'insert into fixtures.caught values (current_user); '
            'raise exception using errcode = ''XX999''; end $f$',
            v_function.proname, v_function.arguments, v_function.result
        );
    end loop;
end;
$$;
create function evil.no(text, text) returns boolean language plpgsql as $$
begin
    insert into fixtures.caught values (current_user);
    return false;
end $$;
create function evil.no(bigint, bigint) returns boolean language sql as
$$ select evil.no('', '') $$;
create function evil.no(jsonb, jsonb) returns jsonb language sql as
$$ select '{}'::jsonb where evil.no('', '') $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.no);
create operator evil.<> (leftarg = text, rightarg = text, function = evil.no);
create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.no);
create operator evil.> (leftarg = bigint, rightarg = bigint, function = evil.no);
create operator evil.|| (leftarg = jsonb, rightarg = jsonb, function = evil.no);
create table evil.procrastinate_jobs (like procrastinate_jobs);
create table evil.procrastinate_todo (like procrastinate_todo);
create table evil.procrastinate_queues (like procrastinate_queues);
create type evil.procrastinate_job_status as enum ('todo');
create domain evil.bigint as pg_catalog.int8 check (evil.no('', ''));
grant all on all tables in schema evil to public;
select count(*) > 100 as evil_is_there from pg_proc where pronamespace = 'evil'::regnamespace \gset
select ok(:'evil_is_there', 'the attacker has a function for each of ours');

-- temporary ones come before all, for whoever does not say where they come
create function fixtures.outcome_of_evil(p_sql text, p_role text, p_path text) returns text
language plpgsql volatile as $$
declare
    v_outcome text;
    v_path constant text := current_setting('search_path');
begin
    v_outcome := fixtures.outcome_of(
        'set local search_path to ' || p_path || '; create temp table if not exists procrastinate_jobs (id int8, status text); '
        'create temp table if not exists procrastinate_todo (job_id int8); '
        'create temp table if not exists procrastinate_workers (id int8); '
        'create temp table if not exists procrastinate_events (id int8); ' || p_sql, p_role);
    perform pg_catalog.set_config('search_path', v_path, true);
    drop table if exists pg_temp.procrastinate_jobs, pg_temp.procrastinate_todo,
        pg_temp.procrastinate_workers, pg_temp.procrastinate_events;
    return v_outcome;
end $$;
grant execute on all functions in schema fixtures to public;
select job from a_job() \gset
select is(
    outcome_of_evil(format(s, :'schema'), r, format(p, :'schema')), 'ok', format(s || ' in ' || p, 'x', '', '')
)
from unnest(array['evil, pg_catalog, %I, fixtures', 'pg_temp, evil, %I, pg_catalog']) as p
cross join (
    values
        (:'producer', 'select %I.procrastinate_defer_job(''q'', ''t'', lock => ''l'', args => ''{"a": 1}'')'),
        (:'producer', 'select %I.procrastinate_defer_jobs_v2(''{q}'', ''{t}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'')'),
        (:'producer', 'select %I.procrastinate_defer_jobs_v3(''{q}'', ''{t}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'')'),
        (:'producer', 'select %I.procrastinate_try_defer_jobs_v2(''{q}'', ''{t}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'')'),
        (:'worker', 'select %I.procrastinate_register_worker_v2()'),
        (:'worker', 'select %I.procrastinate_sweep_v1()'),
        (:'worker', 'select %I.procrastinate_prune_workers_v1(''1 day'')'),
        (:'operator', 'select %I.procrastinate_pause_queue(''z'')'),
        (:'operator', 'select %I.procrastinate_cancel_jobs(queue_name => ''z'')'),
        (:'operator', 'select %I.procrastinate_check()'),
        (:'operator', 'select %I.procrastinate_purge_jobs(''1 day'')')
) as x (r, s);
select is_empty('select * from caught', 'and no code of the attacker ran');
select is_sound();

-- Settings ------------------------------------------------------------------------------------------------------

select a_worker() as id \gset
set local procrastinate.derived = '0';
set local procrastinate.now = '2040-01-01Z';
set local transform_null_equals = on;
set local array_nulls = off;
set local datestyle = 'sql, dmy';
set local intervalstyle = 'sql_standard';
set local escape_string_warning = off;
set local standard_conforming_strings = off;
select procrastinate_now() < '2040-01-01Z' as x \gset
select is(outcome_of(s, r), 'ok', s)
from (
    values
        (:'producer', 'select procrastinate_defer_job(''q'', ''t'', 5, ''l'')'),
        (:'worker', format('select procrastinate_fetch_jobs_v1(%s, ''{q}'', 2)', :id)),
        (:'worker', format('select procrastinate_retry_jobs_v1(%s, array(select job_id from '
            'procrastinate_doing order by 1), array(select claim_id from procrastinate_doing '
            'order by job_id), ''{}'', ''{}'', ''{}'', ''{}'')', :id)),
        (:'worker', format('select procrastinate_fetch_jobs_v1(%s, ''{q}'', 1)', :id)),
        (:'worker', format('select procrastinate_unregister_worker_v2(%s)', :id)),
        (:'operator', format('select procrastinate_cancel_job(%s)', :job)),
        (:'operator', 'select procrastinate_cancel_jobs(queue_name => ''q'')'),
        (:'operator', 'select procrastinate_retry_jobs(queue_name => ''q'')')
) as x (r, s);
set local procrastinate.now = '';
set local procrastinate.derived = '';
set local standard_conforming_strings = on;
set local transform_null_equals = off;
set local array_nulls = on;
select is_sound('what a caller sets does not keep a trigger from deriving');
create function fixtures.told_time(p_role text) returns boolean language plpgsql as $$
declare
    v_id bigint;
begin
    perform set_config('procrastinate.now', '2040-01-01Z', true);
    execute format('set local session authorization %I', p_role);
    v_id := procrastinate_defer_job('q', 'traveller');
    reset session authorization;
    perform set_config('procrastinate.now', '', true);
    return exists (
        select from procrastinate_events where job_id = v_id and at > now() + interval '1 day'
    );
end $$;
select ok(not told_time(:'producer'), 'nobody travels in time on the owner''s ticket');

-- Names that are formats, quotes and code ------------------------------------------------------------------------

create table fixtures.names (name text);
insert into fixtures.names (name)
values
    ('%s%s%s'), ('%I'), ('%1$L %%'), ('it''s'), ('"; drop table procrastinate_jobs; --'),
    ('$$ $f$ $1'), ('\'), ('\'' \n \x00'), (E'a\nb\tc\x01'), ('{a,"b",NULL}'), (' '), ('*'),
    ('{"a": 1}'), (repeat('ü', 128)), ('../../etc'), ('${x} {0} {x!r}'), ('null');
select is_empty(
    $$select n.name from names as n
    where outcome_of(format('select procrastinate_defer_job(%1$L, %1$L, lock => %1$L, '
        'queueing_lock => %1$L, key => %1$L, args => jsonb_build_object(%1$L, %1$L))', n.name),
        role_of('producer')) <> 'ok'$$,
    'any text is a name'
);
select results_eq(
    $$select n.name from names as n order by n.name$$,
    $$select j.queue_name::text from procrastinate_jobs as j
    join names as n on (n.name, n.name, n.name, n.name, n.name)
        = (j.queue_name, j.task_name, j.lock, j.queueing_lock, j.key)
    where j.args = jsonb_build_object(n.name, n.name)
    order by 1$$,
    'and is kept as it is'
);
select is_empty(
    format($$select n.name, s from names as n
    cross join lateral unnest(array[
        format('select procrastinate_pause_queue(%%1$L, %%1$L)', n.name),
        format('select procrastinate_resume_queue(%%1$L)', n.name),
        format('select procrastinate_explain_job((select id from procrastinate_jobs '
            'where key = %%L))', n.name),
        format('select procrastinate_cancel_jobs(queue_name => %%1$L, task_name => %%1$L)', n.name),
        format('select procrastinate_retry_jobs(queue_name => %%1$L, lock => %%1$L)', n.name),
        format('select procrastinate_purge_jobs(''1 day'', %%L)', n.name),
        'select from procrastinate_overview', 'select from procrastinate_locks',
        'select procrastinate_check()'
    ]) as s
    where outcome_of(s, %L) <> 'ok'$$, :'operator'),
    'whoever is on call can name it'
);
select is(
    outcome_of(format('select procrastinate_fetch_jobs_v1(procrastinate_register_worker_v2('
        'p_name => %1$L, p_queues => array[%1$L]), array[%1$L], 1)', n.name), :'worker'),
    'ok', 'and a worker: ' || quote_literal(left(n.name, 20))
)
from names as n where n.name ~ '[%''$\\]';
select is_sound();

-- Bombs ---------------------------------------------------------------------------------------------------------

select is(outcome_of(s, :'producer'), o, what)
from (
    values
        ('100 MB', 'PQ003', 'select procrastinate_defer_job(''q'', ''t'', args => '
            'jsonb_build_object(''a'', repeat(''x'', 100000000)))'),
        ('a million keys', 'PQ003', 'select procrastinate_defer_job(''q'', ''t'', args => '
            '(select jsonb_object_agg(g::text, g) from generate_series(1, 1000000) as g))'),
        ('5000 levels', 'PQ003', 'select procrastinate_defer_jobs_v2(''{q}'', ''{t}'', ''{}'', ''{}'', ''{}'', array[(repeat(''{"a":'', 5000) '
            '|| ''1'' || repeat(''}'', 5000))::jsonb], ''{}'')'),
        ('a million levels', '54001', 'select procrastinate_defer_job(''q'', ''t'', args => '
            '(repeat(''{"a":'', 1000000) || ''1'' || repeat(''}'', 1000000))::jsonb)'),
        ('a number of 100,000 digits', 'ok', 'select procrastinate_defer_job(''q'', ''t'', '
            'args => jsonb_build_object(''a'', repeat(''9'', 100000)::numeric))'),
        ('a million and one jobs', 'PQ003', 'select procrastinate_defer_jobs_v2('
            'array_fill(''q''::text, ''{1000001}''), array_fill(''t''::text, ''{1000001}''), '
            '''{}'', ''{}'', ''{}'', ''{}'', ''{}'')')
) as x (what, o, s);
select is_sound('refused is refused: nothing was written');

select * from finish();
rollback;
