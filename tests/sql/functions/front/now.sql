\ir ../../setup.psql
select plan(10);

select is(procrastinate_now(), now(), 'the time is that of the transaction');
set local procrastinate.now = '2030-01-01 12:00Z';
select is(procrastinate_now(), '2030-01-01 12:00Z'::timestamptz, 'or the one that a test has set');
set local procrastinate.now = '';
select is(procrastinate_now(), now(), 'until it takes that back');
set local procrastinate.now = 'no time';
select is(outcome_of('select procrastinate_now()'), '22007', 'what is no time is an error');

-- I7 and §7: no producer travels in time
set local procrastinate.now = '2030-01-01Z';
select a_role() as stranger \gset
grant execute on function procrastinate_now, _procrastinate_travelled_now to :stranger;
create table fixtures.seen (at timestamptz);
grant insert on fixtures.seen to :stranger;
select is(
    outcome_of('insert into fixtures.seen select procrastinate_now()', :'stranger'), 'ok',
    'whoever may call it'
);
select is((select at from fixtures.seen), now(), 'and does not own the schema has the real time');
create function fixtures.as_owner() returns timestamptz
language sql security definer as 'select procrastinate_now()';
truncate fixtures.seen;
select is(
    outcome_of('insert into fixtures.seen select as_owner()', :'stranger'), 'ok',
    'also inside a function'
);
select is((select at from fixtures.seen), now(), 'that runs as the owner');

select a_role('member') as member \gset
select format('grant %I to %I', r.rolname, :'member') as become
from pg_class as c join pg_roles as r on r.oid = c.relowner
where c.oid = 'procrastinate_jobs'::regclass \gset
:become;
truncate fixtures.seen;
grant insert on fixtures.seen to :member;
select is(
    outcome_of('insert into fixtures.seen select procrastinate_now()', :'member'), 'ok',
    'a member of the owner'
);
select is((select at from fixtures.seen), '2030-01-01Z'::timestamptz, 'travels');

select * from finish();
rollback;
