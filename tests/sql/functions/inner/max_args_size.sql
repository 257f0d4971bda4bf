\ir ../../setup.psql
select plan(8);

select is(_procrastinate_max_args_size(), 10485760::bigint, 'ten megabytes');
set local procrastinate.max_args_size = '20kB';
select is(_procrastinate_max_args_size(), 20480::bigint, 'or what the setting says');
set local procrastinate.max_args_size = '';
select is(_procrastinate_max_args_size(), 10485760::bigint, 'which may be none');

-- others cannot raise it for themselves
select make_roles() \g /dev/null
select current_database() as db, role_of('producer') as producer \gset
create function fixtures.defers(p_bytes integer) returns text language sql volatile as $$
    select outcome_of(
        format('select procrastinate_defer_job(''q'', ''t'', args => %L)',
            jsonb_build_object('a', repeat('x', p_bytes))),
        role_of('producer'))
$$;
set local procrastinate.max_args_size = '1GB';
select is(defers(10485760), 'PQ003', 'a session''s own setting does not count');
alter role :producer in database :db set procrastinate.max_args_size = '1GB';
select is(defers(10485760), 'PQ003', 'nor the setting of a role, which it may make itself');
alter database :db set procrastinate.max_args_size = '12MB';
select is(defers(10485760), 'ok', 'that of the database does');
alter database :db set procrastinate.max_args_size = '5000';
set local procrastinate.max_args_size = '1GB';
select is(defers(4900), 'ok', 'where it is smaller as well');
select is(defers(5000), 'PQ003', 'a session cannot undo it');

select * from finish();
rollback;
