\ir ../../setup.psql
select plan(5);

select pg_current_xact_id()::text::bigint as me \gset
select ok(_procrastinate_sees_all('7:7:'), 'nobody is writing');
select ok(
    _procrastinate_sees_all(format('%s:%s:%s', :me, :me + 1, :me)::pg_snapshot), 'I alone am'
);
select ok(not _procrastinate_sees_all('7:8:7'), 'somebody else is');
select ok(
    not _procrastinate_sees_all(format('%s:%s:%s', :me, :me + 2, :me)::pg_snapshot),
    'somebody has begun after me'
);
select ok(
    not _procrastinate_sees_all(format('%s:%s:%s', :me - 1, :me + 1, :me - 1)::pg_snapshot),
    'or before'
);

select * from finish();
rollback;
