\ir ../../setup.psql
select plan(10);

select is(outcome_of('select _procrastinate_check_roles(''{somebody, null}'')'), 'ok',
    'a role that there is not');
select a_role('somebody') as somebody, a_role('maker') as maker, a_role('deputy') as deputy,
    current_schema() as schema, current_user as owner \gset
alter role :maker createrole;
grant :owner to :deputy;
select is(outcome_of(format('select _procrastinate_check_roles(%L)', array[:'somebody'])), 'ok',
    'or one that is nobody');
select is(outcome_of(format('select _procrastinate_check_roles(%L)', array[r])), 'PQ003',
    'not ' || r)
from unnest(array[:'maker', :'deputy', :'owner', '', repeat('x', 64)]) as r;

grant execute on all functions in schema :"schema" to :somebody;
select is(outcome_of('select _procrastinate_check_roles(''{a}'')', :'somebody'), '42501',
    'who is not the owner can grant nothing');

grant create on schema :"schema" to :somebody;
select is(outcome_of(format('select _procrastinate_check_roles(%L)', array[:'somebody'])),
    'PQ003', 'a role that may put functions beside ours is not bounded');
revoke create on schema :"schema" from :somebody;
grant create on schema :"schema" to public;
select matches(
    error_of('select _procrastinate_check_roles(''{a}'')', 'hint'),
    '^REVOKE CREATE ON SCHEMA \S+ FROM PUBLIC;$', 'nor is any where everybody may'
);

select * from finish();
rollback;
